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
