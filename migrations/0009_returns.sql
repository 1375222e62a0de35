-- Pieces that an approver takes out before shipping leave the order's lines.
DROP TRIGGER orders_lines_update;

-- Lines change with a new attempt to pay, and when pieces are taken out.
CREATE TRIGGER orders_lines_update AFTER UPDATE OF record ON orders
WHEN json_array_length(old.record, '$.payments') IS NOT json_array_length(new.record, '$.payments')
    OR old.pieces IS NOT new.pieces BEGIN
    DELETE FROM order_lines WHERE order_id = new.order_id;
    INSERT INTO order_lines (order_id, position, sku, product_id, name, quantity,
                             unit_price_cents, line_total_cents)
    SELECT new.order_id, key + 1, value ->> 'sku', value ->> 'product_id', value ->> 'name',
           value ->> 'quantity', value ->> 'unit_price_cents', value ->> 'line_total_cents'
    FROM json_each(new.record, '$.lines');
END;

-- Pieces that came back and can be sold again.
ALTER TABLE stock_levels ADD COLUMN returned INTEGER NOT NULL DEFAULT 0;

-- What happened to an order after its delivery: a copy, like the order itself. It may be
-- heard of before its order is, so it refers to none.
CREATE TABLE after_sales (
    order_id   TEXT PRIMARY KEY,
    user_id    TEXT NOT NULL,
    version    INTEGER NOT NULL,
    -- The whole AfterSales as JSON: its returns and refunds follow from there.
    record     TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE returns (
    order_id   TEXT NOT NULL REFERENCES after_sales (order_id) ON DELETE CASCADE,
    number     INTEGER NOT NULL,
    status     TEXT NOT NULL,
    -- Times are unix milliseconds.
    since      INTEGER NOT NULL,
    asked_at   INTEGER NOT NULL,
    -- Until when the parcel must be here.
    send_until INTEGER,
    pieces     INTEGER NOT NULL,
    PRIMARY KEY (order_id, number)
) WITHOUT ROWID;

CREATE INDEX returns_by_status ON returns (status, since);

CREATE TABLE refunds (
    order_id     TEXT NOT NULL REFERENCES after_sales (order_id) ON DELETE CASCADE,
    number       INTEGER NOT NULL,
    status       TEXT NOT NULL,
    amount_cents INTEGER NOT NULL,
    -- For which return; of none it is goodwill.
    of_return    INTEGER,
    at           INTEGER NOT NULL,
    PRIMARY KEY (order_id, number)
) WITHOUT ROWID;

CREATE TRIGGER after_sales_insert AFTER INSERT ON after_sales BEGIN
    INSERT INTO returns (order_id, number, status, since, asked_at, send_until, pieces)
    SELECT new.order_id, value ->> 'number', value ->> 'status',
           CAST(round(unixepoch(value ->> 'since', 'subsec') * 1000) AS INTEGER),
           CAST(round(unixepoch(value ->> 'asked_at', 'subsec') * 1000) AS INTEGER),
           CAST(round(unixepoch(value ->> 'send_until', 'subsec') * 1000) AS INTEGER),
           (SELECT sum(item.value ->> 'quantity') FROM json_each(one.value, '$.items') AS item)
    FROM json_each(new.record, '$.returns') AS one;
    INSERT INTO refunds (order_id, number, status, amount_cents, of_return, at)
    SELECT new.order_id, value ->> 'number', value ->> 'status', value ->> 'amount_cents',
           value ->> 'of_return', CAST(round(unixepoch(value ->> 'at', 'subsec') * 1000) AS INTEGER)
    FROM json_each(new.record, '$.refunds');
END;

CREATE TRIGGER after_sales_update AFTER UPDATE OF record ON after_sales BEGIN
    INSERT INTO returns (order_id, number, status, since, asked_at, send_until, pieces)
    SELECT new.order_id, value ->> 'number', value ->> 'status',
           CAST(round(unixepoch(value ->> 'since', 'subsec') * 1000) AS INTEGER),
           CAST(round(unixepoch(value ->> 'asked_at', 'subsec') * 1000) AS INTEGER),
           CAST(round(unixepoch(value ->> 'send_until', 'subsec') * 1000) AS INTEGER),
           (SELECT sum(item.value ->> 'quantity') FROM json_each(one.value, '$.items') AS item)
    FROM json_each(new.record, '$.returns') AS one WHERE true
    ON CONFLICT (order_id, number) DO UPDATE SET
        status = excluded.status, since = excluded.since, send_until = excluded.send_until;
    INSERT INTO refunds (order_id, number, status, amount_cents, of_return, at)
    SELECT new.order_id, value ->> 'number', value ->> 'status', value ->> 'amount_cents',
           value ->> 'of_return', CAST(round(unixepoch(value ->> 'at', 'subsec') * 1000) AS INTEGER)
    FROM json_each(new.record, '$.refunds') WHERE true
    ON CONFLICT (order_id, number) DO UPDATE SET status = excluded.status;
END;

-- What people are told of it, as `Notification::of_after_sales` says it.
CREATE TRIGGER after_sales_told_insert AFTER INSERT ON after_sales BEGIN
    INSERT INTO notifications (id, user_id, order_id, kind, text, at)
    SELECT new.order_id || ':' || (value ->> 'seq'), new.user_id, new.order_id, value ->> 'kind',
           value ->> 'detail', CAST(round(unixepoch(value ->> 'at', 'subsec') * 1000) AS INTEGER)
    FROM json_each(new.record, '$.events') WHERE true
    ON CONFLICT (id) DO NOTHING;
END;

CREATE TRIGGER after_sales_told_update AFTER UPDATE OF record ON after_sales BEGIN
    INSERT INTO notifications (id, user_id, order_id, kind, text, at)
    SELECT new.order_id || ':' || (value ->> 'seq'), new.user_id, new.order_id, value ->> 'kind',
           value ->> 'detail', CAST(round(unixepoch(value ->> 'at', 'subsec') * 1000) AS INTEGER)
    FROM json_each(new.record, '$.events') WHERE true
    ON CONFLICT (id) DO NOTHING;
END;

-- How much money goes back, by whether it has: revenue is net of it.
CREATE TABLE refund_totals (
    status       TEXT PRIMARY KEY,
    refunds      INTEGER NOT NULL,
    amount_cents INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TRIGGER refund_totals_insert AFTER INSERT ON refunds BEGIN
    INSERT INTO refund_totals VALUES (new.status, 1, new.amount_cents)
    ON CONFLICT (status) DO UPDATE SET
        refunds = refunds + 1, amount_cents = amount_cents + excluded.amount_cents;
END;

CREATE TRIGGER refund_totals_update AFTER UPDATE OF status ON refunds
WHEN old.status IS NOT new.status BEGIN
    UPDATE refund_totals SET refunds = refunds - 1, amount_cents = amount_cents - old.amount_cents
    WHERE status = old.status;
    INSERT INTO refund_totals VALUES (new.status, 1, new.amount_cents)
    ON CONFLICT (status) DO UPDATE SET
        refunds = refunds + 1, amount_cents = amount_cents + excluded.amount_cents;
END;

CREATE TRIGGER refund_totals_delete AFTER DELETE ON refunds BEGIN
    UPDATE refund_totals SET refunds = refunds - 1, amount_cents = amount_cents - old.amount_cents
    WHERE status = old.status;
END;

-- An id that is used again begins without what came after the old order.
DROP TRIGGER orders_used_again;

CREATE TRIGGER orders_used_again BEFORE INSERT ON orders
WHEN EXISTS (SELECT 1 FROM orders WHERE order_id = new.order_id AND created_at < new.created_at) BEGIN
    DELETE FROM notifications WHERE order_id = new.order_id;
    DELETE FROM late_money WHERE order_id = new.order_id;
    DELETE FROM after_sales WHERE order_id = new.order_id;
    DELETE FROM orders WHERE order_id = new.order_id;
END;
