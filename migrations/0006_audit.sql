-- The audit log: who has done what that matters. A copy, the same in every gateway: of
-- the entries of the object `AuditLog` in Restate, and of what the orders' records tell.
-- It only grows. What is older than AUDIT_RETENTION is removed, and nothing else.
CREATE TABLE audit (
    -- Never given twice, also when the newest entries were removed: the file AUDIT_LOG goes on
    -- by it.
    nr      INTEGER PRIMARY KEY AUTOINCREMENT,
    id      TEXT NOT NULL UNIQUE,
    -- Milliseconds since the epoch.
    at      INTEGER NOT NULL,
    what    TEXT NOT NULL,
    who     TEXT NOT NULL,
    -- To whom or to what: a user, an order, a SKU.
    subject TEXT NOT NULL,
    detail  TEXT NOT NULL DEFAULT '',
    address TEXT,
    request TEXT,
    -- How often, in the minute before.
    count   INTEGER NOT NULL DEFAULT 1,
    -- Whose log in Restate has it, as 2026-11-26; NULL: an order's record tells it.
    day     TEXT
);

CREATE INDEX audit_by_time ON audit (at, nr);
CREATE INDEX audit_by_who ON audit (who, at, nr);
CREATE INDEX audit_by_what ON audit (what, at, nr);

-- Entries of each day that are, or were, here: Restate's number says what is missing.
CREATE TABLE audit_days (
    day     TEXT PRIMARY KEY,
    entries INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TRIGGER audit_counted AFTER INSERT ON audit WHEN new.day IS NOT NULL BEGIN
    INSERT INTO audit_days (day, entries) VALUES (new.day, 1)
    ON CONFLICT (day) DO UPDATE SET entries = entries + 1;
END;

-- What this gateway has done with the log: before when it was removed, and up to which
-- number it stands in the file AUDIT_LOG.
CREATE TABLE audit_log_state (
    id        INTEGER PRIMARY KEY CHECK (id = 1),
    kept_from INTEGER NOT NULL,
    filed_to  INTEGER NOT NULL
);

INSERT INTO audit_log_state (id, kept_from, filed_to) VALUES (1, 0, 0);

CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit BEGIN
    SELECT RAISE(ABORT, 'the audit log only grows: its entries are not changed');
END;

CREATE TRIGGER audit_is_not_shortened BEFORE DELETE ON audit
WHEN old.at >= (SELECT kept_from FROM audit_log_state) BEGIN
    SELECT RAISE(ABORT, 'the audit log only grows: only what is older than AUDIT_RETENTION is removed');
END;

-- What an order's record tells of people: an event, and who is behind it.
CREATE TRIGGER orders_audited_insert AFTER INSERT ON orders
WHEN json_array_length(new.record, '$.deeds') > 0 BEGIN
    INSERT INTO audit (id, at, what, who, subject, detail, address, request)
    SELECT 'order:' || new.order_id || ':' || new.created_at || ':' || (deed.value ->> 'seq'),
           CAST(round(unixepoch(event.value ->> 'at', 'subsec') * 1000) AS INTEGER),
           CASE event.value ->> 'kind' WHEN 'payment_refunded' THEN 'refunded' ELSE event.value ->> 'kind' END,
           deed.value ->> 'who', new.order_id, event.value ->> 'detail',
           deed.value ->> '$.from.address', deed.value ->> '$.from.request'
    FROM json_each(new.record, '$.deeds') AS deed
    JOIN json_each(new.record, '$.events') AS event ON event.value ->> 'seq' = deed.value ->> 'seq'
    WHERE true
    ON CONFLICT (id) DO NOTHING;
END;

CREATE TRIGGER orders_audited_update AFTER UPDATE OF record ON orders
WHEN json_array_length(new.record, '$.deeds') IS NOT json_array_length(old.record, '$.deeds') BEGIN
    INSERT INTO audit (id, at, what, who, subject, detail, address, request)
    SELECT 'order:' || new.order_id || ':' || new.created_at || ':' || (deed.value ->> 'seq'),
           CAST(round(unixepoch(event.value ->> 'at', 'subsec') * 1000) AS INTEGER),
           CASE event.value ->> 'kind' WHEN 'payment_refunded' THEN 'refunded' ELSE event.value ->> 'kind' END,
           deed.value ->> 'who', new.order_id, event.value ->> 'detail',
           deed.value ->> '$.from.address', deed.value ->> '$.from.request'
    FROM json_each(new.record, '$.deeds') AS deed
    JOIN json_each(new.record, '$.events') AS event ON event.value ->> 'seq' = deed.value ->> 'seq'
    WHERE true
    ON CONFLICT (id) DO NOTHING;
END;

-- Money that came too late, or twice, goes back by itself.
CREATE TRIGGER late_money_audited AFTER INSERT ON notifications
WHEN new.kind = 'late_payment_returned' AND new.order_id IS NOT NULL BEGIN
    INSERT INTO audit (id, at, what, who, subject, detail)
    VALUES (new.id || ':' || new.at, new.at, 'refunded', 'waybill', new.order_id, new.text)
    ON CONFLICT (id) DO NOTHING;
END;
