CREATE TABLE IF NOT EXISTS migration_lease (
    id INT8 PRIMARY KEY,
    holder INT8 NOT NULL,
    expires_at TIMESTAMPTZ NOT NULL
)
