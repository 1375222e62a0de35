//! Serving the Restate endpoint.
//!
//! Our own accept loop ([`process::http`]) rather than the SDK's: it sets
//! `TCP_NODELAY` (without it one call in fifty waits 40 ms), goes on after an
//! accept error, closes connections that nobody uses, and drains on a signal of
//! our choice.

use std::convert::Infallible;
use std::time::Duration;

use hyper::Request;
use process::http::{Limits, RequestBody, Server};
use restate_sdk::endpoint::{HandleOptions, ProtocolMode};
use restate_sdk::prelude::*;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower::service_fn;

use crate::account::Accounts;
use crate::after_sales::AfterSales;
use crate::attempt::Attempt;
use crate::audit_log::AuditLog;
use crate::broadcast::UpdateBroadcaster;
use crate::catalog::Catalog;
use crate::crash::Crash;
use crate::inventory::Inventory;
use crate::metrics::Metrics;
use crate::order_fulfillment::OrderFulfillmentWorkflow;
use crate::outside::ProviderClient;
use crate::payment::PaymentService;
use crate::reconcile::ReconcileService;
use crate::settings::Settings;
use crate::shipping::ShippingService;
use crate::shop::Shop;
use crate::transaction::PaymentTransaction;
use crate::user_session::UserSession;
use crate::wire::order_fulfillment::RUN;

/// Invocations that still run then are continued by Restate elsewhere.
const DRAIN: Duration = Duration::from_secs(3);

/// Everything that Restate can invoke here.
///
/// # Errors
/// When the identity key is not one, or an HTTP client cannot be built.
pub fn endpoint(settings: &Settings, updates: &UpdateBroadcaster) -> anyhow::Result<Endpoint> {
    let doors = settings.doors();
    let mut builder = Endpoint::builder()
        .bind(UserSession {
            updates: updates.clone(),
            doors: doors.clone(),
            order_retention: settings.order_retention,
        })
        .bind(
            OrderFulfillmentWorkflow {
                updates: updates.clone(),
                doors: doors.clone(),
                approval_window: settings.approval_window,
                delivery_time: settings.delivery_time,
                windows: settings.return_windows(),
            }
            .into_service_definition()
            .options(
                ServiceOptions::new().handler(
                    RUN.name,
                    HandlerOptions::new()
                        .workflow_retention(settings.order_retention)
                        .journal_retention(settings.order_retention),
                ),
            ),
        )
        .bind(Inventory {
            updates: updates.clone(),
            doors: doors.clone(),
            payment_window: settings.payment_window,
            approval_window: settings.approval_window,
        })
        .bind(AfterSales {
            updates: updates.clone(),
            doors: doors.clone(),
        })
        .bind(Accounts {
            doors: doors.clone(),
            updates: updates.clone(),
        })
        .bind(Shop {
            doors: doors.clone(),
        })
        .bind(Catalog {
            doors: doors.clone(),
            updates: updates.clone(),
        })
        .bind(AuditLog {
            doors: doors.clone(),
            updates: updates.clone(),
        })
        .bind(PaymentTransaction)
        .bind(PaymentService {
            provider: ProviderClient::at(
                settings.payment_provider_url.clone(),
                settings.payment_provider_credential()?,
            )?,
        })
        .bind(ShippingService {
            carrier: ProviderClient::at(
                settings.carrier_url.clone(),
                settings.carrier_credential()?,
            )?,
            delivery_time: settings.delivery_time,
        })
        .bind(ReconcileService { doors });
    if let Some(key) = settings.restate_identity_key() {
        builder = builder.identity_key(key).map_err(|error| {
            anyhow::anyhow!("RESTATE_IDENTITY_KEY is not a public key of Restate: {error}")
        })?;
    }
    Ok(builder.build())
}

/// Serves until `shutdown`, then drains for a few seconds.
pub async fn serve(
    listener: TcpListener,
    endpoint: Endpoint,
    crash: Crash,
    metrics: Metrics,
    shutdown: CancellationToken,
) {
    let service = service_fn(move |request: Request<RequestBody>| {
        let watch = crash.watch(request.uri().path());
        let attempt = Attempt::of(&request, &metrics);
        let options = HandleOptions {
            protocol_mode: ProtocolMode::BidiStream,
        };
        let answer = endpoint
            .handle_with_options(request.map(|body| watch.asked(body)), options)
            .map(|body| watch.answered(body));
        let answer = attempt.answered(answer);
        async { Ok::<_, Infallible>(answer) }
    });
    let server = Server::new(Limits::STRANGERS.with_lasting_bodies()).http2_only();
    let out_of_patience = async {
        shutdown.cancelled().await;
        pause(DRAIN).await;
    };
    tokio::select! {
        () = server.serve(listener, service, shutdown.clone()) => tracing::info!("drained"),
        () = out_of_patience => tracing::info!("Restate continues what still runs"),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "serving, not a handler: nothing here is replayed"
)]
async fn pause(duration: Duration) {
    tokio::time::sleep(duration).await;
}
