-- Lists, search and the dashboard's sums in the same time, however many orders
-- there are.

-- Orders are numbered in the order in which they were placed: the time of the
-- first checkout, and which it is of that millisecond. So the newest are at the
-- end of every index, that of the search included, and nothing is ever sorted.
DROP TRIGGER orders_search_insert;
DROP TRIGGER orders_search_update;
DROP TRIGGER orders_search_delete;
DROP TABLE orders_search;
DROP INDEX orders_by_created;
DROP INDEX orders_by_status;
DROP INDEX orders_by_user;
DROP INDEX orders_by_user_and_status;

UPDATE orders SET id = numbered.id FROM (
    SELECT id AS old, (created_at << 20) + row_number() OVER (PARTITION BY created_at ORDER BY id) - 1 AS id
    FROM orders
) AS numbered WHERE orders.id = numbered.old;

CREATE INDEX orders_by_status ON orders (status, id);
CREATE INDEX orders_by_user ON orders (user_id, id);
CREATE INDEX orders_by_user_and_status ON orders (user_id, status, id);

-- Whose an order is and where it stands, each as one word of the search: it finds
-- the orders of a customer or in a status that have a word without asking of each.
ALTER TABLE orders ADD COLUMN search_owner TEXT GENERATED ALWAYS AS ('u' || hex(user_id)) VIRTUAL;
ALTER TABLE orders ADD COLUMN search_status TEXT GENERATED ALWAYS AS (replace(status, '_', '')) VIRTUAL;

-- Beginnings of words of up to twelve letters, each with an index of its own: that
-- of a common word is read from its newest end, as far as it is shown or counted.
CREATE VIRTUAL TABLE orders_search USING fts5 (
    search_text,
    search_owner,
    search_status,
    content = 'orders',
    content_rowid = 'id',
    tokenize = 'unicode61 remove_diacritics 2',
    prefix = '1 2 3 4 5 6 7 8 9 10 11 12'
);

INSERT INTO orders_search (orders_search) VALUES ('rebuild');

CREATE TRIGGER orders_search_insert AFTER INSERT ON orders BEGIN
    INSERT INTO orders_search (rowid, search_text, search_owner, search_status)
    VALUES (new.id, new.search_text, new.search_owner, new.search_status);
END;

CREATE TRIGGER orders_search_update AFTER UPDATE OF search_text, status ON orders
WHEN old.search_text IS NOT new.search_text OR old.status IS NOT new.status BEGIN
    INSERT INTO orders_search (orders_search, rowid, search_text, search_owner, search_status)
    VALUES ('delete', old.id, old.search_text, old.search_owner, old.search_status);
    INSERT INTO orders_search (rowid, search_text, search_owner, search_status)
    VALUES (new.id, new.search_text, new.search_owner, new.search_status);
END;

CREATE TRIGGER orders_search_delete AFTER DELETE ON orders BEGIN
    INSERT INTO orders_search (orders_search, rowid, search_text, search_owner, search_status)
    VALUES ('delete', old.id, old.search_text, old.search_owner, old.search_status);
END;

-- How many orders have each status, and what they come to.
CREATE TABLE order_totals (
    status      TEXT PRIMARY KEY,
    orders      INTEGER NOT NULL,
    total_cents INTEGER NOT NULL
) WITHOUT ROWID;

INSERT INTO order_totals SELECT status, count(*), sum(total_cents) FROM orders GROUP BY status;

CREATE TRIGGER order_totals_insert AFTER INSERT ON orders BEGIN
    INSERT INTO order_totals VALUES (new.status, 1, new.total_cents)
    ON CONFLICT (status) DO UPDATE SET
        orders = orders + 1, total_cents = total_cents + excluded.total_cents;
END;

CREATE TRIGGER order_totals_update AFTER UPDATE OF status, total_cents ON orders
WHEN old.status IS NOT new.status OR old.total_cents IS NOT new.total_cents BEGIN
    UPDATE order_totals SET orders = orders - 1, total_cents = total_cents - old.total_cents
    WHERE status = old.status;
    INSERT INTO order_totals VALUES (new.status, 1, new.total_cents)
    ON CONFLICT (status) DO UPDATE SET
        orders = orders + 1, total_cents = total_cents + excluded.total_cents;
END;

CREATE TRIGGER order_totals_delete AFTER DELETE ON orders BEGIN
    UPDATE order_totals SET orders = orders - 1, total_cents = total_cents - old.total_cents
    WHERE status = old.status;
END;
