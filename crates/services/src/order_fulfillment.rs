//! An order from approval to delivery, and back: workflow, key = order id.
//!
//! `run` is the story; [`Fulfilment`] holds its verbs. Every step is one state
//! write, said aloud. On any failure, Restate's own cancellation included, what
//! was done is undone in reverse, exactly as far as it was done.

use std::time::Duration;

use restate_sdk::context::CallFuture;
use restate_sdk::prelude::*;
use waybill_domain::Timestamp;
use waybill_domain::after_sales::{Sold, Windows};
use waybill_domain::audit::{By, Origin};
use waybill_domain::basket::Part;
use waybill_domain::decision::{Decision, Verdict};
use waybill_domain::ids::{OrderId, Sku};
use waybill_domain::order::{Compensable, OrderRecord, OrderStatus, Step};
use waybill_domain::payment::{Capture, PaymentOrder};
use waybill_domain::refusal::Refusal;
use waybill_domain::shipment::Booking;
use waybill_domain::stock::EndReservation;
use waybill_domain::update::Update;

use crate::broadcast::UpdateBroadcaster;
use crate::clock::{Clock, left_until};
use crate::inventory::InventoryClient;
use crate::payment::PaymentServiceClient;
use crate::refuse::{defect, is_cancellation, refuse};
use crate::shipping::ShippingServiceClient;
use crate::signed::{Doors, Signed};
use crate::state::ReadState;
use crate::story::{self, Since};
use crate::user_session::UserSessionClient;
use crate::wire::order_fulfillment as wire;
use crate::wire::{DECISION, RECORD};

/// Between tries to undo something whose service was killed in mid-call.
const UNDO_PAUSE: Duration = Duration::from_secs(5);
/// How often a call that was ended from outside is asked for its answer.
const ASK_AGAIN: u32 = 5;

/// See the module.
pub struct OrderFulfillmentWorkflow {
    /// Orders are said aloud.
    pub updates: UpdateBroadcaster,
    /// Whose calls are let in.
    pub doors: Doors,
    /// How long an approver may take to decide, where the order does not say.
    pub approval_window: Duration,
    /// How long a parcel travels, where the carrier does not say.
    pub delivery_time: Duration,
    /// How long pieces can be sent back.
    pub windows: Windows,
}

#[restate_sdk::workflow]
impl OrderFulfillmentWorkflow {
    /// Approval, shipping, capture, delivery; or their undoing and a terminal
    /// error that says why. A record that was taken back from a run that was
    /// killed is undone from where that run has left it.
    #[handler(name = "Run", ingress_private = true)]
    async fn run(
        &self,
        ctx: WorkflowContext<'_>,
        Json(order): Json<OrderRecord>,
    ) -> HandlerResult<Json<OrderRecord>> {
        let mut order = Fulfilment::new(self, &ctx, order);
        if order.record.undoing.is_some() {
            order.finish_undoing().await?;
            order.hand_over();
        } else if let Ended::Turned(turn) = order.fulfil().await? {
            order.undo(turn).await?;
        }
        match order.record.status {
            OrderStatus::Delivered => Ok(Json(order.record)),
            _ => Err(order.failure()),
        }
    }

    /// An admin's decision: approve, or reject. 409 with the decision that
    /// stands when another was first.
    #[handler(name = "Approve")]
    async fn approve(
        &self,
        ctx: SharedWorkflowContext<'_>,
        decision: Signed<Decision>,
    ) -> HandlerResult<Json<Decision>> {
        let decision = decision.open(&ctx, &self.doors, wire::APPROVE)?;
        decide(&ctx, decision).await.map(Json)
    }

    /// Takes the order back, unless it was decided already.
    #[handler(name = "Cancel")]
    async fn cancel(
        &self,
        ctx: SharedWorkflowContext<'_>,
        decision: Signed<Decision>,
    ) -> HandlerResult<Json<Decision>> {
        let decision = decision.open(&ctx, &self.doors, wire::CANCEL)?;
        decide(&ctx, decision).await.map(Json)
    }

