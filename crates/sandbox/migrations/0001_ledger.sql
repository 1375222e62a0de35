-- The outside world's own books. Statuses and effect counts are not stored
-- twice: they are derived from `transactions`, `bookings` and `journal`.

-- Every effect, in the order in which it happened.
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
