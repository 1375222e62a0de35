//! The payment provider: asks for payments, takes money, gives it back. Every
//! answer is definite.

use reqwest::{Method, RequestBuilder};
use restate_sdk::prelude::*;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::json;
use waybill_domain::after_sales::{RefundAnswer, RefundOrder};
use waybill_domain::checkout::{PaymentOpened, Settle};
use waybill_domain::payment::{Capture, PaymentOrder, PaymentOutcome, PaymentRequested};
use waybill_domain::placement::ProviderPage;
use waybill_domain::words::MAX_FOREIGN_ID;

use crate::after_sales::AfterSalesClient;
use crate::outside::{ProviderClient, ProviderReply, Said, ask, ask_in_any_case, ask_when};
use crate::user_session::UserSessionClient;

/// See the module.
pub struct PaymentService {
    /// The provider's API.
    pub provider: ProviderClient,
}

/// The provider's answer to everything.
#[derive(Debug, Serialize, Deserialize)]
struct ProviderPayment {
    #[serde(deserialize_with = "usable_id")]
    payment_id: String,
    #[serde(default)]
    pay_url: Option<String>,
}

/// An id travels in paths and is kept whole: an answer with another one says
/// nothing.
fn usable_id<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let id = String::deserialize(from)?;
    let is_usable =
        (1..=MAX_FOREIGN_ID).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic());
    if is_usable {
        Ok(id)
    } else {
        Err(D::Error::custom(
            "payment_id must be visible ASCII characters, and not too many",
        ))
    }
}

#[restate_sdk::service]
impl PaymentService {
    /// Asks the provider to wait for the customer: *pending* or *refused*. Tells the
    /// customer's session which, and the awakeable alone when the provider is away.
    ///
    /// Cancelled, it answers refused at once and undoes nothing: whoever
    /// cancels it sends [`close`](Self::close), which finds out and undoes,
    /// also when this request arrives after it.
    #[handler(
        name = "RequestPayment",
        ingress_private = true,
        idempotency_retention = "1 day"
    )]
    async fn request_payment(
        &self,
        ctx: Context<'_>,
        Json(order): Json<PaymentOrder>,
    ) -> HandlerResult<Json<PaymentRequested>> {
        let whose = order.attempt.order_id.owner();
        let session = || ctx.object_client::<UserSessionClient>(whose.as_str());
        let opened = |provider, at| PaymentOpened {
            attempt: order.attempt.clone(),
            awakeable_id: order.awakeable_id.clone(),
            provider,
            at,
        };
        // An awakeable that is known can be paid by hand meanwhile.
        let is_away = || drop(session().payment_opened(Json(opened(None, None))).send());
        let asked: Result<Said<ProviderPayment>, _> =
            ask_when(&ctx, "provider.request", || self.creation(&order), is_away).await;
        let (reason, at) = match asked {
            Ok(Said {
                reply: ProviderReply::Yes(said),
                at,
            }) => {
                let (payment_id, pay_url) = (said.payment_id, said.pay_url.unwrap_or_default());
                let page = ProviderPage {
                    payment_id: payment_id.clone(),
                    pay_url: pay_url.clone(),
                };
                session()
                    .payment_opened(Json(opened(Some(page), at)))
                    .send();
                return Ok(Json(PaymentRequested::Pending {
                    payment_id,
                    pay_url,
                }));
            }
            Ok(Said {
                reply: ProviderReply::No(reason),
                at,
            }) => (reason, at),
            Err(_cancelled) => ("the provider was not asked: cancelled".to_owned(), None),
        };
        session()
            .settle(Json(Settle {
                attempt: order.attempt.clone(),
                outcome: PaymentOutcome::Declined {
                    reason: reason.clone(),
                },
                awakeable_id: Some(order.awakeable_id.clone()),
                at,
            }))
            .send();
        Ok(Json(PaymentRequested::Refused { reason }))
    }

    /// Takes the money: *captured* or *refused*, never "perhaps". Cancelled
    /// while asking, it finds out, refunds, and answers refused.
    #[handler(
        name = "Capture",
        ingress_private = true,
        idempotency_retention = "1 day"
    )]
    async fn capture(
        &self,
        ctx: Context<'_>,
        Json(order): Json<PaymentOrder>,
    ) -> HandlerResult<Json<Capture>> {
        Ok(Json(match self.take(&ctx, &order).await {
            Ok(Said {
                reply: ProviderReply::Yes(_),
                at,
            }) => Capture::Captured { at },
            Ok(Said {
                reply: ProviderReply::No(reason),
                ..
            }) => Capture::Refused { reason },
            Err(_cancelled) => {
                self.leave_nothing_captured(&ctx, &order).await;
                Capture::Refused {
                    reason: "cancelled while the provider was asked".to_owned(),
                }
            }
        }))
    }

    /// Gives up one transaction's money, and no other's: its hold or, where the
    /// provider does not void it, what was taken.
    #[handler(name = "Void", ingress_private = true)]
    async fn void(&self, ctx: Context<'_>, Json(order): Json<PaymentOrder>) -> HandlerResult<()> {
        self.give_up(&ctx, &order).await;
        Ok(())
    }

    /// Gives the money back; a provider that says no has none of it.
    #[handler(name = "Refund", ingress_private = true)]
    async fn refund(&self, ctx: Context<'_>, Json(order): Json<PaymentOrder>) -> HandlerResult<()> {
        self.undo(&ctx, &order, "refund").await;
        Ok(())
    }

    /// Gives a part of what was captured back, once for each refund of the order, and tells
    /// what has come of it: definite, however long the provider is away.
    #[handler(name = "RefundPart", ingress_private = true)]
    async fn refund_part(
        &self,
        ctx: Context<'_>,
        Json(refund): Json<RefundOrder>,
    ) -> HandlerResult<()> {
        let order = &refund.payment;
        let refused = match self.id_in_any_case(&ctx, order).await {
            ProviderReply::No(reason) => Some(reason),
            ProviderReply::Yes(payment_id) => {
                let asked = format!("refund-part-{}", refund.number);
                let said: ProviderReply<ProviderPayment> =
                    ask_in_any_case(&ctx, "provider.refund_part", || {
                        let key = order.attempt.idempotency_key(&asked);
                        self.provider
                            .request(Method::POST, &[&payment_id, "refund"], &key)
                            .json(&json!({
                                "transaction_id": order.transaction_id,
                                "amount": refund.amount_cents,
                            }))
                    })
                    .await;
                match said {
                    ProviderReply::Yes(_) => None,
                    ProviderReply::No(reason) => Some(reason),
                }
            }
        };
        ctx.object_client::<AfterSalesClient>(order.attempt.order_id.as_str())
            .refunded(Json(RefundAnswer {
                number: refund.number,
                refused,
            }))
            .send();
        Ok(())
    }

    /// Ends an attempt that failed or was refunded, whether or not the provider
    /// ever answered:
    /// afterwards it can neither be paid nor hold money, of this transaction or
    /// of one that we were never told of.
    #[handler(name = "Close", ingress_private = true)]
    async fn close(&self, ctx: Context<'_>, Json(order): Json<PaymentOrder>) -> HandlerResult<()> {
        if order.transaction_id.is_some() {
            self.give_up(&ctx, &order).await;
        }
        let whole = PaymentOrder {
            transaction_id: None,
            ..order
        };
        self.undo(&ctx, &whole, "void").await;
        Ok(())
    }
}