    /// The record of now.
    #[handler(name = "GetRecord")]
    async fn get_record(
        &self,
        ctx: SharedWorkflowContext<'_>,
        nothing: Signed<()>,
    ) -> HandlerResult<Json<Option<OrderRecord>>> {
        nothing.open(&ctx, &self.doors, wire::GET_RECORD)?;
        let record = ctx.read::<OrderRecord>(RECORD).await?;
        Ok(Json(record))
    }

    /// What was delivered and paid, and for how long it can be sent back: for what comes
    /// after. `None` of an order that is not here (any more).
    #[handler(name = "Sold", ingress_private = true)]
    async fn sold(
        &self,
        ctx: SharedWorkflowContext<'_>,
    ) -> HandlerResult<Json<Option<Result<Sold, Refusal>>>> {
        let record = ctx.read::<OrderRecord>(RECORD).await?;
        Ok(Json(record.map(|order| Sold::of(&order, self.windows))))
    }

    /// Whether Restate still has the record: for the customer's session.
    #[handler(name = "IsRemembered", ingress_private = true)]
    async fn is_remembered(&self, ctx: SharedWorkflowContext<'_>) -> HandlerResult<bool> {
        Ok(ctx.read::<OrderRecord>(RECORD).await?.is_some())
    }
}

/// Resolves the one promise and reads it back: what it then holds has won.
async fn decide(ctx: &SharedWorkflowContext<'_>, decision: Decision) -> HandlerResult<Decision> {
    let order_id = OrderId::parse(ctx.key()).map_err(refuse)?;
    let Some(order) = ctx.read::<OrderRecord>(RECORD).await? else {
        return Err(refuse(Refusal::NotReady { order_id }));
    };
    // A decision that was carried out does not fit any more what it has made of the order.
    if order.status == OrderStatus::AwaitingApproval {
        decision.fits(&order).map_err(refuse)?;
    }
    ctx.resolve_promise(DECISION, Json(decision.clone()));
    let Json(standing) = ctx.promise::<Json<Decision>>(DECISION).await?;
    decision.against(standing, &order_id).map_err(refuse)
}

/// How the story ends.
enum Ended {
    Delivered,
    Turned(Step),
}

/// The next step, or the turn that the order takes instead.
type StepResult<T> = Result<T, Interruption>;

/// Why the order does not go on.
enum Interruption {
    /// This happened; what was done is undone.
    Step(Step),
    /// A defect; nothing can be undone by retrying.
    Defect(HandlerError),
}

impl From<Step> for Interruption {
    fn from(step: Step) -> Self {
        Self::Step(step)
    }
}

/// An order under way, with the verbs of its story.
struct Fulfilment<'a, 'ctx> {
    workflow: &'a OrderFulfillmentWorkflow,
    ctx: &'a WorkflowContext<'ctx>,
    record: OrderRecord,
    /// Restate has asked this invocation to end. Noted rather than thrown, so
    /// that a cancellation never hides what has just happened.
    cancelled: bool,
    /// The status that the log knows, and since when.
    told: Since,
}

impl<'a, 'ctx> Fulfilment<'a, 'ctx> {
    fn new(
        workflow: &'a OrderFulfillmentWorkflow,
        ctx: &'a WorkflowContext<'ctx>,
        record: OrderRecord,
    ) -> Self {
        Self {
            workflow,
            ctx,
            told: (record.status, record.status_since),
            record,
            cancelled: false,
        }
    }

    /// The story.
    async fn fulfil(&mut self) -> HandlerResult<Ended> {
        let told = async {
            self.await_approval().await?;
            let travels = self.ship().await?;
            let captured_at = self.capture().await?;
            self.deliver(captured_at, travels).await
        };
        match told.await {
            Ok(()) => Ok(Ended::Delivered),
            Err(Interruption::Step(step)) => Ok(Ended::Turned(step)),
            Err(Interruption::Defect(error)) => Err(error),
        }
    }

    /// Tells the customer's session that an order that was taken back has ended.
    fn hand_over(&self) {
        self.ctx
            .object_client::<UserSessionClient>(self.record.user_id.as_str())
            .handed_over(Json(self.record.order_id.clone()))
            .send();
    }

