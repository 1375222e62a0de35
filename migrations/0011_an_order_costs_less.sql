-- An order is written some nine times. What each of these costs beyond its row is made
-- less here: nothing that nobody asks for is kept twice, and the search learns where an
-- order stands only when it has ended.

-- Lines and events are in the order's record, and everybody reads them there.
DROP TRIGGER orders_lines_insert;
DROP TRIGGER orders_lines_update;
DROP TRIGGER orders_events_insert;
DROP TRIGGER orders_events_update;
DROP TABLE order_lines;
DROP TABLE order_events;

CREATE VIEW order_lines AS
SELECT order_id, key + 1 AS position, value ->> 'sku' AS sku, value ->> 'product_id' AS product_id,
       value ->> 'name' AS name, value ->> 'quantity' AS quantity,
       value ->> 'unit_price_cents' AS unit_price_cents, value ->> 'line_total_cents' AS line_total_cents
FROM orders, json_each(record, '$.lines');

CREATE VIEW order_events AS
SELECT order_id, value ->> 'seq' AS seq,
       CAST(round(unixepoch(value ->> 'at', 'subsec') * 1000) AS INTEGER) AS at,
       value ->> 'kind' AS kind, value ->> 'detail' AS detail
FROM orders, json_each(record, '$.events');

-- What people are told of an event, as `Notification::of_event` says it.
CREATE TRIGGER orders_told_insert AFTER INSERT ON orders BEGIN
    INSERT INTO notifications (id, user_id, order_id, kind, text, at)
    SELECT new.order_id || ':' || (value ->> 'seq'), new.user_id, new.order_id, value ->> 'kind',
           value ->> 'detail', CAST(round(unixepoch(value ->> 'at', 'subsec') * 1000) AS INTEGER)
    FROM json_each(new.record, '$.events') WHERE value ->> 'kind' <> 'order_placed'
    ON CONFLICT (id) DO NOTHING;
END;

-- Events are only added.
CREATE TRIGGER orders_told_update AFTER UPDATE OF record ON orders BEGIN
    INSERT INTO notifications (id, user_id, order_id, kind, text, at)
    SELECT new.order_id || ':' || (value ->> 'seq'), new.user_id, new.order_id, value ->> 'kind',
           value ->> 'detail', CAST(round(unixepoch(value ->> 'at', 'subsec') * 1000) AS INTEGER)
    FROM json_each(new.record, '$.events')
    WHERE value ->> 'seq' > coalesce(old.record ->> '$.events[#-1].seq', 0)
      AND value ->> 'kind' <> 'order_placed'
    ON CONFLICT (id) DO NOTHING;
END;

-- The word for where an order stands: one for each end, and one for all that have not
-- ended, so that an order on its way is not taken out of the search and put in again with
-- all its words at each step. Those that are open are few, and are looked at one by one.
DROP TRIGGER orders_search_insert;
DROP TRIGGER orders_search_update;
DROP TRIGGER orders_search_delete;
INSERT INTO orders_search (orders_search, rowid, search_text, search_owner, search_status)
SELECT 'delete', id, search_text, search_owner, search_status FROM orders WHERE ended_at IS NULL;
ALTER TABLE orders DROP COLUMN search_status;
ALTER TABLE orders ADD COLUMN search_status TEXT GENERATED ALWAYS AS (
    CASE WHEN ended_at IS NULL THEN 'open' ELSE replace(status, '_', '') END
) VIRTUAL;
INSERT INTO orders_search (rowid, search_text, search_owner, search_status)
SELECT id, search_text, search_owner, search_status FROM orders WHERE ended_at IS NULL;

CREATE TRIGGER orders_search_insert AFTER INSERT ON orders BEGIN
    INSERT INTO orders_search (rowid, search_text, search_owner, search_status)
    VALUES (new.id, new.search_text, new.search_owner, new.search_status);
END;

CREATE TRIGGER orders_search_update AFTER UPDATE OF search_text, status, ended_at ON orders
WHEN old.search_text IS NOT new.search_text OR old.search_status IS NOT new.search_status BEGIN
    INSERT INTO orders_search (orders_search, rowid, search_text, search_owner, search_status)
    VALUES ('delete', old.id, old.search_text, old.search_owner, old.search_status);
    INSERT INTO orders_search (rowid, search_text, search_owner, search_status)
    VALUES (new.id, new.search_text, new.search_owner, new.search_status);
END;

CREATE TRIGGER orders_search_delete AFTER DELETE ON orders BEGIN
    INSERT INTO orders_search (orders_search, rowid, search_text, search_owner, search_status)
    VALUES ('delete', old.id, old.search_text, old.search_owner, old.search_status);
END;
