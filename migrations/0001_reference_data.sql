-- Reference data: what is sold, who buys, where it can go. The gateway reads it;
-- `gateway seed-demo` fills it for a demo.

CREATE TABLE products (
    id          INTEGER PRIMARY KEY,
    sku         TEXT NOT NULL UNIQUE,
    name        TEXT NOT NULL,
    description TEXT,
    price_cents INTEGER NOT NULL,
    -- The initial stock, then what Inventory last said can be sold.
    stock_qty   INTEGER DEFAULT 0,
    category    TEXT NOT NULL DEFAULT 'Other',
    CHECK (price_cents >= 0),
    CHECK (stock_qty >= 0)
);

CREATE INDEX products_by_category ON products (category, id);

CREATE TABLE users (
    id            INTEGER PRIMARY KEY,
    username      TEXT NOT NULL UNIQUE,
    email         TEXT NOT NULL,
    address       TEXT,
    created_at    DATETIME DEFAULT CURRENT_TIMESTAMP,
    role          TEXT NOT NULL DEFAULT 'customer' CHECK (role IN ('customer', 'admin')),
    -- argon2id in PHC form; NULL: nobody can log in as this user.
    password_hash TEXT,
    -- Name of the shipping zone that a checkout takes when it names none.
    default_zone  TEXT
);

CREATE TABLE shipping_zones (
    id              INTEGER PRIMARY KEY,
    zone_name       TEXT NOT NULL,
    base_cost_cents INTEGER NOT NULL,
    CHECK (base_cost_cents >= 0)
);

CREATE UNIQUE INDEX shipping_zones_by_name ON shipping_zones (zone_name COLLATE NOCASE);

-- API tokens (`Authorization: Bearer`). Only the hash is kept.
CREATE TABLE api_tokens (
    id           INTEGER PRIMARY KEY,
    user_id      INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    name         TEXT NOT NULL,
    token_sha256 BLOB NOT NULL UNIQUE,
    created_at   INTEGER NOT NULL
);

CREATE INDEX api_tokens_by_user ON api_tokens (user_id);
