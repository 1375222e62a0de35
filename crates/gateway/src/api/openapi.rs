//! `GET /openapi.json`: the API as OpenAPI 3.1, from one table. A test reads
//! the routers' sources and compares.

use serde_json::{Map, Value, json};

/// Who may call.
#[derive(Debug, Clone, Copy)]
enum Who {
    Anybody,
    User,
    Admin,
    /// Signed in, in demo mode only.
    Visitor,
}

/// A field of a body, or a parameter: name, type, whether it is required, what
/// it is.
type Field = (&'static str, &'static str, bool, &'static str);

/// A status, and what it means or the schema that it answers.
type Answer = (u16, &'static str);

/// One endpoint.
struct Route {
    method: &'static str,
    path: &'static str,
    summary: &'static str,
    who: Who,
    query: &'static [Field],
    body: &'static [Field],
    answers: &'static [Answer],
}

const PAGING: &[Field] = &[
    ("page", "integer", false, "From 1."),
    ("per_page", "integer", false, "1 to 100."),
];

const ROUTES: &[Route] = &[
    Route {
        method: "get",
        path: "/api/products",
        summary: "The catalog, with the stock of now; `Accept: text/markdown` gives a table",
        who: Who::Anybody,
        query: &[
            ("q", "string", false, "Words in name, description or SKU."),
            ("category", "string", false, "Only this category."),
            ("page", "integer", false, "From 1."),
            ("per_page", "integer", false, "1 to 100."),
        ],
        body: &[],
        answers: &[(200, "Products")],
    },
    Route {
        method: "get",
        path: "/api/products/{id}",
        summary: "One product",
        who: Who::Anybody,
        query: &[],
        body: &[],
        answers: &[(200, "Product"), (404, "No such product")],
    },
    Route {
        method: "get",
        path: "/api/zones",
        summary: "Where orders can be shipped, and for how much",
        who: Who::Anybody,
        query: &[],
        body: &[],
        answers: &[(200, "Zones")],
    },
    Route {
        method: "get",
        path: "/api/cart",
        summary: "The caller's cart",
        who: Who::User,
        query: &[],
        body: &[],
        answers: &[(200, "Basket")],
    },
    Route {
        method: "post",
        path: "/api/cart/add",
        summary: "Puts pieces of a product into the cart",
        who: Who::User,
        query: &[],
        body: &[
            ("product_id", "integer", false, "The catalog's number."),
            ("sku", "string", false, "Instead of product_id."),
            ("quantity", "integer", true, "1 to 999."),
        ],
        answers: &[(200, "Basket"), (404, "No such product")],
    },
    Route {
        method: "post",
        path: "/api/cart/update",
        summary: "Sets how many pieces of a product are in the cart",
        who: Who::User,
        query: &[],
        body: &[
            ("product_id", "integer", false, "The catalog's number."),
            ("sku", "string", false, "Instead of product_id."),
            ("quantity", "integer", true, "1 to 999."),
        ],
        answers: &[(200, "Basket"), (404, "It is not in the cart")],
    },
    Route {
        method: "post",
        path: "/api/cart/remove",
        summary: "Takes a product out of the cart",
        who: Who::User,
        query: &[],
        body: &[
            ("product_id", "integer", false, "The catalog's number."),
            ("sku", "string", false, "Instead of product_id."),
        ],
        answers: &[(200, "Basket")],
    },
    Route {
        method: "post",
        path: "/api/cart/clear",
        summary: "Empties the cart",
        who: Who::User,
        query: &[],
        body: &[],
        answers: &[(200, "Basket")],
    },
    Route {
        method: "post",
        path: "/api/checkout",
        summary: "Makes an order of the cart. Needs order_id or an Idempotency-Key; the same again finds the same order",
        who: Who::User,
        query: &[],
        body: &[
            (
                "order_id",
                "string",
                false,
                "1 to 64 letters, digits, '-' or '_'.",
            ),
            ("zone", "string", false, "Name of a shipping zone."),
            (
                "shipping_address",
                "string",
                false,
                "At most 500 characters, with something to see; invisible ones are left out.",
            ),
            (
                "expected_total_cents",
                "integer",
                false,
                "What the customer agreed to pay.",
            ),
        ],
        answers: &[
            (200, "Checkout"),
            (202, "Checkout"),
            (400, "The cart is empty, or a field is wrong"),
            (
                409,
                "Not enough stock, another price, an order that waits on other terms (which stand in the answer), or a cancelled one",
            ),
        ],
    },
    Route {
        method: "post",
        path: "/api/payment/callback",
        summary: "The payment provider's webhook; signed with Webhook-Signature",
        who: Who::Anybody,
        query: &[],
        body: &[
            (
                "awakeable_id",
                "string",
                true,
                "As the checkout answered it.",
            ),
            (
                "transaction_id",
                "string",
                false,
                "The provider's; empty when nothing moved.",
            ),
            (
                "amount",
                "integer",
                false,
                "Cents; checked for success only.",
            ),
            ("status", "string", true, "success or failed."),
            ("reason", "string", false, "Why it failed."),
            ("currency", "string", false, "Checked if it is there: USD."),
            (
                "order_id",
                "string",
                false,
                "Checked if it is there: the order that awakeable_id waits for.",
            ),
        ],
        answers: &[
            (200, "Written down durably"),
            (400, "Of another order or currency, or not readable"),
            (401, "The signature is missing or wrong"),
            (404, "No payment waits under this awakeable_id"),
            (409, "The transaction belongs to another payment"),
            (422, "A successful payment of another amount"),
        ],
    },
    Route {
        method: "get",
        path: "/api/orders",
        summary: "The caller's orders, newest first; everybody's for admins",
        who: Who::User,
        query: &[
            ("status", "string", false, "Only orders in this status."),
            (
                "q",
                "string",
                false,
                "Words, or beginnings of words: ids, customer, products, tracking number.",
            ),
            ("page", "integer", false, "From 1."),
            ("per_page", "integer", false, "1 to 100."),
        ],
        body: &[],
        answers: &[(200, "Orders")],
    },
    Route {
        method: "get",
        path: "/api/orders/{id}",
        summary: "An order; `Accept: text/markdown` gives its document",
        who: Who::User,
        query: &[],
        body: &[],
        answers: &[(200, "Order"), (404, "No such order of the caller")],
    },
    Route {
        method: "post",
        path: "/api/orders/{id}/cancel",
        summary: "Takes an order back, as long as it is not decided",
        who: Who::User,
        query: &[],
        body: &[("reason", "string", false, "At most 500 characters.")],
        answers: &[
            (202, "Being cancelled"),
            (404, "No such order of the caller"),
            (409, "Too late, with the decision that stands"),
        ],
    },
    Route {
        method: "get",
        path: "/api/orders/{id}/journal",
        summary: "Restate's invocations and steps of an order",
        who: Who::User,
        query: &[],
        body: &[],
        answers: &[
            (200, "Journal"),
            (404, "No such order of the caller"),
            (503, "Restate's admin API is not reachable"),
        ],
    },
    Route {
        method: "get",
        path: "/api/notifications",
        summary: "What the caller has been told, newest first; for admins also what happens to everybody's orders",
        who: Who::User,
        query: PAGING,
        body: &[],
        answers: &[(200, "Notifications")],
    },
    Route {
        method: "post",
        path: "/api/notifications/read",
        summary: "Marks notifications as read",
        who: Who::User,
        query: &[],
        body: &[(
            "up_to",
            "string",
            false,
            "A time; everything when left out.",
        )],
        answers: &[(200, "The mark, and how many are unread")],
    },
    Route {
        method: "get",
        path: "/api/dashboard",
        summary: "The shop at a glance",
        who: Who::Admin,
        query: &[],
        body: &[],
        answers: &[(200, "Dashboard")],
    },
    Route {
        method: "get",
        path: "/api/approvals",
        summary: "Orders that wait for a decision, longest first; `Accept: text/markdown` gives a list",
        who: Who::Admin,
        query: PAGING,
        body: &[],
        answers: &[(200, "Approvals")],
    },
    Route {
        method: "post",
        path: "/api/workflow/{id}/approve",
        summary: "Decides an order, once",
        who: Who::Admin,
        query: &[],
        body: &[
            ("approved", "boolean", true, "false rejects it."),
            ("reason", "string", false, "At most 500 characters."),
        ],
        answers: &[
            (202, "Decided"),
            (404, "No such order"),
            (
                409,
                "Decided already, with the decision that stands; or not waiting for one",
            ),
        ],
    },
    Route {
        method: "post",
        path: "/api/products/{id}/restock",
        summary: "Adds pieces to the stock of a product",
        who: Who::Admin,
        query: &[],
        body: &[("quantity", "integer", true, "1 to 1,000,000.")],
        answers: &[(200, "StockLevel"), (404, "No such product")],
    },
    Route {
        method: "get",
        path: "/api/world/faults",
        summary: "The sandbox's fault switches",
        who: Who::Visitor,
        query: &[],
        body: &[],
        answers: &[(200, "Faults"), (503, "The sandbox is not reachable")],
    },
    Route {
        method: "put",
        path: "/api/world/faults",
        summary: "Sets some of the switches; null unsets one",
        who: Who::Visitor,
        query: &[],
        body: &[
            (
                "payments",
                "object",
                false,
                "auto, delay_ms, answer_delay_ms, lag_ms, silent, duplicate, reorder, forge, down, drop_response.",
            ),
            (
                "carrier",
                "object",
                false,
                "down, fail_times, delay_ms, lag_ms, reject, drop_response.",
            ),
            ("orders", "object", false, "The same per order id."),
        ],
        answers: &[
            (200, "Faults"),
            (400, "An unknown switch"),
            (503, "The sandbox is not reachable"),
        ],
    },
    Route {
        method: "post",
        path: "/api/world/faults",
        summary: "Sets one switch, as a form does",
        who: Who::Visitor,
        query: &[],
        body: &[
            ("switch", "string", true, "Such as carrier.down."),
            ("value", "string", true, "Such as true, 3 or pay."),
        ],
        answers: &[
            (200, "Faults"),
            (400, "An unknown switch"),
            (503, "The sandbox is not reachable"),
        ],
    },
    Route {
        method: "delete",
        path: "/api/world/faults",
        summary: "Lets the outside world behave again",
        who: Who::Visitor,
        query: &[],
        body: &[],
        answers: &[(200, "Faults"), (503, "The sandbox is not reachable")],
    },
    Route {
        method: "post",
        path: "/api/world/faults/reset",
        summary: "Lets the outside world behave again, as a form does",
        who: Who::Visitor,
        query: &[],
        body: &[],
        answers: &[(200, "Faults"), (503, "The sandbox is not reachable")],
    },
    Route {
        method: "post",
        path: "/api/world/crash",
        summary: "Crashes the services now",
        who: Who::Visitor,
        query: &[],
        body: &[("process", "string", false, "services.")],
        answers: &[(202, "Crashed"), (503, "They cannot be crashed")],
    },
    Route {
        method: "get",
        path: "/api/world/scenarios",
        summary: "The proposal's scenarios, and where their latest runs stand",
        who: Who::Visitor,
        query: &[],
        body: &[],
        answers: &[(200, "Scenarios")],
    },
    Route {
        method: "post",
        path: "/api/world/scenarios/{number}",
        summary: "Begins a scenario, 1 to 5",
        who: Who::Visitor,
        query: &[],
        body: &[],
        answers: &[
            (202, "Begun"),
            (404, "No such scenario"),
            (409, "It is running"),
        ],
    },
    Route {
        method: "post",
        path: "/login",
        summary: "Signs in; answers a session cookie",
        who: Who::Anybody,
        query: &[],
        body: &[
            ("username", "string", false, "The user's name."),
            ("password", "string", false, "The user's password."),
            (
                "persona",
                "string",
                false,
                "In a demo, instead of both: whom to be.",
            ),
        ],
        answers: &[
            (200, "Signed in"),
            (401, "Wrong name or password"),
            (429, "Too many tries"),
        ],
    },
    Route {
        method: "post",
        path: "/logout",
        summary: "Signs out",
        who: Who::Anybody,
        query: &[],
        body: &[],
        answers: &[(200, "Signed out")],
    },
    Route {
        method: "get",
        path: "/stream/page",
        summary: "Datastar events that keep a whole page right",
        who: Who::User,
        query: &[("at", "string", true, "The page's path and query.")],
        body: &[],
        answers: &[(200, "text/event-stream")],
    },
    Route {
        method: "get",
        path: "/stream/pages",
        summary: "The same for several windows of one browser over one connection, each event named `datastar-window` and wrapped with its window; who may not see a page is told in its window",
        who: Who::Anybody,
        query: &[
            (
                "window",
                "string",
                true,
                "What the browser calls a window: letters and digits. May be repeated; what follows is this window's.",
            ),
            ("at", "string", true, "The page's path and query."),
            (
                "after",
                "string",
                false,
                "The cursor of the last event that the window has.",
            ),
            (
                "has",
                "string",
                false,
                "Names of the parts that the window shows, with commas: they are not sent again.",
            ),
            (
                "seed",
                "string",
                false,
                "Beginning of the idempotency keys of the window's forms.",
            ),
        ],
        body: &[],
        answers: &[(200, "text/event-stream")],
    },
    Route {
        method: "get",
        path: "/stream/products",
        summary: "Datastar events that keep #product-list right",
        who: Who::User,
        query: &[],
        body: &[],
        answers: &[(200, "text/event-stream")],
    },
    Route {
        method: "get",
        path: "/stream/notifications",
        summary: "Datastar events that keep #notifications right; goes on after Last-Event-ID",
        who: Who::User,
        query: &[],
        body: &[],
        answers: &[(200, "text/event-stream")],
    },
    Route {
        method: "get",
        path: "/stream/workflow/{id}",
        summary: "Datastar events that keep #workflow right",
        who: Who::User,
        query: &[],
        body: &[],
        answers: &[
            (200, "text/event-stream"),
            (404, "No such order of the caller"),
        ],
    },
    Route {
        method: "get",
        path: "/healthz",
        summary: "Whether the process lives",
        who: Who::Anybody,
        query: &[],
        body: &[],
        answers: &[(200, "It does")],
    },
    Route {
        method: "get",
        path: "/readyz",
        summary: "Whether Restate and SQLite are usable, the services registered and the stock announced",
        who: Who::Anybody,
        query: &[],
        body: &[],
        answers: &[(200, "Ready"), (503, "Not ready, with the reason")],
    },
    Route {
        method: "get",
        path: "/metrics",
        summary: "Metrics for Prometheus",
        who: Who::Anybody,
        query: &[],
        body: &[],
        answers: &[(200, "OpenMetrics text")],
    },
    Route {
        method: "get",
        path: "/openapi.json",
        summary: "This document",
        who: Who::Anybody,
        query: &[],
        body: &[],
        answers: &[(200, "OpenAPI 3.1")],
    },
];

/// The document.
pub fn document() -> Value {
    let mut paths = Map::new();
    for route in ROUTES {
        let path = paths
            .entry(route.path)
            .or_insert_with(|| Value::Object(Map::new()));
        path[route.method] = route.operation();
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Waybill",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Order fulfilment that cannot lose an order. Money is integer cents, times are RFC 3339. Every write of a customer or an admin takes an Idempotency-Key: the same key again does nothing twice, the same key with another request is 422, and a refusal is not remembered.",
        },
        "paths": paths,
        "components": { "schemas": schemas(), "securitySchemes": {
            "session": { "type": "apiKey", "in": "cookie", "name": "waybill_session", "description": "From POST /login." },
            "token": { "type": "http", "scheme": "bearer", "description": "From `gateway token create`." },
            "demo": { "type": "apiKey", "in": "header", "name": "X-User-Id", "description": "In demo mode only." },
        }},
    })
}

