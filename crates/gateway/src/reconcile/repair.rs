//! How each difference is mended. Whatever is undone is undone by the services,
//! durably; only rows of the read model are written from here.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde::Deserialize;
use services::client::{self, Body};
use services::wire::order_fulfillment::RUN;
use waybill_domain::audit::Origin;
use waybill_domain::checkout::{CancelOrder, TakeBack};
use waybill_domain::ids::{AttemptId, OrderId, Sku};
use waybill_domain::order::OrderRecord;
use waybill_domain::repair::{Pieces, RepairRequest};

use super::difference::{About, Repair, Return};
use super::snapshot;
use super::{Comparison, Reconcile, read_model};
use crate::restate::admin::literal;
use crate::shop::audit;

/// Who it was, in the order's story.
const OPERATOR: &str = "an operator";
const KILLED: &str = "its invocation was killed";
/// How long the undoing of an order is waited for. It goes on all the same.
const UNDONE_WITHIN: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(200);

impl Reconcile {
    /// Mends what was seen: first at Restate and outside, then the read model,
    /// which shows what came of it.
    pub(super) async fn repair(
        &self,
        look: &Comparison,
        say: &mut dyn FnMut(String),
    ) -> anyhow::Result<()> {
        let mut touched = BTreeSet::new();
        for difference in &look.differences {
            let Some(cure) = &difference.repair else {
                continue;
            };
            if *cure == Repair::Rewrite {
                continue;
            }
            match self.mend(cure).await {
                Ok(()) => {
                    say(format!("repaired: {}: {cure}", difference.about));
                    self.note(&difference.about, cure, say).await;
                }
                Err(error) => say(format!("not repaired: {}: {error:#}", difference.about)),
            }
            if let About::Order(order) = &difference.about {
                touched.extend(OrderId::parse(order));
            }
        }
        let held = snapshot::read(&self.admin_api, self.only.as_ref()).await?;
        read_model::catch_up(&self.db, &held, &touched).await?;
        let rewritten: BTreeSet<_> = look
            .differences
            .iter()
            .filter(|it| it.repair == Some(Repair::Rewrite))
            .map(|it| &it.about)
            .collect();
        for about in rewritten {
            read_model::rewrite(&self.db, &self.admin_api, &held, about).await?;
            say(format!("repaired: {about}: {}", Repair::Rewrite));
            self.note(about, &Repair::Rewrite, say).await;
        }
        Ok(())
    }

    /// Notes in the audit log what was mended.
    async fn note(&self, about: &About, cure: &Repair, say: &mut dyn FnMut(String)) {
        let entry = audit::reconciled(about.to_string(), cure.to_string());
        if let Err(error) = audit::note(&self.ingress, entry).await {
            say(format!("not in the audit log: {about}: {cure}: {error}"));
        }
    }

    async fn mend(&self, cure: &Repair) -> anyhow::Result<()> {
        match cure {
            Repair::Rewrite => Ok(()),
            Repair::Forget(order) => {
                read_model::rewrite(
                    &self.db,
                    &self.admin_api,
                    &snapshot::RestateSnapshot::default(),
                    &About::Order(order.to_string()),
                )
                .await
            }
            Repair::TakeBack(record) => self.take_back(record).await,
            Repair::Settle(order) => self.settle(order).await,
            Repair::Release(sku, attempt) => {
                self.ask(RepairRequest::Release(pieces(sku, attempt))).await
            }
            Repair::Commit(sku, attempt) => {
                self.ask(RepairRequest::Commit(pieces(sku, attempt))).await
            }
            Repair::Recount(sku) => {
                let nothing = Body::from(());
                client::outcome(self.ingress.inventory(sku).recount(nothing).call().await)?;
                Ok(())
            }
            Repair::RefundAgain(order) => {
                let asked = self.ingress.after_sales(order).ask_again(Body::from(()));
                Ok(client::done(asked.call().await)?)
            }
            Repair::Return(Return::Void(order)) => {
                self.ask(RepairRequest::Void(order.clone())).await
            }
            Repair::Return(Return::Refund(order)) => {
                self.ask(RepairRequest::Refund(order.clone())).await
            }
            Repair::Return(Return::CallBack(request)) => {
                self.ask(RepairRequest::CancelShipment(request.clone()))
                    .await
            }
        }
    }

    /// What only the services' own handlers may do otherwise.
    async fn ask(&self, wanted: RepairRequest) -> anyhow::Result<()> {
        let asked = self.ingress.reconcile().repair(Body::from(wanted));
        Ok(client::done(asked.call().await)?)
    }

    /// Undoes what a killed workflow has left. The order's record is safe with
    /// its customer's session before the dead run is forgotten; then the
    /// workflow is run with it again, which undoes it. Interrupted anywhere, it
    /// goes on when it is asked again.
    async fn take_back(&self, record: &OrderRecord) -> anyhow::Result<()> {
        let order = &record.order_id;
        let runs = self.runs(order).await?;
        if runs.iter().any(|run| run.status != "completed") {
            bail!("an invocation works on it again, so it is left alone");
        }
        let taken = self
            .ingress
            .user_session(&order.owner())
            .take_back(Body::from(TakeBack {
                record: record.clone(),
                by: OPERATOR.to_owned(),
                reason: Some(KILLED.to_owned()),
            }))
            .call()
            .await;
        let taken = client::outcome(taken)?;
        for run in runs {
            self.admin_api.purge(&run.id).await?;
        }
        self.ask(RepairRequest::Run(Box::new(taken))).await?;
        self.until_ended(order).await
    }

    async fn settle(&self, order: &OrderId) -> anyhow::Result<()> {
        let settled = self
            .ingress
            .user_session(&order.owner())
            .cancel_order(Body::from(CancelOrder {
                order_id: order.clone(),
                by: OPERATOR.to_owned(),
                reason: Some(KILLED.to_owned()),
                at: None,
                from: Origin::default(),
            }))
            .call()
            .await;
        // A receipt that was written down before wins: then the order goes on.
        client::outcome(settled)?;
        Ok(())
    }

    async fn runs(&self, order: &OrderId) -> anyhow::Result<Vec<Run>> {
        let target = literal(&RUN.of(order));
        let sql = format!("SELECT id, status FROM sys_invocation WHERE target = {target}");
        Ok(self.admin_api.query(&sql).await?)
    }

    async fn until_ended(&self, order: &OrderId) -> anyhow::Result<()> {
        let deadline = Instant::now() + UNDONE_WITHIN;
        loop {
            let held = snapshot::states(&self.admin_api, Some(order)).await?;
            let record = held.orders.get(order).context("it is nowhere")?;
            if record.status.is_terminal() {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("it is being undone, which takes longer: look again later");
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

fn pieces(sku: &Sku, attempt: &AttemptId) -> Pieces {
    Pieces {
        sku: sku.clone(),
        attempt: attempt.clone(),
    }
}

/// A run of the workflow.
#[derive(Debug, Deserialize)]
struct Run {
    id: String,
    status: String,
}
