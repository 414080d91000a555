-- The columns of a table that an INSERT must give a value, and those that $2 names.
SELECT string_agg(
    a.attname::TEXT || ' ' || format_type(a.atttypid, NULL)
        || CASE WHEN a.attnum = ANY (i.indkey) THEN ' primary key' ELSE '' END,
    ', ' ORDER BY a.attname::TEXT)
FROM pg_class t
    JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_index i ON i.indrelid = t.oid AND i.indisprimary
WHERE t.relname = $1 AND pg_table_is_visible(t.oid)
    AND (a.attnotnull AND NOT a.atthasdef OR strpos(', ' || $2, ', ' || a.attname || ' ') > 0)
