-- The outside world's own books. Statuses and effect counts are not stored
-- twice: they are derived from `transactions`, `bookings` and `journal`.

-- Every effect, in the order in which it happened. Written by the triggers
-- below and by nothing else: no effect can be forgotten.
CREATE TABLE journal (
    seq             INTEGER PRIMARY KEY AUTOINCREMENT,
    at_ms           INTEGER NOT NULL,
    kind            TEXT    NOT NULL,
    order_id        TEXT    NOT NULL,
    payment_id      TEXT,
    transaction_id  TEXT,
    tracking_number TEXT,
    amount          INTEGER
);
CREATE INDEX journal_by_order ON journal (order_id);

-- One row per idempotency key of POST /payments; payment_id is null until a
-- request got through to be performed.
CREATE TABLE payment_openings (
    idempotency_key TEXT    PRIMARY KEY,
    fingerprint     TEXT    NOT NULL,
    order_id        TEXT    NOT NULL,
    awakeable_id    TEXT    NOT NULL,
    payment_id      TEXT    UNIQUE,
    requests        INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX payment_openings_by_order ON payment_openings (order_id);

CREATE TABLE payments (
    opened           INTEGER PRIMARY KEY AUTOINCREMENT,
    payment_id       TEXT    NOT NULL UNIQUE,
    order_id         TEXT    NOT NULL,
    awakeable_id     TEXT    NOT NULL,
    amount           INTEGER NOT NULL,
    -- Closed by a void that named no transaction: can no longer be paid.
    closed           INTEGER NOT NULL DEFAULT 0,
    capture_requests INTEGER NOT NULL DEFAULT 0,
    void_requests    INTEGER NOT NULL DEFAULT 0,
    refund_requests  INTEGER NOT NULL DEFAULT 0,
    -- Set while the customer of the fault `auto` has yet to act.
    auto_action      TEXT,
    auto_due_ms      INTEGER
);
CREATE INDEX payments_by_order ON payments (order_id);
CREATE INDEX payments_auto ON payments (auto_due_ms) WHERE auto_due_ms IS NOT NULL;

-- The money of a payment. More than one transaction can arrive for it.
CREATE TABLE transactions (
    payment_id      TEXT    NOT NULL REFERENCES payments (payment_id),
    transaction_id  TEXT    NOT NULL,
    position        INTEGER NOT NULL,
    amount          INTEGER NOT NULL,
    captured_amount INTEGER,
    status          TEXT    NOT NULL,
    PRIMARY KEY (payment_id, transaction_id)
) WITHOUT ROWID;

-- What was answered to each idempotency key of capture, void and refund.
CREATE TABLE operations (
    idempotency_key TEXT    PRIMARY KEY,
    fingerprint     TEXT    NOT NULL,
    http_status     INTEGER NOT NULL,
    answer          TEXT    NOT NULL
) WITHOUT ROWID;

-- The outbox of the webhook.
CREATE TABLE callbacks (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    payment_id  TEXT    NOT NULL REFERENCES payments (payment_id),
    body        TEXT    NOT NULL,
    forged      INTEGER NOT NULL,
    status      TEXT    NOT NULL DEFAULT 'waiting',
    attempts    INTEGER NOT NULL DEFAULT 0,
    due_ms      INTEGER NOT NULL,
    -- Callbacks of one sequence are sent one after another, by rank.
    sequence    TEXT,
    rank        INTEGER NOT NULL
);
CREATE INDEX callbacks_waiting ON callbacks (due_ms, rank) WHERE status = 'waiting';
CREATE INDEX callbacks_by_payment ON callbacks (payment_id);

-- What the carrier was asked for one order.
CREATE TABLE shipments (
    opened          INTEGER PRIMARY KEY AUTOINCREMENT,
    order_id        TEXT    NOT NULL UNIQUE,
    book_requests   INTEGER NOT NULL DEFAULT 0,
    cancel_requests INTEGER NOT NULL DEFAULT 0,
    -- Definite refusals given.
    refusals        INTEGER NOT NULL DEFAULT 0,
    -- How many tries the fault `fail_times` has taken so far.
    failed_tries    INTEGER NOT NULL DEFAULT 0
);

-- One row per idempotency key the carrier has seen. A second booking of one
-- order under another key is a second parcel, and must be visible as one.
CREATE TABLE bookings (
    idempotency_key TEXT    PRIMARY KEY,
    fingerprint     TEXT    NOT NULL,
    order_id        TEXT    NOT NULL,
    -- seen (nothing booked), booked, cancelled
    status          TEXT    NOT NULL,
    tracking_number TEXT    UNIQUE
) WITHOUT ROWID;
CREATE INDEX bookings_by_order ON bookings (order_id);

CREATE TABLE faults (
    id       INTEGER PRIMARY KEY CHECK (id = 1),
    switches TEXT    NOT NULL
);

CREATE TRIGGER journal_money_comes AFTER INSERT ON transactions
BEGIN
    INSERT INTO journal (at_ms, kind, order_id, payment_id, transaction_id, amount)
    SELECT CAST(unixepoch('subsec') * 1000 AS INTEGER),
           CASE NEW.status WHEN 'authorized' THEN 'authorize' WHEN 'declined' THEN 'decline' END,
           order_id, payment_id, NEW.transaction_id, NEW.amount
    FROM payments WHERE payment_id = NEW.payment_id;
END;

CREATE TRIGGER journal_money_moves AFTER UPDATE OF status ON transactions
WHEN NEW.status <> OLD.status
BEGIN
    INSERT INTO journal (at_ms, kind, order_id, payment_id, transaction_id, amount)
    SELECT CAST(unixepoch('subsec') * 1000 AS INTEGER),
           CASE NEW.status
               WHEN 'captured' THEN 'capture' WHEN 'voided' THEN 'void' WHEN 'refunded' THEN 'refund'
           END,
           order_id, payment_id, NEW.transaction_id, COALESCE(NEW.captured_amount, NEW.amount)
    FROM payments WHERE payment_id = NEW.payment_id;
END;

-- A payment that is closed before any money came is voided as a whole.
CREATE TRIGGER journal_payment_closes AFTER UPDATE OF closed ON payments
WHEN NEW.closed AND NOT OLD.closed
    AND NOT EXISTS (SELECT 1 FROM transactions WHERE payment_id = NEW.payment_id)
BEGIN
    INSERT INTO journal (at_ms, kind, order_id, payment_id, amount)
    VALUES (CAST(unixepoch('subsec') * 1000 AS INTEGER),
            'void', NEW.order_id, NEW.payment_id, NEW.amount);
END;

CREATE TRIGGER journal_parcel_is_booked AFTER INSERT ON bookings
WHEN NEW.status = 'booked'
BEGIN
    INSERT INTO journal (at_ms, kind, order_id, tracking_number)
    VALUES (CAST(unixepoch('subsec') * 1000 AS INTEGER), 'book', NEW.order_id, NEW.tracking_number);
END;

CREATE TRIGGER journal_parcel_is_booked_later AFTER UPDATE OF status ON bookings
WHEN NEW.status = 'booked' AND OLD.status <> 'booked'
BEGIN
    INSERT INTO journal (at_ms, kind, order_id, tracking_number)
    VALUES (CAST(unixepoch('subsec') * 1000 AS INTEGER), 'book', NEW.order_id, NEW.tracking_number);
END;

CREATE TRIGGER journal_parcel_is_cancelled AFTER UPDATE OF status ON bookings
WHEN NEW.status = 'cancelled' AND OLD.status = 'booked'
BEGIN
    INSERT INTO journal (at_ms, kind, order_id, tracking_number)
    VALUES (CAST(unixepoch('subsec') * 1000 AS INTEGER), 'cancel', NEW.order_id, NEW.tracking_number);
END;