impl PaymentService {
    async fn take(
        &self,
        ctx: &Context<'_>,
        order: &PaymentOrder,
    ) -> Result<Said<ProviderPayment>, TerminalError> {
        let payment_id = match self.known_id(ctx, order).await? {
            ProviderReply::Yes(payment_id) => payment_id,
            ProviderReply::No(reason) => {
                let reply = ProviderReply::No(reason);
                return Ok(Said { reply, at: None });
            }
        };
        let request = || self.operation(order, &payment_id, "capture");
        ask_when(ctx, "provider.capture", request, || {}).await
    }

    /// The same question with the same key tells whether the money was taken.
    async fn leave_nothing_captured(&self, ctx: &Context<'_>, order: &PaymentOrder) {
        let found = loop {
            if let Ok(found) = self.take(ctx, order).await {
                break found;
            }
        };
        if matches!(found.reply, ProviderReply::Yes(_)) {
            self.undo(ctx, order, "refund").await;
        }
    }

    /// Gives up one transaction's money. A provider that does not void it may
    /// have taken it all the same: then it is refunded.
    async fn give_up(&self, ctx: &Context<'_>, order: &PaymentOrder) {
        if !self.undo(ctx, order, "void").await {
            self.undo(ctx, order, "refund").await;
        }
    }

    /// The provider's id of the payment, undisturbed by cancellations.
    async fn id_in_any_case(
        &self,
        ctx: &Context<'_>,
        order: &PaymentOrder,
    ) -> ProviderReply<String> {
        loop {
            if let Ok(said) = self.known_id(ctx, order).await {
                return said;
            }
        }
    }

    /// Voids or refunds. Whether the provider had something to undo.
    async fn undo(&self, ctx: &Context<'_>, order: &PaymentOrder, operation: &str) -> bool {
        // The provider refuses the payment itself: it holds nothing.
        let ProviderReply::Yes(payment_id) = self.id_in_any_case(ctx, order).await else {
            return false;
        };
        let said: ProviderReply<ProviderPayment> =
            ask_in_any_case(ctx, &format!("provider.{operation}"), || {
                self.operation(order, &payment_id, operation)
            })
            .await;
        if let ProviderReply::No(reason) = said {
            tracing::warn!(
                order.id = %order.attempt.order_id, operation, reason,
                "the provider had nothing to undo"
            );
            return false;
        }
        true
    }

    /// The provider's id of the payment: asking once more with the same key
    /// tells it when its first answer never came.
    async fn known_id(
        &self,
        ctx: &Context<'_>,
        order: &PaymentOrder,
    ) -> Result<ProviderReply<String>, TerminalError> {
        if let Some(payment_id) = &order.payment_id {
            return Ok(ProviderReply::Yes(payment_id.clone()));
        }
        let said = ask(ctx, "provider.find_out", || self.creation(order)).await?;
        Ok(match said {
            ProviderReply::Yes(ProviderPayment { payment_id, .. }) => {
                ProviderReply::Yes(payment_id)
            }
            ProviderReply::No(reason) => ProviderReply::No(reason),
        })
    }

    fn creation(&self, order: &PaymentOrder) -> RequestBuilder {
        self.provider
            .request(Method::POST, &[], &order.attempt.idempotency_key("payment"))
            .json(&json!({
                "order_id": order.attempt.order_id,
                "awakeable_id": order.awakeable_id,
                "amount": order.amount_cents,
            }))
    }

    fn operation(&self, order: &PaymentOrder, payment_id: &str, operation: &str) -> RequestBuilder {
        // Late money makes a second void of one attempt: the transaction tells
        // them apart.
        let asked = match &order.transaction_id {
            Some(transaction) => format!("{operation}:{transaction}"),
            None => operation.to_owned(),
        };
        let key = order.attempt.idempotency_key(&asked);
        let amount = match operation {
            "void" => order.amount_cents,
            _ => order.to_capture(),
        };
        self.provider
            .request(Method::POST, &[payment_id, operation], &key)
            .json(&json!({
                "transaction_id": order.transaction_id,
                "amount": amount,
            }))
    }
}
