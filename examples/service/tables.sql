CREATE TABLE IF NOT EXISTS accounts (id INT8 PRIMARY KEY, balance INT8 NOT NULL);
CREATE TABLE IF NOT EXISTS transfers (
    key TEXT PRIMARY KEY,
    request TEXT NOT NULL,
    status INT8 NOT NULL,
    answer TEXT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL DEFAULT current_timestamp
);
