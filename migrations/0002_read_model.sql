-- The read model: a disposable copy of what Restate knows, for lists, search and
-- replay. Only the projector writes it (and `gateway rebuild` empties it).
-- Times are unix milliseconds, money is cents, versions are Restate's own.

CREATE TABLE orders (
    -- Search refers to rows by this number.
    id           INTEGER PRIMARY KEY,
    order_id     TEXT NOT NULL UNIQUE,
    user_id      TEXT NOT NULL,
    version      INTEGER NOT NULL,
    status       TEXT NOT NULL,
    -- The end it is being undone towards, while it is.
    undoing      TEXT,
    created_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL,
    status_since INTEGER NOT NULL,
    -- When what it waits for runs out.
    wait_until   INTEGER,
    -- When it reached a terminal status.
    ended_at     INTEGER,
    total_cents  INTEGER NOT NULL,
    -- Pieces in it.
    pieces       INTEGER NOT NULL,
    -- What search finds it by: ids, customer, products, tracking number.
    search_text  TEXT NOT NULL,
    -- The whole OrderRecord as JSON.
    record       TEXT NOT NULL
);

CREATE INDEX orders_by_created ON orders (created_at, id);
CREATE INDEX orders_by_status ON orders (status, created_at, id);
CREATE INDEX orders_by_user ON orders (user_id, created_at, id);
CREATE INDEX orders_by_user_and_status ON orders (user_id, status, created_at, id);
-- What is under way: approvals, overdue work.
CREATE INDEX orders_open ON orders (status, status_since, wait_until) WHERE ended_at IS NULL;
-- Orders per minute and time to deliver, on the dashboard.
CREATE INDEX orders_by_end ON orders (status, ended_at, created_at, total_cents) WHERE ended_at IS NOT NULL;

-- Words and beginnings of words. The text itself stays in `orders`.
CREATE VIRTUAL TABLE orders_search USING fts5 (
    search_text,
    content = 'orders',
    content_rowid = 'id',
    tokenize = 'unicode61 remove_diacritics 2',
    prefix = '2 3 4'
);

CREATE TRIGGER orders_search_insert AFTER INSERT ON orders BEGIN
    INSERT INTO orders_search (rowid, search_text) VALUES (new.id, new.search_text);
END;

CREATE TRIGGER orders_search_update AFTER UPDATE OF search_text ON orders
WHEN old.search_text IS NOT new.search_text BEGIN
    INSERT INTO orders_search (orders_search, rowid, search_text)
    VALUES ('delete', old.id, old.search_text);
    INSERT INTO orders_search (rowid, search_text) VALUES (new.id, new.search_text);
END;

CREATE TRIGGER orders_search_delete AFTER DELETE ON orders BEGIN
    INSERT INTO orders_search (orders_search, rowid, search_text)
    VALUES ('delete', old.id, old.search_text);
END;

CREATE TABLE order_lines (
    order_id         TEXT NOT NULL REFERENCES orders (order_id) ON DELETE CASCADE,
    position         INTEGER NOT NULL,
    sku              TEXT NOT NULL,
    product_id       INTEGER NOT NULL,
    name             TEXT NOT NULL,
    quantity         INTEGER NOT NULL,
    unit_price_cents INTEGER NOT NULL,
    line_total_cents INTEGER NOT NULL,
    PRIMARY KEY (order_id, position)
) WITHOUT ROWID;

CREATE INDEX order_lines_by_sku ON order_lines (sku);

CREATE TABLE order_events (
    order_id TEXT NOT NULL REFERENCES orders (order_id) ON DELETE CASCADE,
    seq      INTEGER NOT NULL,
    at       INTEGER NOT NULL,
    kind     TEXT NOT NULL,
    detail   TEXT NOT NULL,
    PRIMARY KEY (order_id, seq)
) WITHOUT ROWID;

-- Every try to pay. A callback finds its order by the awakeable.
CREATE TABLE order_payments (
    order_id       TEXT NOT NULL REFERENCES orders (order_id) ON DELETE CASCADE,
    attempt        INTEGER NOT NULL,
    awakeable_id   TEXT UNIQUE,
    payment_id     TEXT,
    transaction_id TEXT,
    status         TEXT NOT NULL,
    amount_cents   INTEGER NOT NULL,
    PRIMARY KEY (order_id, attempt)
) WITHOUT ROWID;

CREATE INDEX order_payments_by_transaction ON order_payments (transaction_id) WHERE transaction_id IS NOT NULL;

CREATE TABLE notifications (
    -- In the order in which this gateway heard of them: where a stream that
    -- was interrupted goes on.
    nr       INTEGER PRIMARY KEY AUTOINCREMENT,
    id       TEXT NOT NULL UNIQUE,
    user_id  TEXT NOT NULL,
    -- No foreign key: late money may be told of an order that is forgotten.
    order_id TEXT,
    kind     TEXT NOT NULL,
    text     TEXT NOT NULL,
    at       INTEGER NOT NULL
);

CREATE INDEX notifications_by_user ON notifications (user_id, at);
CREATE INDEX notifications_by_user_and_nr ON notifications (user_id, nr);
CREATE INDEX notifications_by_time ON notifications (at);
-- Notes of gateways themselves, which are pruned.
CREATE INDEX notifications_notes ON notifications (at) WHERE order_id IS NULL;
CREATE INDEX notifications_by_order ON notifications (order_id) WHERE order_id IS NOT NULL;

CREATE TABLE stock_levels (
    sku        TEXT PRIMARY KEY,
    version    INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    initial    INTEGER NOT NULL,
    restocked  INTEGER NOT NULL,
    available  INTEGER NOT NULL,
    reserved   INTEGER NOT NULL,
    committed  INTEGER NOT NULL
) WITHOUT ROWID;

-- The catalog shows what can be sold.
CREATE TRIGGER stock_levels_insert AFTER INSERT ON stock_levels BEGIN
    UPDATE products SET stock_qty = new.available WHERE sku = new.sku;
END;

CREATE TRIGGER stock_levels_update AFTER UPDATE OF available ON stock_levels BEGIN
    UPDATE products SET stock_qty = new.available WHERE sku = new.sku;
END;

CREATE TABLE read_marks (
    user_id TEXT PRIMARY KEY,
    read_at INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE late_money (
    order_id TEXT PRIMARY KEY,
    user_id  TEXT NOT NULL,
    version  INTEGER NOT NULL,
    -- The whole LateMoney as JSON.
    record   TEXT NOT NULL
) WITHOUT ROWID;
