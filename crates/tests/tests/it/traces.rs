//! One trace for one order: what every process tells the collector that
//! `OTEL_EXPORTER_OTLP_ENDPOINT` and `RESTATE_TRACING_ENDPOINT` name.

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::DefaultBodyLimit;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use prost::Message as _;
use reqwest::Method;
use serde_json::json;

use crate::shop::{SOON, Shop, order_form};
use crate::world::{Component, Setup, eventually, own};

/// What the browser says of the click.
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CLICK: &str = "b7ad6b7169203331";

/// What happens until an approver is asked.
const FIRST_HALF: [&str; 9] = [
    "POST /api/checkout",
    "UserSession/Checkout",
    "Inventory/Reserve",
    "UserSession/AwaitPayment",
    "PaymentService/RequestPayment",
    "provider.request",
    "POST /payments",
    "POST /api/payment/callback",
    "UserSession/PaymentCallback",
];

#[derive(Debug, Clone, serde::Serialize)]
struct Span {
    process: String,
    name: String,
    trace: String,
    id: String,
    parent: String,
    links: Vec<(String, String)>,
    order: Option<String>,
    began_ns: u64,
    ended_ns: u64,
}

/// A small collector: OTLP over HTTP, in protobuf.
struct Collector {
    listener: Option<TcpListener>,
    address: String,
    told: Arc<Mutex<Vec<Span>>>,
}

impl Collector {
    fn bind() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        Self {
            address: format!("http://{}", listener.local_addr().expect("it is bound")),
            listener: Some(listener),
            told: Arc::default(),
        }
    }

    fn setup(&self) -> Setup {
        let restate = format!("otlp+{}/v1/traces", self.address);
        Setup::with("OTEL_EXPORTER_OTLP_ENDPOINT", &self.address).only_for(
            Component::Restate,
            "RESTATE_TRACING_ENDPOINT",
            &restate,
        )
    }

    fn listen(&mut self) {
        let told = Arc::clone(&self.told);
        let take = post(async move |body: Bytes| {
            let request = ExportTraceServiceRequest::decode(body).expect("OTLP in protobuf");
            told.lock().unwrap().extend(spans(request));
        });
        let listener = self.listener.take().expect("once");
        listener
            .set_nonblocking(true)
            .expect("a listener for tokio");
        let listener = tokio::net::TcpListener::from_std(listener).expect("a listener for tokio");
        let router = Router::new()
            .route("/v1/traces", take)
            .layer(DefaultBodyLimit::disable());
        tokio::spawn(axum::serve(listener, router).into_future());
    }

    fn told(&self) -> Vec<Span> {
        self.told.lock().unwrap().clone()
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    hex::encode(bytes)
}

fn attribute(attributes: &[KeyValue], key: &str) -> Option<String> {
    let found = attributes.iter().find(|it| it.key == key)?;
    match found.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        _ => None,
    }
}

fn spans(request: ExportTraceServiceRequest) -> Vec<Span> {
    let mut spans = Vec::new();
    for resource in request.resource_spans {
        let attributes = resource.resource.unwrap_or_default().attributes;
        let process = attribute(&attributes, "service.name").unwrap_or_default();
        for span in resource.scope_spans.into_iter().flat_map(|it| it.spans) {
            spans.push(Span {
                process: process.clone(),
                name: span.name,
                trace: hexadecimal(&span.trace_id),
                id: hexadecimal(&span.span_id),
                parent: hexadecimal(&span.parent_span_id),
                links: span
                    .links
                    .iter()
                    .map(|link| (hexadecimal(&link.trace_id), hexadecimal(&link.span_id)))
                    .collect(),
                order: attribute(&span.attributes, "order.id"),
                began_ns: span.start_time_unix_nano,
                ended_ns: span.end_time_unix_nano,
            });
        }
    }
    spans
}

/// The spans that hang together with a trace: by their parents within it, by links with
/// what was sent, and what it woke.
fn connected(spans: &[Span], trace: &str) -> Vec<Span> {
    let mut traces = BTreeSet::from([trace.to_owned()]);
    loop {
        let before = traces.len();
        for span in spans {
            let linked = span.links.iter().any(|(trace, _)| traces.contains(trace));
            if traces.contains(&span.trace) {
                traces.extend(span.links.iter().map(|(trace, _)| trace.clone()));
            } else if linked {
                traces.insert(span.trace.clone());
            }
        }
        if traces.len() == before {
            let of_them = spans.iter().filter(|span| traces.contains(&span.trace));
            return of_them.cloned().collect();
        }
    }
}

