-- The second factor of somebody who has set one up, as the object `Account` has it: its
-- secret is encrypted under a key that is in no database.
ALTER TABLE users ADD COLUMN factor TEXT;

-- How somebody has signed in: 'password', 'provider' or 'persona'.
ALTER TABLE sessions ADD COLUMN way TEXT NOT NULL DEFAULT 'password';
