//! The shop in numbers, for Prometheus: what the dashboard knows, and a few more.
//!
//! As cheap as the dashboard, and with it: what is asked is remembered for some
//! seconds, however many scrape.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use waybill_domain::Timestamp;
use waybill_domain::order::OrderStatus;

use super::dashboard::{self, Latest};
use super::operator::KINDS;
use super::products::LOW_STOCK;
use crate::infra::Infra;
use crate::metrics::Figures;
use crate::storage::dashboard as queries;

/// How old the numbers may be: less than the time between two scrapes.
const FRESH: Duration = Duration::from_secs(3);

/// Sets the metrics of the shop, unless that was done a moment ago.
pub async fn refresh(infra: &Infra, latest: &Latest) {
    let mut at = latest.scraped.lock().await;
    if at.is_some_and(|at| at.elapsed() < FRESH) {
        return;
    }
    match figures(infra, latest).await {
        Ok(figures) => infra.metrics.shop(Some(&figures)),
        Err(cause) => {
            tracing::warn!(cause, "the shop's figures cannot be read");
            infra.metrics.shop(None);
        }
    }
    *at = Some(Instant::now());
}

async fn figures(infra: &Infra, latest: &Latest) -> Result<Figures, String> {
    let shop = dashboard::current(infra, latest)
        .await
        .map_err(|problem| problem.detail.clone())?;
    let (waiting, stock, late, bytes) = tokio::try_join!(
        waiting(infra),
        queries::stock_counts(&infra.db, LOW_STOCK),
        queries::late_orders(&infra.db),
        queries::database_bytes(&infra.db),
    )
    .map_err(|error| error.to_string())?;
    let mut needs: BTreeMap<&str, usize> = KINDS.iter().map(|kind| (*kind, 0)).collect();
    for need in &shop.needs_operator {
        *needs.entry(need.kind).or_default() += 1;
    }
    let live = &shop.read_model;
    let (out, low) = stock;
    Ok(Figures {
        orders: shop
            .orders
            .iter()
            .map(|of| (of.status.as_str(), of.count))
            .collect(),
        waiting,
        needs: needs.into_iter().collect(),
        stock: vec![("out", out), ("low", low)],
        late,
        processes: shop
            .processes
            .iter()
            .map(|process| (process.name.clone(), process.up))
            .collect(),
        restate_asked: shop.restate_asked,
        behind_s: live
            .behind_ms
            .map(|behind| Duration::from_millis(behind).as_secs_f64()),
        queued: live.queued,
        sources: live.sources.len(),
        database_bytes: bytes,
    })
}

async fn waiting(infra: &Infra) -> sqlx::Result<Vec<(&'static str, i64, i64)>> {
    let (now, mut waiting) = (Timestamp::now(), Vec::new());
    for status in OrderStatus::ALL.into_iter().filter(|it| !it.is_terminal()) {
        let counts = queries::waiting(&infra.db, status, now).await?;
        let counts = queries::WAITS_S.into_iter().zip(counts);
        waiting.extend(counts.map(|(seconds, count)| (status.as_str(), seconds, count)));
    }
    Ok(waiting)
}
