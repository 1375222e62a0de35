//! Serving the Restate endpoint.
//!
//! Our own accept loop rather than the SDK's: it sets `TCP_NODELAY` (without it
//! one call in fifty waits 40 ms), goes on after an accept error, and drains on
//! a signal of our choice.

use std::convert::Infallible;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::graceful::GracefulShutdown;
use restate_sdk::endpoint::{HandleOptions, ProtocolMode};
use restate_sdk::prelude::*;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::crash::Crash;
use crate::inventory::Inventory;
use crate::order_fulfillment::OrderFulfillmentWorkflow;
use crate::outside::Stranger;
use crate::payment::PaymentService;
use crate::settings::Settings;
use crate::shipping::ShippingService;
use crate::transaction::PaymentTransaction;
use crate::user_session::UserSession;
use crate::voice::Voice;

/// Invocations that still run then are continued by Restate elsewhere.
const DRAIN: Duration = Duration::from_secs(3);
/// After an accept error, e.g. too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Everything that Restate can invoke here.
///
/// # Errors
/// When the identity key is not one, or an HTTP client cannot be built.
pub fn endpoint(settings: &Settings, voice: &Voice) -> anyhow::Result<Endpoint> {
    let mut builder = Endpoint::builder()
        .bind(UserSession {
            voice: voice.clone(),
            payment_window: settings.payment_window,
            order_retention: settings.order_retention,
        })
        .bind(
            OrderFulfillmentWorkflow {
                voice: voice.clone(),
                approval_window: settings.approval_window,
                delivery_time: settings.delivery_time,
            }
            .into_service_definition()
            .options(
                ServiceOptions::new().handler(
                    "Run",
                    HandlerOptions::new()
                        .workflow_retention(settings.order_retention)
                        .journal_retention(settings.order_retention),
                ),
            ),
        )
        .bind(Inventory {
            voice: voice.clone(),
        })
        .bind(PaymentTransaction)
        .bind(PaymentService {
            provider: Stranger::at(settings.payment_provider_url.clone())?,
        })
        .bind(ShippingService {
            carrier: Stranger::at(settings.carrier_url.clone())?,
        });
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
    shutdown: CancellationToken,
) {
    let service = service_fn(move |request: Request<Incoming>| {
        let watch = crash.watch(request.uri().path());
        let options = HandleOptions {
            protocol_mode: ProtocolMode::BidiStream,
        };
        let answer = endpoint
            .handle_with_options(request.map(|body| watch.asked(body)), options)
            .map(|body| watch.answered(body));
        async { Ok::<_, Infallible>(answer) }
    });
    let graceful = GracefulShutdown::new();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    if let Err(error) = stream.set_nodelay(true) {
                        tracing::debug!(%peer, %error, "TCP_NODELAY cannot be set");
                    }
                    let connection = http2::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(stream), service.clone());
                    let connection = graceful.watch(connection);
                    tokio::spawn(async move {
                        if let Err(error) = connection.await {
                            tracing::debug!(%peer, %error, "connection ended");
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "accept failed: going on");
                    pause(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    tokio::select! {
        () = graceful.shutdown() => tracing::info!("drained"),
        () = pause(DRAIN) => tracing::info!("Restate continues what still runs"),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "serving, not a handler: nothing here is replayed"
)]
async fn pause(duration: Duration) {
    tokio::time::sleep(duration).await;
}