/// Each must be there.
fn missing(spans: &[Span], names: &[&str]) -> Vec<String> {
    let is_there = |name: &str| spans.iter().any(|span| span.name.contains(name));
    let missing = names.iter().filter(|name| !is_there(name));
    missing.map(|&name| name.to_owned()).collect()
}

#[test]
fn one_order_is_one_trace_from_the_click_to_the_parcel() {
    let mut collector = Collector::bind();
    own(&collector.setup(), async |shop| {
        collector.listen();
        let alice = shop.alice();
        alice.add("P001", 1).await;
        let clicked = shop
            .http
            .post(format!("{}/api/checkout", shop.gateway))
            .header("x-user-id", &alice.name)
            .header("traceparent", format!("00-{TRACE}-{CLICK}-01"))
            .json(&order_form("one"));
        assert_eq!(clicked.send().await.expect("an answer").status(), 202);
        // Asked again, it is the same order.
        let order = alice.checkout("one").await;
        order.pay().await;
        order.until("awaiting_approval").await;
        // What dies takes the spans with it that it has not told yet.
        eventually("the first half", SOON, async || {
            let spans = connected(&collector.told(), TRACE);
            let missing = missing(&spans, &FIRST_HALF);
            let is_whole = missing.is_empty();
            is_whole.then_some(()).ok_or_else(|| format!("{missing:?}"))
        })
        .await;
        // Whoever comes back replays all that was.
        shop.kill(Component::Services);
        shop.start_again(Component::Services).await;
        shop.admin().approve(&order).await;
        order.until("delivered").await;

        let story = eventually("every step of the order", SOON, async || {
            let spans = connected(&collector.told(), TRACE);
            let missing = missing(
                &spans,
                &[
                    "OrderFulfillmentWorkflow/Run",
                    "ShippingService/InitiateShipment",
                    "carrier.book",
                    "PaymentService/Capture",
                    "provider.capture",
                    "Inventory/Commit",
                    "/approve",
                ],
            );
            if missing.is_empty() {
                Ok(spans)
            } else {
                Err(format!("{missing:?} are missing in {} spans", spans.len()))
            }
        })
        .await;

        let click = story
            .iter()
            .find(|span| span.name == "POST /api/checkout" && span.parent == CLICK)
            .expect("the gateway continues the browser's trace");
        assert_eq!(click.trace, TRACE);
        assert_eq!(click.order.as_deref(), Some(order.id.as_str()));
        let by_id: BTreeMap<_, _> = story.iter().map(|span| (&span.id, span)).collect();
        for step in ["provider.request", "carrier.book", "provider.capture"] {
            let asked = story.iter().find(|span| span.name == step).expect("a step");
            assert_eq!(asked.order.as_deref(), Some(order.id.as_str()), "{step}");
            let heard = story.iter().find(|span| span.parent == asked.id);
            let heard = heard.unwrap_or_else(|| panic!("nobody has heard {step}"));
            assert_eq!(heard.process, "waybill-sandbox");
            let by = by_id[&asked.parent];
            assert_eq!(by.process, "waybill-services", "{step}");
        }
        let processes: BTreeSet<_> = story.iter().map(|span| span.process.as_str()).collect();
        for process in [
            "waybill-gateway",
            "waybill-services",
            "waybill-sandbox",
            "Restate",
        ] {
            assert!(processes.contains(process), "{process}: {processes:?}");
        }
        // The decision is a request of its own, and is found by the order.
        let approval = linked(&collector, &order.id, "/approve").await;
        assert_eq!(approval, workflow_of(&collector, &order.id).await);

        every_step_is_said_once(shop, &order.id);

        // scripts/trace-picture.mjs draws it.
        if let Some(file) = std::env::var_os("TRACE_SPANS") {
            let spans = serde_json::to_vec(&story).expect("JSON");
            std::fs::write(file, spans).expect("TRACE_SPANS can be written");
        }
    });
}

