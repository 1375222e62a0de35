//! Traces reach the collector that `OTEL_EXPORTER_OTLP_ENDPOINT` names.

use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::routing::post;

use crate::shop::SOON;
use crate::world::{Setup, eventually, own};

#[test]
fn both_processes_tell_the_collector() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let collector = format!("http://{}", listener.local_addr().expect("it is bound"));
    own(
        &Setup::with("OTEL_EXPORTER_OTLP_ENDPOINT", &collector),
        async |shop| {
            let told = Arc::new(Mutex::new(Vec::<u8>::new()));
            let keep = Arc::clone(&told);
            let take = post(async move |body: Bytes| keep.lock().unwrap().extend(body));
            listener
                .set_nonblocking(true)
                .expect("a listener for tokio");
            let listener =
                tokio::net::TcpListener::from_std(listener).expect("a listener for tokio");
            let router = Router::new().route("/v1/traces", take);
            tokio::spawn(axum::serve(listener, router).into_future());

            shop.alice().add("P001", 1).await;
            eventually("spans of both", SOON, async || {
                let told = told.lock().unwrap();
                let words = String::from_utf8_lossy(&told);
                let missing: Vec<_> = [
                    "waybill-gateway",
                    "POST /api/cart/add",
                    "waybill-services",
                    "AddItem",
                ]
                .into_iter()
                .filter(|word| !words.contains(word))
                .collect();
                if missing.is_empty() {
                    Ok(())
                } else {
                    Err(format!("{missing:?} are missing in {} bytes", told.len()))
                }
            })
            .await;
        },
    );
}
