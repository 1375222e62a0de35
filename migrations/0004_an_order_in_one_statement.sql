-- An order is written with one statement: what hangs on it is in its record, and
-- follows from there. (Each statement of the gateway is a way to SQLite's thread and
-- back, which costs more than the statement.)

-- Restate has forgotten the old order (ORDER_RETENTION) and its customer has used the
-- id again: versions begin anew.
CREATE TRIGGER orders_used_again BEFORE INSERT ON orders
WHEN EXISTS (SELECT 1 FROM orders WHERE order_id = new.order_id AND created_at < new.created_at) BEGIN
    DELETE FROM notifications WHERE order_id = new.order_id;
    DELETE FROM late_money WHERE order_id = new.order_id;
    DELETE FROM orders WHERE order_id = new.order_id;
END;

CREATE TRIGGER orders_lines_insert AFTER INSERT ON orders BEGIN
    INSERT INTO order_lines (order_id, position, sku, product_id, name, quantity,
                             unit_price_cents, line_total_cents)
    SELECT new.order_id, key + 1, value ->> 'sku', value ->> 'product_id', value ->> 'name',
           value ->> 'quantity', value ->> 'unit_price_cents', value ->> 'line_total_cents'
    FROM json_each(new.record, '$.lines');
END;

-- Lines change only with a new attempt to pay.
CREATE TRIGGER orders_lines_update AFTER UPDATE OF record ON orders
WHEN json_array_length(old.record, '$.payments') IS NOT json_array_length(new.record, '$.payments') BEGIN
    DELETE FROM order_lines WHERE order_id = new.order_id;
    INSERT INTO order_lines (order_id, position, sku, product_id, name, quantity,
                             unit_price_cents, line_total_cents)
    SELECT new.order_id, key + 1, value ->> 'sku', value ->> 'product_id', value ->> 'name',
           value ->> 'quantity', value ->> 'unit_price_cents', value ->> 'line_total_cents'
    FROM json_each(new.record, '$.lines');
END;

CREATE TRIGGER orders_payments_insert AFTER INSERT ON orders BEGIN
    INSERT INTO order_payments (order_id, attempt, awakeable_id, payment_id, transaction_id,
                                status, amount_cents)
    SELECT new.order_id, value ->> 'attempt', value ->> 'awakeable_id', value ->> 'payment_id',
           value ->> 'transaction_id', value ->> 'status', value ->> 'amount_cents'
    FROM json_each(new.record, '$.payments');
END;

CREATE TRIGGER orders_payments_update AFTER UPDATE OF record ON orders
WHEN new.record -> '$.payments' IS NOT old.record -> '$.payments' BEGIN
    INSERT INTO order_payments (order_id, attempt, awakeable_id, payment_id, transaction_id,
                                status, amount_cents)
    SELECT new.order_id, value ->> 'attempt', value ->> 'awakeable_id', value ->> 'payment_id',
           value ->> 'transaction_id', value ->> 'status', value ->> 'amount_cents'
    FROM json_each(new.record, '$.payments') WHERE true
    ON CONFLICT (order_id, attempt) DO UPDATE SET
        awakeable_id = excluded.awakeable_id, payment_id = excluded.payment_id,
        transaction_id = excluded.transaction_id, status = excluded.status,
        amount_cents = excluded.amount_cents;
END;

CREATE TRIGGER orders_events_insert AFTER INSERT ON orders BEGIN
    INSERT INTO order_events (order_id, seq, at, kind, detail)
    SELECT new.order_id, value ->> 'seq',
           CAST(round(unixepoch(value ->> 'at', 'subsec') * 1000) AS INTEGER),
           value ->> 'kind', value ->> 'detail'
    FROM json_each(new.record, '$.events');
END;

CREATE TRIGGER orders_events_update AFTER UPDATE OF record ON orders BEGIN
    INSERT INTO order_events (order_id, seq, at, kind, detail)
    SELECT new.order_id, value ->> 'seq',
           CAST(round(unixepoch(value ->> 'at', 'subsec') * 1000) AS INTEGER),
           value ->> 'kind', value ->> 'detail'
    FROM json_each(new.record, '$.events')
    WHERE value ->> 'seq' > (SELECT coalesce(max(seq), 0) FROM order_events WHERE order_id = new.order_id);
END;

-- What people are told of an event, as `Notification::of_event` says it.
CREATE TRIGGER order_events_told AFTER INSERT ON order_events
WHEN new.kind <> 'order_placed' BEGIN
    INSERT INTO notifications (id, user_id, order_id, kind, text, at)
    SELECT order_id || ':' || new.seq, user_id, order_id, new.kind, new.detail, new.at
    FROM orders WHERE order_id = new.order_id
    ON CONFLICT (id) DO NOTHING;
END;