#[test]
fn whatever_comes_to_an_order_later_is_linked_to_it() {
    let mut collector = Collector::bind();
    own(&collector.setup(), async |shop| {
        collector.listen();
        let (alice, bob, admin) = (shop.alice(), shop.bob(), shop.admin());
        // A page says that clicks are traced.
        let page = alice
            .request(Method::GET, "/")
            .header("accept", "text/html");
        let page = page.send().await.expect("an answer").text().await;
        assert!(page.expect("a page").contains(r#"" data-traced>"#));

        alice.add("P001", 1).await;
        let unpaid = alice.checkout("unpaid").await;
        unpaid.awakeable().await;
        unpaid.cancel().await;
        let paid = bob.buy("P001", 1, "paid").await;
        paid.cancel().await;
        let unwanted = alice.buy("P002", 1, "unwanted").await;
        admin.reject(&unwanted, "sold out").await;
        let sent = bob.buy("P003", 1, "sent").await;
        admin.approve(&sent).await;
        sent.until("delivered").await;
        let after = |what: &str| format!("/api/orders/{}/{what}", sent.id);
        let items = json!([{ "sku": "P003", "quantity": 1 }]);
        let asked = json!({ "items": items, "reason": "too small" });
        bob.post(&after("returns"), &asked).await.expect(201);
        let accepted = json!({ "accepted": true });
        let decide = after("returns/1/decide");
        admin.post(&decide, &accepted).await.expect(200);
        let withdraw = after("returns/1/withdraw");
        bob.post(&withdraw, &json!({})).await.expect(200);
        let goodwill = json!({ "amount_cents": 1, "reason": "sorry" });
        admin.post(&after("refunds"), &goodwill).await.expect(201);

        for (order, requests) in [
            (&paid, &["/cancel"][..]),
            (&unwanted, &["/approve"]),
            (
                &sent,
                &["/approve", "/returns", "/decide", "/withdraw", "/refunds"],
            ),
        ] {
            for request in requests {
                let link = linked(&collector, &order.id, request).await;
                let workflow = workflow_of(&collector, &order.id).await;
                assert_eq!(link, workflow, "{request} of {}", order.id);
            }
        }
        // Without a workflow it is the wait that ends.
        let link = linked(&collector, &unpaid.id, "/cancel").await;
        let spans = collector.told();
        let checkout = request(&spans, &unpaid.id, "/checkout").expect("it was placed");
        let wait = spans
            .iter()
            .find(|span| {
                span.name == "invocation-start UserSession/{key}/AwaitPayment"
                    && span.links.iter().any(|(trace, _)| *trace == checkout.trace)
            })
            .expect("it waits");
        assert_eq!(link, (wait.trace.clone(), wait.id.clone()));
    });
}

/// The request about an order whose path ends like this.
fn request<'a>(spans: &'a [Span], order: &str, path: &str) -> Option<&'a Span> {
    let mut spans = spans.iter();
    spans.find(|it| {
        it.process == "waybill-gateway"
            && it.order.as_deref() == Some(order)
            && it.name.ends_with(path)
    })
}

/// The one span that such a request is linked to.
async fn linked(collector: &Collector, order: &str, path: &str) -> (String, String) {
    eventually("the request is told", SOON, async || {
        let spans = collector.told();
        let Some(request) = request(&spans, order, path) else {
            return Err(format!("{path} of {order} is missing"));
        };
        match &*request.links {
            [link] if link.0 != request.trace => Ok(link.clone()),
            _ => Err(format!("{request:?}")),
        }
    })
    .await
}

/// Where the trace of an order's workflow begins.
async fn workflow_of(collector: &Collector, order: &str) -> (String, String) {
    eventually("the workflow is told", SOON, async || {
        let spans = collector.told();
        let begins = |trace: &str| {
            let mut spans = spans.iter();
            spans.find(|it| it.trace == trace && it.parent.is_empty())
        };
        let runs = spans.iter().find(|it| {
            it.name == "OrderFulfillmentWorkflow/Run" && it.order.as_deref() == Some(order)
        });
        let start = runs.and_then(|run| begins(&run.trace));
        let is_run = |it: &&Span| it.name == "invocation-start OrderFulfillmentWorkflow/{key}/Run";
        let start = start.filter(is_run);
        let found = start.map(|start| (start.trace.clone(), start.id.clone()));
        found.ok_or_else(|| format!("no workflow of {order}"))
    })
    .await
}

/// Lines name the trace, and a replay says nothing again.
fn every_step_is_said_once(shop: &Shop, order: &str) {
    let trace = format!("trace_id={TRACE}");
    let lines = shop.log(Component::Gateway);
    assert!(
        lines
            .lines()
            .any(|it| it.contains("POST /api/checkout 202") && it.contains(&trace))
    );
    let lines = shop.log(Component::Services);
    let said = |what: &str| {
        lines
            .lines()
            .filter(|it| it.contains(what))
            .collect::<Vec<_>>()
    };
    for status in [
        "awaiting_payment",
        "awaiting_approval",
        "shipping",
        "in_transit",
        "delivered",
    ] {
        let entered = said(&format!("order.entered=\"{status}\""));
        assert_eq!(entered.len(), 1, "{entered:#?}");
        assert!(
            entered[0].contains(&format!("order.id={order}")),
            "{entered:?}"
        );
        assert!(entered[0].contains("trace_id="), "{entered:?}");
    }
    assert!(said("order.entered=\"awaiting_payment\"")[0].contains(&trace));
}