    async fn await_approval(&mut self) -> StepResult<()> {
        let until = self.request_approval().await?;
        self.go_on_unless_cancelled()?;

        let heard = restate_sdk::select! {
            decided = self.ctx.promise::<Json<Decision>>(DECISION) => decided.map(Some),
            slept = self.ctx.sleep(left_until(until)) => slept.map(|()| None),
            on_cancel => Err(TerminalError::new_with_code(409, "cancelled"))
        };
        let decision = match heard {
            Ok(Some(Json(decision))) => decision,
            Ok(None) => self.decide(Verdict::Expired, "clock").await,
            Err(_cancelled) => {
                self.cancelled = true;
                return Err(Self::cancellation().into());
            }
        };
        let by = decision.whose();
        let Decision {
            verdict,
            reason,
            without,
            at,
            ..
        } = decision;
        match verdict {
            Verdict::Approved if !without.is_empty() => {
                self.approve_in_part(by, without, reason, at).await
            }
            Verdict::Approved => self.step_at(Step::Approved { by }, at).await,
            Verdict::Rejected => Err(Step::Rejected { by, reason }.into()),
            Verdict::Cancelled => Err(Step::Cancelled { by, reason }.into()),
            Verdict::Expired => Err(Step::ApprovalExpired.into()),
        }
    }

    /// Approved, but for pieces that can be sold again from here on. `Approve` lets only
    /// through what can be taken out; anything else takes the whole order back.
    async fn approve_in_part(
        &mut self,
        by: By,
        without: Vec<Part>,
        reason: Option<String>,
        at: Option<Timestamp>,
    ) -> StepResult<()> {
        if let Err(refusal) = self.record.split(&without) {
            let reason = Some(refusal.to_string());
            return Err(Step::Rejected { by, reason }.into());
        }
        let at = self.time_of(at).await;
        self.apply(Step::Approved { by: by.clone() }, at)?;
        // No await from here on: what is given back is taken out, too.
        self.write(
            Step::TakenOut {
                by,
                without,
                reason,
            },
            at,
        )?;
        self.give_back_what_is_taken_out();
        Ok(())
    }

    fn give_back_what_is_taken_out(&self) {
        let left = |sku: &Sku| {
            let mut lines = self.record.lines.iter();
            lines
                .find(|line| line.sku == *sku)
                .map_or(0, |line| line.quantity)
        };
        for line in &self.record.taken_out {
            self.ctx
                .object_client::<InventoryClient>(line.sku.as_str())
                .release(Json(EndReservation {
                    attempt: self.record.attempt(),
                    keep: left(&line.sku),
                    at: Some(self.record.updated_at),
                }))
                .send();
        }
    }

    /// Waits for an approver from here on. An order that was paid before its session
    /// asked for the approval itself gets its window now.
    async fn request_approval(&mut self) -> StepResult<Timestamp> {
        if let Some(until) = self.record.wait_until {
            self.keep();
            return Ok(until);
        }
        let until = self.later(self.workflow.approval_window).await;
        self.step(Step::ApprovalRequested { until }).await?;
        Ok(until)
    }

    /// Books the parcel; answers how long it travels.
    async fn ship(&mut self) -> StepResult<Option<Duration>> {
        self.go_on_unless_cancelled()?;
        let ctx = self.ctx;
        let request = self.record.shipment_request();
        let key = request.attempt.idempotency_key("ship");
        let booking = self
            .ask(|| {
                ctx.service_client::<ShippingServiceClient>()
                    .initiate_shipment(Json(request.clone()))
                    .idempotency_key(key.clone())
                    .call()
            })
            .await;
        match booking {
            Ok(Booking::Booked {
                shipment,
                at,
                travels_ms,
            }) => {
                self.step_at(Step::ShipmentBooked(shipment), at).await?;
                Ok(travels_ms.map(Duration::from_millis))
            }
            Ok(Booking::Refused { .. }) if self.cancelled => Err(Self::cancellation().into()),
            Ok(Booking::Refused { reason }) => Err(Step::ShippingFailed { reason }.into()),
            // Nobody knows whether a parcel is booked: make sure that none is.
            Err(unknown) => {
                self.leave_nothing_booked().await;
                Err(Step::ShippingFailed {
                    reason: unknown.message().to_owned(),
                }
                .into())
            }
        }
    }

