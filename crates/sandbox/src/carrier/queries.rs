//! The carrier's SQL.

use sqlx::SqliteConnection;

use super::{Booking, BookingStatus, Parcel, Shipment};
use crate::database::of_order;

/// Counts a request to book; answers how many tries `fail_times` took so far.
pub(super) async fn count_booking_request(
    ledger: &mut SqliteConnection,
    order_id: &str,
) -> sqlx::Result<u32> {
    sqlx::query_scalar(
        "INSERT INTO shipments (order_id, book_requests) VALUES (?, 1)
         ON CONFLICT (order_id) DO UPDATE SET book_requests = book_requests + 1
         RETURNING failed_tries",
    )
    .bind(order_id)
    .fetch_one(ledger)
    .await
}

pub(super) async fn count_cancel_request(
    ledger: &mut SqliteConnection,
    order_id: &str,
) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO shipments (order_id, cancel_requests) VALUES (?, 1)
         ON CONFLICT (order_id) DO UPDATE SET cancel_requests = cancel_requests + 1",
    )
    .bind(order_id)
    .execute(ledger)
    .await?;
    Ok(())
}

pub(super) async fn count_refusal(
    ledger: &mut SqliteConnection,
    order_id: &str,
) -> sqlx::Result<()> {
    sqlx::query("UPDATE shipments SET refusals = refusals + 1 WHERE order_id = ?")
        .bind(order_id)
        .execute(ledger)
        .await?;
    Ok(())
}

pub(super) async fn count_failed_try(
    ledger: &mut SqliteConnection,
    order_id: &str,
) -> sqlx::Result<()> {
    sqlx::query("UPDATE shipments SET failed_tries = failed_tries + 1 WHERE order_id = ?")
        .bind(order_id)
        .execute(ledger)
        .await?;
    Ok(())
}

/// Lets `fail_times` count anew, for one order or for all of them.
pub(crate) async fn forget_failed_tries(
    ledger: &mut SqliteConnection,
    order_id: Option<&str>,
) -> sqlx::Result<()> {
    of_order(
        "UPDATE shipments SET failed_tries = 0",
        "order_id",
        order_id,
        "",
    )
    .build()
    .execute(ledger)
    .await?;
    Ok(())
}

pub(super) async fn booking(
    ledger: &mut SqliteConnection,
    key: &str,
) -> sqlx::Result<Option<Booking>> {
    sqlx::query_as(
        "SELECT fingerprint, status, tracking_number FROM bookings WHERE idempotency_key = ?",
    )
    .bind(key)
    .fetch_optional(ledger)
    .await
}

/// Remembers a key: as booked with a tracking number, else as seen.
pub(super) async fn remember(
    ledger: &mut SqliteConnection,
    key: &str,
    parcel: &Parcel,
    fingerprint: &str,
    tracking_number: Option<&str>,
) -> sqlx::Result<()> {
    let status = match tracking_number {
        Some(_) => BookingStatus::Booked,
        None => BookingStatus::Seen,
    };
    sqlx::query(
        "INSERT INTO bookings
            (idempotency_key, fingerprint, order_id, status, tracking_number)
         VALUES (?, ?, ?, ?, ?)
         ON CONFLICT (idempotency_key) DO UPDATE SET
            status = excluded.status, tracking_number = excluded.tracking_number",
    )
    .bind(key)
    .bind(fingerprint)
    .bind(&parcel.order_id)
    .bind(status)
    .bind(tracking_number)
    .execute(ledger)
    .await?;
    Ok(())
}

/// Whether a booking stands.
pub(super) async fn is_booked(ledger: &mut SqliteConnection, order_id: &str) -> sqlx::Result<bool> {
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM bookings WHERE order_id = ? AND status = 'booked')",
    )
    .bind(order_id)
    .fetch_one(ledger)
    .await
}

pub(super) async fn cancel_keys(ledger: &mut SqliteConnection, order_id: &str) -> sqlx::Result<()> {
    sqlx::query("UPDATE bookings SET status = 'cancelled' WHERE order_id = ?")
        .bind(order_id)
        .execute(ledger)
        .await?;
    Ok(())
}

/// Whether there ever was a booking.
pub(super) async fn was_booked(
    ledger: &mut SqliteConnection,
    order_id: &str,
) -> sqlx::Result<bool> {
    sqlx::query_scalar(
        "SELECT EXISTS (
            SELECT 1 FROM bookings WHERE order_id = ? AND tracking_number IS NOT NULL)",
    )
    .bind(order_id)
    .fetch_one(ledger)
    .await
}

/// Every order the carrier was asked about, or one of them.
pub(crate) async fn all(
    ledger: &mut SqliteConnection,
    order_id: Option<&str>,
) -> sqlx::Result<Vec<Shipment>> {
    of_order(
        "SELECT order_id, book_requests AS book, cancel_requests AS cancel, refusals,
                (SELECT COUNT(*) FROM bookings
                 WHERE bookings.order_id = shipments.order_id AND status = 'booked') AS booked,
                (SELECT tracking_number FROM journal
                 WHERE journal.order_id = shipments.order_id AND kind = 'book'
                 ORDER BY seq DESC LIMIT 1) AS tracking_number
         FROM shipments",
        "order_id",
        order_id,
        "ORDER BY opened",
    )
    .build_query_as()
    .fetch_all(ledger)
    .await
}