impl Route {
    fn operation(&self) -> Value {
        let mut parameters: Vec<Value> = self
            .path
            .split('/')
            .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
            .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }))
            .collect();
        parameters.extend(self.query.iter().map(|(name, kind, required, what)| {
            json!({ "name": name, "in": "query", "required": required, "description": what, "schema": { "type": kind } })
        }));
        if self.takes_key() {
            parameters.push(json!({
                "name": "Idempotency-Key", "in": "header", "required": false,
                "description": "1 to 128 visible ASCII characters, remembered for a day once something was done with it.",
                "schema": { "type": "string", "minLength": 1, "maxLength": 128 },
            }));
        }
        let mut operation = json!({ "summary": self.summary, "tags": [self.tag()], "parameters": parameters, "responses": self.responses() });
        if !self.body.is_empty() {
            operation["requestBody"] = self.request_body();
        }
        operation["security"] = match self.who {
            Who::Anybody => json!([]),
            Who::User | Who::Admin => json!([{ "session": [] }, { "token": [] }, { "demo": [] }]),
            Who::Visitor => json!([{ "session": [] }, { "demo": [] }]),
        };
        operation
    }

    /// Whether it is done once for each `Idempotency-Key`. The provider's callback
    /// is recognized by its transaction; signing in and the demo's switches do
    /// nothing twice.
    fn takes_key(&self) -> bool {
        let unkeyed = ["/api/payment/callback", "/login", "/logout"];
        self.method != "get"
            && !unkeyed.contains(&self.path)
            && !self.path.starts_with("/api/world/")
    }

    /// The feature: `/api/cart/add` is of `cart`.
    fn tag(&self) -> &'static str {
        let mut parts = self.path.split('/').skip(1);
        match parts.next() {
            Some("api") => parts.next().unwrap_or("api"),
            Some("stream") => "stream",
            Some("login" | "logout") => "session",
            _ => "operation",
        }
    }

    fn request_body(&self) -> Value {
        let properties: Map<String, Value> = self
            .body
            .iter()
            .map(|(name, kind, _, what)| {
                (
                    (*name).to_owned(),
                    json!({ "type": kind, "description": what }),
                )
            })
            .collect();
        let required: Vec<_> = self
            .body
            .iter()
            .filter(|(_, _, required, _)| *required)
            .map(|(name, ..)| name)
            .collect();
        let schema = json!({ "type": "object", "properties": properties, "required": required });
        json!({
            "required": !required.is_empty(),
            "content": {
                "application/json": { "schema": schema },
                "application/x-www-form-urlencoded": { "schema": schema },
            },
        })
    }

    fn responses(&self) -> Value {
        let mut responses = Map::new();
        for (status, what) in self.answers {
            let answer = if *status >= 400 && self.path != "/readyz" {
                problem(what)
            } else if *what == "text/event-stream" {
                json!({ "description": "A stream of Datastar events.", "content": { "text/event-stream": { "schema": { "type": "string" } } } })
            } else if schemas().get(*what).is_some() {
                json!({ "description": what, "content": { "application/json": { "schema": { "$ref": format!("#/components/schemas/{what}") } } } })
            } else {
                json!({ "description": what })
            };
            responses.insert(status.to_string(), answer);
        }
        let mut refusals = Vec::new();
        if !self.body.is_empty() || !self.query.is_empty() {
            refusals.push((400, "A field is missing or wrong: `field` names it"));
        }
        match self.who {
            Who::Anybody => {}
            Who::User => refusals.push((401, "Nobody is signed in")),
            Who::Admin => {
                refusals.extend([
                    (401, "Nobody is signed in"),
                    (403, "Only an admin may do this"),
                ]);
            }
            Who::Visitor => {
                refusals.extend([(401, "Nobody is signed in"), (404, "Not in demo mode")]);
            }
        }
        if self.method != "get" {
            refusals.push((
                503,
                "Restate or the services do not answer: try again with the same Idempotency-Key",
            ));
        }
        if self.takes_key() {
            refusals.push((
                422,
                "The Idempotency-Key was used for another request: nothing was done",
            ));
        }
        for (status, what) in refusals {
            responses
                .entry(status.to_string())
                .or_insert_with(|| problem(what));
        }
        Value::Object(responses)
    }
}