    /// Takes the money; answers when it was taken.
    async fn capture(&mut self) -> StepResult<Option<Timestamp>> {
        self.go_on_unless_cancelled()?;
        let ctx = self.ctx;
        let payment = self.record.payment_order();
        let key = payment.attempt.idempotency_key("capture");
        let capture = self
            .ask(|| {
                ctx.service_client::<PaymentServiceClient>()
                    .capture(Json(payment.clone()))
                    .idempotency_key(key.clone())
                    .call()
            })
            .await;
        match capture {
            Ok(Capture::Captured { at }) => Ok(at),
            Ok(Capture::Refused { .. }) if self.cancelled => Err(Self::cancellation().into()),
            Ok(Capture::Refused { reason }) => Err(Step::CaptureRefused { reason }.into()),
            // Nobody knows whether the money is ours: make sure that it is not.
            Err(unknown) => {
                self.leave_nothing_captured().await;
                Err(Step::CaptureRefused {
                    reason: unknown.message().to_owned(),
                }
                .into())
            }
        }
    }

    /// Sends the parcel off, paid, and waits until it has arrived.
    async fn deliver(
        &mut self,
        captured_at: Option<Timestamp>,
        travels: Option<Duration>,
    ) -> StepResult<()> {
        let captured_at = self.time_of(captured_at).await;
        self.apply(Step::PaymentCaptured, captured_at)?;
        if self.cancelled {
            self.keep();
            return Err(Self::cancellation().into());
        }
        let eta = match travels {
            Some(travels) => captured_at + travels,
            None => self.later(self.workflow.delivery_time).await,
        };
        self.write(Step::InTransit { eta }, captured_at)?;
        self.go_on_unless_cancelled()?;
        if self.ctx.sleep(left_until(eta)).await.is_err() {
            self.cancelled = true;
        }
        self.go_on_unless_cancelled()?;

        // No await from here on: the order is delivered and its stock committed,
        // or neither. Killed in between it is delivered, and reconciling commits.
        self.write(Step::Delivered, eta)?;
        for line in &self.record.lines {
            self.ctx
                .object_client::<InventoryClient>(line.sku.as_str())
                .commit(Json(EndReservation {
                    attempt: self.record.attempt(),
                    keep: 0,
                    at: Some(self.record.updated_at),
                }))
                .send();
        }
        Ok(())
    }

    /// Undoes what was done, newest first, and ends the order.
    async fn undo(&mut self, turn: Step) -> HandlerResult<()> {
        let turn = self.what_stands(turn).await?;
        self.forced(turn).await?;
        self.undo_what_was_done().await
    }

    /// Ends an order that a killed run has left. What that run asked last may
    /// have happened without an entry in the record: it is undone, too.
    async fn finish_undoing(&mut self) -> HandlerResult<()> {
        // Before anything is written, so that nobody decides any more.
        self.decide(Verdict::Cancelled, "operator").await;
        if self.record.status == OrderStatus::Shipping {
            match self.record.done.last() {
                Some(Compensable::Authorized) => self.leave_nothing_booked().await,
                Some(Compensable::Booked) => self.leave_nothing_captured().await,
                _ => {}
            }
        }
        self.undo_what_was_done().await
    }

    /// Asked once more with the carrier's own key, a booking that is still on
    /// its way arrives as a repeat: then it is cancelled for good.
    async fn leave_nothing_booked(&mut self) {
        let (ctx, request) = (self.ctx, self.record.shipment_request());
        let asked = self
            .ask(|| {
                ctx.service_client::<ShippingServiceClient>()
                    .initiate_shipment(Json(request.clone()))
                    .call()
            })
            .await;
        tracing::info!(order.id = %self.record.order_id, ?asked, "found out about a booking");
        self.cancel_shipment().await;
    }

    /// The same with the money.
    async fn leave_nothing_captured(&mut self) {
        let (ctx, payment) = (self.ctx, self.record.payment_order());
        let asked = self
            .ask(|| {
                ctx.service_client::<PaymentServiceClient>()
                    .capture(Json(payment.clone()))
                    .call()
            })
            .await;
        tracing::info!(order.id = %self.record.order_id, ?asked, "found out about a capture");
        self.refund().await;
    }

