-- People are owned by the object `Account` in Restate. What is here of them is a copy,
-- like the read model, of the version that is written beside them. Version 0: known
-- from this file alone (the demo's seed, an older gateway), and told to Restate soon.

CREATE TABLE users_now (
    id            INTEGER PRIMARY KEY,
    username      TEXT NOT NULL UNIQUE,
    email         TEXT NOT NULL,
    address       TEXT,
    created_at    DATETIME DEFAULT CURRENT_TIMESTAMP,
    role          TEXT NOT NULL DEFAULT 'customer'
                  CHECK (role IN ('customer', 'support', 'approver', 'admin')),
    -- argon2id in PHC form; NULL: nobody can log in as this user with a password.
    password_hash TEXT,
    -- Name of the shipping zone that a checkout takes when it names none.
    default_zone  TEXT,
    -- Since when they may not sign in, in milliseconds since the epoch.
    disabled_at   INTEGER,
    version       INTEGER NOT NULL DEFAULT 0
);

INSERT INTO users_now (id, username, email, address, created_at, role, password_hash, default_zone)
SELECT id, username, email, address, created_at, role, password_hash, default_zone FROM users;

-- API tokens (`Authorization: Bearer`). Only the SHA-256 is kept, in hexadecimal.
CREATE TABLE tokens (
    fingerprint TEXT PRIMARY KEY,
    username    TEXT NOT NULL,
    name        TEXT NOT NULL,
    scope       TEXT NOT NULL CHECK (scope IN ('read', 'full')),
    created_at  INTEGER NOT NULL,
    -- NULL: it does not end by itself.
    expires_at  INTEGER,
    seen_at     INTEGER
) WITHOUT ROWID;

CREATE INDEX tokens_by_user ON tokens (username);

INSERT INTO tokens (fingerprint, username, name, scope, created_at)
SELECT lower(hex(token_sha256)), username, name, 'full', api_tokens.created_at
FROM api_tokens JOIN users ON users.id = user_id;

DROP TABLE api_tokens;
DROP TABLE users;
ALTER TABLE users_now RENAME TO users;

-- Where people are signed in. Only the SHA-256 of what the browser holds is kept.
CREATE TABLE sessions (
    fingerprint TEXT PRIMARY KEY,
    username    TEXT NOT NULL,
    created_at  INTEGER NOT NULL,
    seen_at     INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL,
    address     TEXT NOT NULL,
    agent       TEXT NOT NULL
) WITHOUT ROWID;

CREATE INDEX sessions_by_user ON sessions (username);
