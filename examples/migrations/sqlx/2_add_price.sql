-- no-transaction
ALTER TABLE items ADD COLUMN IF NOT EXISTS price INT8