    async fn undo_what_was_done(&mut self) -> HandlerResult<()> {
        while let Some(done) = self.record.done.last().copied() {
            match done {
                Compensable::Captured => {
                    self.refund().await;
                    self.close().await;
                }
                Compensable::Booked => self.cancel_shipment().await,
                Compensable::Authorized => self.void().await,
                Compensable::Reserved => self.release().await,
            }
            story::undone(&self.record.order_id, done);
            self.forced(Step::Undone(done)).await?;
        }
        self.forced(Step::Ended).await
    }

    /// Before compensating on any exit the one decision is taken, so that
    /// nobody approves an order that is being undone; a decision that was first
    /// is the reason then. An approval is noted, since its admin was told yes;
    /// an operator takes the order back all the same.
    async fn what_stands(&mut self, turn: Step) -> HandlerResult<Step> {
        if self.record.status != OrderStatus::AwaitingApproval
            || !matches!(turn, Step::Cancelled { .. })
        {
            return Ok(turn);
        }
        let standing = self.decide(Verdict::Cancelled, "restate").await;
        let by = standing.whose();
        let Decision {
            verdict, reason, ..
        } = standing;
        Ok(match verdict {
            Verdict::Rejected => Step::Rejected { by, reason },
            Verdict::Cancelled if by.who != "restate" => Step::Cancelled { by, reason },
            Verdict::Expired => Step::ApprovalExpired,
            Verdict::Cancelled => turn,
            Verdict::Approved => {
                self.forced(Step::Approved { by }).await?;
                turn
            }
        })
    }

    async fn refund(&mut self) {
        let (ctx, payment) = (self.ctx, self.record.payment_order());
        self.until_done(|| {
            ctx.service_client::<PaymentServiceClient>()
                .refund(Json(payment.clone()))
                .call()
        })
        .await;
    }

    async fn cancel_shipment(&mut self) {
        let (ctx, request) = (self.ctx, self.record.shipment_request());
        self.until_done(|| {
            ctx.service_client::<ShippingServiceClient>()
                .cancel_shipment(Json(request.clone()))
                .call()
        })
        .await;
    }

    /// Voids what pays the order and closes its payment.
    async fn void(&mut self) {
        self.close_with(self.record.payment_order()).await;
    }

    /// Closes a payment that has been refunded.
    async fn close(&mut self) {
        self.close_with(PaymentOrder {
            transaction_id: None,
            ..self.record.payment_order()
        })
        .await;
    }

    /// Closes the payment as a whole: also money that its page has taken and
    /// nobody was told of goes back.
    async fn close_with(&mut self, payment: PaymentOrder) {
        let ctx = self.ctx;
        self.until_done(|| {
            ctx.service_client::<PaymentServiceClient>()
                .close(Json(payment.clone()))
                .call()
        })
        .await;
    }

    async fn release(&mut self) {
        let (ctx, attempt) = (self.ctx, self.record.attempt());
        let skus: Vec<_> = self
            .record
            .lines
            .iter()
            .map(|line| line.sku.clone())
            .collect();
        for sku in skus {
            self.until_done(|| {
                ctx.object_client::<InventoryClient>(sku.as_str())
                    .release(Json(EndReservation {
                        attempt: attempt.clone(),
                        keep: 0,
                        at: None,
                    }))
                    .call()
            })
            .await;
        }
    }

    /// Resolves the one promise and reads it back.
    async fn decide(&mut self, verdict: Verdict, by: &str) -> Decision {
        self.ctx.resolve_promise(
            DECISION,
            Json(Decision {
                id: format!("{}:{}", self.ctx.invocation_id(), verdict.word()),
                verdict,
                by: by.to_owned(),
                reason: None,
                without: Vec::new(),
                at: None,
                from: Origin::default(),
            }),
        );
        loop {
            match self.ctx.promise::<Json<Decision>>(DECISION).await {
                Ok(Json(standing)) => return standing,
                Err(_cancelled) => self.cancelled = true,
            }
        }
    }

