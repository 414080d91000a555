-- For each table, the columns that it must have, and those of them that it has. The latter include
-- each other column that an INSERT must give a value.
SELECT e.name, e.columns, (
    SELECT string_agg(
        a.attname::TEXT || ' ' || format_type(a.atttypid, NULL)
            || CASE WHEN a.attnum = ANY (i.indkey) THEN ' primary key' ELSE '' END,
        ', ' ORDER BY a.attname::TEXT)
    FROM pg_class t
        JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped
        LEFT JOIN pg_index i ON i.indrelid = t.oid AND i.indisprimary
    WHERE t.relname = e.name AND pg_table_is_visible(t.oid)
        AND (a.attnotnull AND NOT a.atthasdef
            OR strpos(', ' || e.columns, ', ' || a.attname || ' ') > 0))
FROM (VALUES
    ('accounts', 'balance bigint, id bigint primary key'),
    ('transfers', 'answer text, created_at timestamp with time zone, key text primary key, '
        || 'request text, status bigint')
) AS e (name, columns)
