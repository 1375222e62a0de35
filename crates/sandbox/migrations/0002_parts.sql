-- Less than what was authorized may be captured: the rest is released at once. Captured
-- money may go back in parts.
ALTER TABLE transactions ADD COLUMN refunded_amount INTEGER NOT NULL DEFAULT 0;

UPDATE transactions SET refunded_amount = COALESCE(captured_amount, amount) WHERE status = 'refunded';

DROP TRIGGER journal_money_moves;

CREATE TRIGGER journal_money_moves AFTER UPDATE OF status ON transactions
WHEN NEW.status <> OLD.status AND NEW.status <> 'refunded'
BEGIN
    INSERT INTO journal (at_ms, kind, order_id, payment_id, transaction_id, amount)
    SELECT CAST(unixepoch('subsec') * 1000 AS INTEGER),
           CASE NEW.status WHEN 'captured' THEN 'capture' WHEN 'voided' THEN 'void' END,
           order_id, payment_id, NEW.transaction_id, COALESCE(NEW.captured_amount, NEW.amount)
    FROM payments WHERE payment_id = NEW.payment_id;
    INSERT INTO journal (at_ms, kind, order_id, payment_id, transaction_id, amount)
    SELECT CAST(unixepoch('subsec') * 1000 AS INTEGER), 'release',
           order_id, payment_id, NEW.transaction_id, NEW.amount - NEW.captured_amount
    FROM payments
    WHERE payment_id = NEW.payment_id AND NEW.status = 'captured' AND NEW.captured_amount < NEW.amount;
END;

CREATE TRIGGER journal_money_goes_back AFTER UPDATE OF refunded_amount ON transactions
WHEN NEW.refunded_amount > OLD.refunded_amount
BEGIN
    INSERT INTO journal (at_ms, kind, order_id, payment_id, transaction_id, amount)
    SELECT CAST(unixepoch('subsec') * 1000 AS INTEGER), 'refund',
           order_id, payment_id, NEW.transaction_id, NEW.refunded_amount - OLD.refunded_amount
    FROM payments WHERE payment_id = NEW.payment_id;
END;