    /// Asks a service that answers definitely. Cancelled meanwhile, it asks for
    /// the answer of the same call again (the same idempotency key): the
    /// cancellation has reached the service too, which then ends in a known
    /// state. An error means that the service was killed: its end is unknown.
    async fn ask<T, C>(&mut self, call: impl Fn() -> C) -> Result<T, TerminalError>
    where
        C: CallFuture<Response = Json<T>> + Send,
    {
        let mut asked = 0;
        loop {
            asked += 1;
            match call().await {
                Ok(Json(answer)) => return Ok(answer),
                Err(error) if is_cancellation(&error) && asked < ASK_AGAIN => {
                    self.cancelled = true;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Repeats an idempotent call until it succeeds, undisturbed by further
    /// cancellations.
    async fn until_done<C>(&mut self, call: impl Fn() -> C)
    where
        C: CallFuture<Response = ()> + Send,
    {
        while let Err(error) = call().await {
            if !is_cancellation(&error) {
                tracing::error!(
                    order.id = %self.record.order_id, %error,
                    "undoing failed: trying again"
                );
            }
            // Also after a cancellation: a service that is killed each time
            // answers the same, and must not be asked in a tight circle.
            if self.ctx.sleep(UNDO_PAUSE).await.is_err() {
                self.cancelled = true;
            }
        }
    }

    /// The journaled time; a cancellation is noted and the time read again.
    async fn now(&mut self) -> Timestamp {
        loop {
            match self.ctx.now().await {
                Ok(now) => return now,
                Err(_cancelled) => self.cancelled = true,
            }
        }
    }

    /// The time that an answer brings, or else the journaled one.
    async fn time_of(&mut self, said: Option<Timestamp>) -> Timestamp {
        match said {
            Some(said) => said,
            None => self.now().await,
        }
    }

    /// The journaled end of a wait that begins now; a cancellation is noted.
    async fn later(&mut self, wait: Duration) -> Timestamp {
        loop {
            match self.ctx.later(wait).await {
                Ok(end) => return end,
                Err(_cancelled) => self.cancelled = true,
            }
        }
    }

    /// One step of the order: time, record, state, updates.
    async fn step(&mut self, step: Step) -> StepResult<()> {
        self.step_at(step, None).await
    }

    /// The same with the time that somebody has said.
    async fn step_at(&mut self, step: Step, at: Option<Timestamp>) -> StepResult<()> {
        let at = self.time_of(at).await;
        self.write(step, at)
    }

    /// A step on the way back.
    async fn forced(&mut self, step: Step) -> HandlerResult<()> {
        match self.step(step).await {
            Err(Interruption::Defect(error)) => Err(error),
            _ => Ok(()),
        }
    }

    fn write(&mut self, step: Step, at: Timestamp) -> StepResult<()> {
        self.apply(step, at)?;
        self.keep();
        Ok(())
    }

    /// Takes a step that is written together with the next one.
    fn apply(&mut self, step: Step, at: Timestamp) -> StepResult<()> {
        self.record = self
            .record
            .clone()
            .apply(step, at)
            .map_err(|illegal| Interruption::Defect(defect(illegal)))?;
        Ok(())
    }

    /// Writes the record and says it aloud.
    fn keep(&mut self) {
        let now = (self.record.status, self.record.status_since);
        let left = std::mem::replace(&mut self.told, now);
        let entered = left.0 != now.0;
        story::written(&self.record, entered, Some(left).filter(|_| entered));
        self.ctx.set(RECORD, Json(self.record.clone()));
        self.workflow
            .updates
            .publish(&Update::Order(Box::new(self.record.clone())));
    }

    fn go_on_unless_cancelled(&self) -> StepResult<()> {
        if self.cancelled {
            Err(Self::cancellation().into())
        } else {
            Ok(())
        }
    }

    fn cancellation() -> Step {
        Step::Cancelled {
            by: "restate".into(),
            reason: Some("an operator cancelled the order's invocation".to_owned()),
        }
    }

    /// The terminal error that tells why.
    fn failure(&self) -> HandlerError {
        let code = match self.record.status {
            OrderStatus::Rejected => 400,
            OrderStatus::PaymentFailed => 402,
            OrderStatus::ShippingFailed => 500,
            _ => 410,
        };
        let why = self.record.failure_reason.clone().unwrap_or_default();
        TerminalError::new_with_code(code, why).into()
    }
}