fn problem(what: &str) -> Value {
    json!({
        "description": what,
        "content": { "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } },
    })
}

/// What is answered, field by field.
#[expect(clippy::too_many_lines, reason = "one table")]
fn schemas() -> Value {
    let object = |fields: &[(&str, Value)]| {
        let properties: Map<String, Value> = fields
            .iter()
            .map(|(name, schema)| ((*name).to_owned(), schema.clone()))
            .collect();
        json!({ "type": "object", "properties": properties })
    };
    let text = json!({ "type": "string" });
    let maybe_text = json!({ "type": ["string", "null"] });
    let time = json!({ "type": "string", "format": "date-time" });
    let maybe_time = json!({ "type": ["string", "null"], "format": "date-time" });
    let number = json!({ "type": "integer" });
    let maybe_number = json!({ "type": ["integer", "null"] });
    let flag = json!({ "type": "boolean" });
    let any = json!({ "type": "object" });
    let reference = |name: &str| json!({ "$ref": format!("#/components/schemas/{name}") });
    let list = |items: Value| json!({ "type": "array", "items": items });
    let page = [("page", number.clone()), ("per_page", number.clone())];
    let paged = |name: &'static str, items: Value| {
        let mut fields = vec![(name, list(items)), ("total", number.clone())];
        fields.extend(page.clone());
        object(&fields)
    };
    let status = json!({
        "type": "string",
        "enum": waybill_domain::order::OrderStatus::ALL.map(waybill_domain::order::OrderStatus::as_str),
    });
    json!({
        "Problem": object(&[
            ("type", json!({ "type": "string", "description": "Stable: urn:waybill:problem:…" })),
            ("title", text.clone()), ("status", number.clone()), ("detail", text.clone()), ("field", text.clone()),
        ]),
        "Product": object(&[
            ("id", number.clone()), ("sku", text.clone()), ("name", text.clone()), ("description", text.clone()),
            ("category", text.clone()), ("price_cents", number.clone()), ("stock_qty", number.clone()),
        ]),
        "Products": paged("products", reference("Product")),
        "Zones": object(&[("zones", list(any.clone()))]),
        "Line": object(&[
            ("sku", text.clone()), ("product_id", number.clone()), ("name", text.clone()), ("quantity", number.clone()),
            ("unit_price_cents", number.clone()), ("line_total_cents", number.clone()),
        ]),
        "Basket": object(&[
            ("user_id", text.clone()), ("items", list(reference("Line"))), ("subtotal_cents", number.clone()),
        ]),
        "Checkout": object(&[
            ("order_id", text.clone()), ("status", status.clone()), ("total_cents", number.clone()),
            ("payment", object(&[("awakeable_id", maybe_text.clone()), ("pay_url", maybe_text.clone())])),
            ("already_processed", flag.clone()),
        ]),
        "Order": object(&[
            ("order_id", text.clone()), ("user_id", text.clone()), ("status", status.clone()),
            ("total_cents", number.clone()), ("lines", list(reference("Line"))),
            ("payment", object(&[
                ("awakeable_id", maybe_text.clone()), ("transaction_id", maybe_text.clone()),
                ("status", text.clone()), ("pay_url", maybe_text.clone()),
            ])),
            ("shipment", any.clone()),
            ("workflow", object(&[
                ("step", text.clone()), ("elapsed_ms", number.clone()), ("retry_count", maybe_number.clone()),
                ("next_action", text.clone()),
            ])),
            ("events", list(object(&[
                ("seq", number.clone()), ("at", time.clone()), ("kind", text.clone()), ("detail", text.clone()),
            ]))),
            ("failure_reason", maybe_text.clone()),
        ]),
        "Orders": paged("orders", any.clone()),
        "Journal": object(&[
            ("retry_count", number.clone()),
            ("invocations", list(object(&[
                ("id", text.clone()), ("target", text.clone()), ("handler", text.clone()),
                ("status", text.clone()), ("succeeded", json!({ "type": ["boolean", "null"] })),
                ("created_at", time.clone()), ("modified_at", time.clone()), ("completed_at", maybe_time.clone()),
                ("duration_ms", maybe_number.clone()), ("retry_count", number.clone()),
                ("next_retry_at", maybe_time.clone()), ("last_failure", maybe_text.clone()),
                ("invoked_by", maybe_text.clone()), ("source", maybe_text.clone()),
                ("steps", list(object(&[
                    ("index", number.clone()), ("name", text.clone()), ("type", text.clone()),
                    ("at", maybe_time.clone()), ("completed_at", maybe_time.clone()),
                    ("duration_ms", maybe_number.clone()), ("waiting", flag.clone()), ("source", maybe_text.clone()),
                ]))),
            ]))),
        ]),
        "Notifications": object(&[
            ("notifications", list(object(&[
                ("id", text.clone()), ("user_id", text.clone()), ("order_id", maybe_text.clone()),
                ("kind", text.clone()), ("text", text.clone()), ("at", time.clone()), ("read", flag.clone()),
            ]))),
            ("unread", number.clone()), ("more", flag), ("page", number.clone()), ("per_page", number.clone()),
        ]),
        "Approvals": paged("approvals", any.clone()),
        "Dashboard": any.clone(),
        "StockLevel": object(&[
            ("sku", text), ("version", number.clone()), ("updated_at", time), ("initial", number.clone()),
            ("restocked", number.clone()), ("available", number.clone()), ("reserved", number.clone()),
            ("committed", number),
        ]),
        "Faults": any.clone(),
        "Scenarios": object(&[("scenarios", list(any))]),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};

    use super::*;

    fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, into);
            } else if path.extension().is_some_and(|kind| kind == "rs") {
                into.push(path);
            }
        }
    }

    /// Every `.route("path", get(…).post(…))` of the routers.
    fn routed() -> BTreeSet<(String, String)> {
        let mut files = Vec::new();
        sources(
            &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
            &mut files,
        );
        let mut routed = BTreeSet::new();
        for file in files {
            let text = std::fs::read_to_string(&file).unwrap();
            let text = text.split("mod tests {").next().unwrap();
            if file.ends_with("fake.rs") {
                continue;
            }
            for call in text.split(".route(").skip(1) {
                let mut depth = 1;
                let end = call
                    .find(|c| {
                        depth += i32::from(c == '(') - i32::from(c == ')');
                        depth == 0
                    })
                    .unwrap();
                let call = &call[..end];
                let Some(path) = call.split('"').nth(1).filter(|path| path.starts_with('/')) else {
                    continue;
                };
                for method in ["get", "post", "put", "delete"] {
                    if call.contains(&format!("{method}(")) {
                        routed.insert((path.to_owned(), method.to_owned()));
                    }
                }
            }
        }
        routed
    }

    #[test]
    fn every_route_is_described_and_nothing_else() {
        // Pages and files are for browsers, not for programs.
        let page = |path: &str, method: &str| {
            method == "get"
                && ![
                    "/api/",
                    "/stream/",
                    "/healthz",
                    "/readyz",
                    "/metrics",
                    "/openapi.json",
                ]
                .iter()
                .any(|prefix| path.starts_with(prefix))
        };
        let routed: BTreeSet<_> = routed()
            .into_iter()
            .filter(|(path, method)| !page(path, method))
            .collect();
        let described: BTreeSet<_> = ROUTES
            .iter()
            .map(|route| (route.path.to_owned(), route.method.to_owned()))
            .collect();
        assert!(routed.len() > 30, "{routed:?}");
        assert_eq!(routed, described);
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document = document();
        let text = document.to_string();
        for (at, _) in text.match_indices("#/components/schemas/") {
            let name: String = text[at + 21..].chars().take_while(|c| *c != '"').collect();
            assert!(
                document["components"]["schemas"].get(&name).is_some(),
                "{name}"
            );
        }
        assert_eq!(
            document["paths"]["/api/orders/{id}"]["get"]["parameters"][0]["name"],
            "id"
        );
        assert_eq!(
            document["paths"]["/api/dashboard"]["get"]["responses"]["403"]["description"],
            "Only an admin may do this"
        );
    }
}
