INSERT INTO migration_lease AS held (id, holder, expires_at)
VALUES (1, $1, current_timestamp + $2 * INTERVAL '1 second')
ON CONFLICT (id) DO UPDATE SET holder = excluded.holder, expires_at = excluded.expires_at
WHERE held.holder = excluded.holder OR held.expires_at < current_timestamp
