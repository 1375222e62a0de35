//! The live streams: a page's regions kept right, and the three documented
//! streams for everybody who wants only one of them.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRef;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use datastar::prelude::{PatchElements, PatchSignals};
use futures::future::BoxFuture;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::timeout;
use utoipa_axum::routes;
use waybill_domain::order::OrderRecord;

use super::journal;
use super::load;
use super::location::{Kind, Location};
use super::page::Viewer;
use super::paint::paint;
use super::products;
use super::shell::{Announce, Workflow, WorkflowOrder};
use super::views::Console;
use crate::auth::OptionalCaller;
use crate::authority::{Allow, Routes};
use crate::http::client::ClientAddress;
use crate::http::input::{Fields, FromFields, InQuery};
use crate::http::problem::Problem;
use crate::identity::caller::Caller;
use crate::infra::Shared;
use crate::live::sse::{self, Frame, LastEventId, RenderContext, Scene, Triggers, Window};
use crate::shop::{credentials, orders};

/// How often Restate is asked anew while nothing else wakes a stream.
const ASK_RESTATE: Duration = Duration::from_secs(2);
/// Longest address of a page.
const MAX_ADDRESS: usize = 2048;
/// How long a change waits for the journal that goes with it.
const JOURNAL_WITHIN: Duration = Duration::from_secs(2);
/// How often health and the like are looked at.
const LOOK_AROUND: Duration = Duration::from_secs(5);

/// Every stream.
pub(super) fn router<S>() -> Routes<S>
where
    S: Clone + Send + Sync + 'static,
    Arc<Console>: FromRef<S>,
    Shared: FromRef<S>,
{
    Routes::new()
        .routes(Allow::Customer, routes!(of_page))
        .routes(Allow::EachWindow, routes!(of_pages))
        .routes(Allow::Customer, routes!(of_products))
        .routes(Allow::Customer, routes!(of_notifications))
        .routes(Allow::OwnerOrStaff, routes!(of_workflow))
}

/// What a stream says, for the description: one event.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "described, and never made")]
struct StreamEvent {
    /// datastar-patch-elements or datastar-patch-signals; datastar-window wraps
    /// either for one window of several.
    event: String,
    /// What to patch, line by line, as Datastar has it.
    data: String,
    /// Sent back as Last-Event-ID.
    #[schema(nullable = false)]
    id: Option<String>,
    /// Milliseconds until the next try.
    #[schema(nullable = false, minimum = 0)]
    retry: Option<i64>,
}

struct At(Location);

impl FromFields for At {
    fn from_fields(fields: &Fields) -> Result<Self, Problem> {
        Location::parse(&fields.required_word("at", MAX_ADDRESS)?).map(Self)
    }
}

/// Datastar events that keep a whole page right
#[utoipa::path(
    get,
    path = "/stream/page",
    params(
        ("at" = String, Query, min_length = 1, max_length = 2048, description = "The page's path and query."),
    ),
    responses(
        (status = 200, description = "A stream of Datastar events.", body = Vec<StreamEvent>, content_type = "text/event-stream"),
        (status = 404, description = "No such page"),
    ),
)]
async fn of_page(
    State(console): State<Arc<Console>>,
    caller: Caller,
    headers: HeaderMap,
    from: ClientAddress,
    last: LastEventId,
    InQuery(At(location)): InQuery<At>,
) -> Result<Response, Problem> {
    let Scene { triggers, render } = scene(
        &console,
        Viewer::of(&console, caller.clone(), &headers),
        location,
    );
    let whose = (&caller, from);
    sse::show(console.live.streams(), whose, last, triggers, render).await
}

/// The same for several windows of one browser over one connection, each event named `datastar-window` and wrapped with its window; who may not see a page is told in its window
#[utoipa::path(
    get,
    path = "/stream/pages",
    params(
        ("window" = String, Query, pattern = "^[A-Za-z0-9]{1,32}$", description = "What the browser calls a window: letters and digits. May be repeated; what follows is this window's."),
        ("at" = String, Query, description = "The page's path and query."),
        ("after" = Option<String>, Query, description = "The cursor of the last event that the window has."),
        ("has" = Option<String>, Query, description = "Names of the parts that the window shows, with commas: they are not sent again."),
        ("seed" = Option<String>, Query, description = "Beginning of the idempotency keys of the window's forms."),
    ),
    responses(
        (status = 200, description = "A stream of Datastar events.", body = Vec<StreamEvent>, content_type = "text/event-stream"),
    ),
)]
async fn of_pages(
    State(console): State<Arc<Console>>,
    OptionalCaller(caller): OptionalCaller,
    uri: Uri,
    headers: HeaderMap,
    from: ClientAddress,
    last: LastEventId,
) -> Result<Response, Problem> {
    let asked = Asked::parse(uri.query().unwrap_or_default())?;
    let windows = asked.into_iter().map(|asked| {
        let scene = match &caller {
            // Each window is told, and leads to the sign-in.
            None => Err(Problem::unauthenticated("sign in at /login")),
            Some(_) if asked.at.is_empty() => Err(Problem::invalid(
                "at",
                format!("at must be the address of a page, up to {MAX_ADDRESS} characters"),
            )),
            Some(caller) => Location::parse(&asked.at).map(|location| {
                let mut viewer = Viewer::of(&console, caller.clone(), &headers);
                if let Some(seed) = asked.seed {
                    viewer.seed = seed;
                }
                scene(&console, viewer, location)
            }),
        };
        let (console, at) = (Arc::clone(&console), asked.at);
        Window {
            id: asked.window,
            after: asked.after,
            has: asked.has,
            scene,
            refuse: Box::new(move |problem| console.views.refused_window(problem, &at)),
        }
    });
    let windows = windows.collect();
    Ok(sse::show_windows(
        console.live.streams(),
        (caller.as_ref(), from),
        last,
        windows,
    ))
}

/// What one window asks for.
#[derive(Debug, Default, PartialEq)]
struct Asked {
    window: String,
    at: String,
    after: Option<String>,
    seed: Option<String>,
    has: HashSet<u64>,
}

impl Asked {
    /// Each window begins with its `window`; what follows is its own. An address
    /// that is no address is one window's trouble, not that of all.
    fn parse(query: &str) -> Result<Vec<Self>, Problem> {
        let mut all: Vec<Self> = Vec::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            if name == "window" {
                if !is_word(&value) || all.iter().any(|other| other.window == value) {
                    return Err(Problem::invalid(
                        "window",
                        "window must be up to 32 letters and digits, and each its own",
                    ));
                }
                all.push(Self {
                    window: value.into_owned(),
                    ..Self::default()
                });
                continue;
            }
            let Some(asked) = all.last_mut() else {
                continue;
            };
            match name.as_ref() {
                "at" if value.len() <= MAX_ADDRESS => asked.at = value.into_owned(),
                // It stands in the ids of events.
                "after" if value.split('-').all(is_word) => asked.after = Some(value.into_owned()),
                "seed" if is_word(&value) => asked.seed = Some(value.into_owned()),
                "has" => {
                    let hashes = value.split(',');
                    asked.has = hashes
                        .filter_map(|hash| u64::from_str_radix(hash, 16).ok())
                        .collect();
                }
                _ => {}
            }
        }
        if all.is_empty() || all.len() > sse::PER_USER {
            return Err(Problem::invalid(
                "window",
                format!(
                    "name 1 to {} windows, each followed by the address (at) that it shows",
                    sse::PER_USER
                ),
            ));
        }
        Ok(all)
    }
}

fn is_word(text: &str) -> bool {
    (1..=32).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// A page, kept right.
fn scene(console: &Arc<Console>, viewer: Viewer, location: Location) -> Scene {
    // Wakes the stream once its first frame is out.
    let (painted, after_paint) = watch::channel(0);
    let triggers = triggers(console, &viewer.caller, &location.kind).on(after_paint);
    let (guard, caller) = (Arc::clone(console), viewer.caller.clone());
    let (viewer, location) = (Arc::new(viewer), Arc::new(location));
    let console = Arc::clone(console);
    let render = move |context: RenderContext| -> BoxFuture<'static, Result<Frame, Problem>> {
        let (console, viewer, location) = (
            Arc::clone(&console),
            Arc::clone(&viewer),
            Arc::clone(&location),
        );
        painted.send_if_modified(|_| context.first && matches!(location.kind, Kind::Order(_)));
        Box::pin(async move { page_frame(&console, &viewer, &location, context).await })
    };
    let (triggers, render) = guarded(&guard, &caller, triggers, render);
    Scene {
        triggers,
        render: Box::new(render),
    }
}

/// Opens a stream of one region.
async fn show<R, F>(
    console: &Arc<Console>,
    (caller, from): (&Caller, ClientAddress),
    last: LastEventId,
    triggers: Triggers,
    render: R,
) -> Result<Response, Problem>
where
    R: FnMut(RenderContext) -> F + Send + 'static,
    F: Future<Output = Result<Frame, Problem>> + Send + 'static,
{
    let (triggers, render) = guarded(console, caller, triggers, render);
    let whose = (caller, from);
    sse::show(console.live.streams(), whose, last, triggers, render).await
}

/// The same for as long as its caller may see it: whoever is signed out, or has another
/// role, is shown nothing more. Every stream passes through here.
fn guarded<R, F>(
    console: &Arc<Console>,
    caller: &Caller,
    triggers: Triggers,
    mut render: R,
) -> (
    Triggers,
    impl FnMut(RenderContext) -> BoxFuture<'static, Result<Frame, Problem>> + Send + 'static,
)
where
    R: FnMut(RenderContext) -> F + Send + 'static,
    F: Future<Output = Result<Frame, Problem>> + Send + 'static,
{
    // Told at once, whatever else the stream listens to.
    let triggers = triggers.on(console.live.user(&caller.user));
    let (console, caller) = (Arc::clone(console), Arc::new(caller.clone()));
    let render = move |context| -> BoxFuture<'static, Result<Frame, Problem>> {
        let (console, caller) = (Arc::clone(&console), Arc::clone(&caller));
        let frame = render(context);
        Box::pin(async move {
            credentials::check(&console, &caller).await?;
            frame.await
        })
    };
    (triggers, render)
}

fn triggers(console: &Console, caller: &Caller, kind: &Kind) -> Triggers {
    // Staff are told of everybody's orders on every page.
    let triggers = Triggers::new().on(if caller.role.is_staff() {
        console.live.changes()
    } else {
        console.live.user(&caller.user)
    });
    match kind {
        Kind::Products | Kind::Catalog => triggers.on(console.live.stock()),
        Kind::Order(id) => triggers.on(console.live.order(id)).every(ASK_RESTATE),
        Kind::Dashboard | Kind::Admin => triggers.every(LOOK_AROUND),
        Kind::Product(_) => triggers.on(console.live.catalog()).on(console.live.stock()),
        Kind::Zones => triggers.on(console.live.catalog()),
        Kind::Import => triggers.every(ASK_RESTATE),
        Kind::People | Kind::Person(_) => triggers.on(console.live.people()),
        // One's own account is what every stream listens to: see `guarded`.
        // Whoever sees the audit log is staff, who are told of every change.
        Kind::Audit | Kind::Cart | Kind::Orders | Kind::Account => triggers,
    }
}

async fn page_frame(
    console: &Console,
    viewer: &Viewer,
    location: &Location,
    context: RenderContext,
) -> Result<Frame, Problem> {
    let page = paint(console, viewer, location, context.after.as_deref()).await?;
    let mut regions = page.regions;
    // The journal is asked for after the page is there, and not waited for.
    let with_journal = match &location.kind {
        Kind::Order(id) if !context.first => {
            // An admin API that hangs does not keep the order's news back.
            match timeout(JOURNAL_WITHIN, journal::of_order(console, id)).await {
                Ok(journal) => {
                    regions.journal = console.views.render(&journal)?;
                    true
                }
                Err(_) => false,
            }
        }
        Kind::Order(_) => false,
        _ => true,
    };
    let mut patches = vec![
        regions.title,
        regions.nav,
        regions.bell,
        regions.input,
        regions.output,
        regions.notifications,
        regions.workflow,
        regions.announce,
    ];
    if with_journal {
        patches.push(regions.journal);
    }
    Ok(Frame::of(patches.into_iter().map(PatchElements::new)).with_id(page.cursor))
}

/// Datastar events that keep #product-list right
#[utoipa::path(
    get,
    path = "/stream/products",
    responses(
        (status = 200, description = "A stream of Datastar events.", body = Vec<StreamEvent>, content_type = "text/event-stream"),
    ),
)]
async fn of_products(
    State(console): State<Arc<Console>>,
    caller: Caller,
    headers: HeaderMap,
    from: ClientAddress,
    last: LastEventId,
    InQuery(query): InQuery<ListQuery>,
) -> Result<Response, Problem> {
    let triggers = Triggers::new().on(console.live.stock());
    let viewer = Arc::new(Viewer::of(&console, caller.clone(), &headers));
    let location = Arc::new(query.0);
    let shared = Arc::clone(&console);
    let render = move |_: RenderContext| {
        let (console, viewer, location) = (
            Arc::clone(&shared),
            Arc::clone(&viewer),
            Arc::clone(&location),
        );
        async move {
            let goods = products::list(&console, &viewer, &location).await?;
            Ok(Frame::of([PatchElements::new(goods)]))
        }
    };
    show(&console, (&caller, from), last, triggers, render).await
}

struct ListQuery(Location);

impl FromFields for ListQuery {
    fn from_fields(fields: &Fields) -> Result<Self, Problem> {
        Ok(Self(Location::of_products(fields.clone())))
    }
}

/// Datastar events that keep #notifications right; goes on after Last-Event-ID
///
/// A new one is also a word for screen readers.
#[utoipa::path(
    get,
    path = "/stream/notifications",
    responses(
        (status = 200, description = "A stream of Datastar events.", body = Vec<StreamEvent>, content_type = "text/event-stream"),
    ),
)]
async fn of_notifications(
    State(console): State<Arc<Console>>,
    caller: Caller,
    headers: HeaderMap,
    from: ClientAddress,
    last: LastEventId,
) -> Result<Response, Problem> {
    let triggers = Triggers::new().on(if caller.role.is_staff() {
        console.live.changes()
    } else {
        console.live.user(&caller.user)
    });
    let viewer = Arc::new(Viewer::of(&console, caller.clone(), &headers));
    let shared = Arc::clone(&console);
    let render = move |context: RenderContext| {
        let (console, viewer) = (Arc::clone(&shared), Arc::clone(&viewer));
        async move { notifications_frame(&console, &viewer, context).await }
    };
    show(&console, (&caller, from), last, triggers, render).await
}

async fn notifications_frame(
    console: &Console,
    viewer: &Viewer,
    context: RenderContext,
) -> Result<Frame, Problem> {
    let pane = load::pane(console, &viewer.caller, context.after.as_deref()).await?;
    let announce = console.views.render(&Announce { text: pane.news })?;
    let list = pane.painted.of(&viewer.seed);
    Ok(Frame::of([announce, list].map(PatchElements::new)).with_id(pane.cursor))
}

/// Datastar events that keep #workflow right
///
/// With the signal `workflow`: where the order is, and what comes next.
#[utoipa::path(
    get,
    path = "/stream/workflow/{id}",
    responses(
        (status = 200, description = "A stream of Datastar events.", body = Vec<StreamEvent>, content_type = "text/event-stream"),
        (status = 404, description = "No such order of the caller"),
    ),
)]
async fn of_workflow(
    State(console): State<Arc<Console>>,
    caller: Caller,
    Path(id): Path<String>,
    from: ClientAddress,
    last: LastEventId,
) -> Result<Response, Problem> {
    let id = orders::named(&caller, &id)?;
    let triggers = Triggers::new()
        .on(console.live.order(&id))
        .every(ASK_RESTATE);
    let shared = Arc::clone(&console);
    let render = move |_: RenderContext| {
        let (console, id) = (Arc::clone(&shared), id.clone());
        async move {
            let record = orders::find(&console, &id).await?;
            workflow_frame(&console, &record).await
        }
    };
    show(&console, (&caller, from), last, triggers, render).await
}

async fn workflow_frame(console: &Console, record: &OrderRecord) -> Result<Frame, Problem> {
    let retries = console.admin_api.retry_count(&record.order_id).await;
    let signals = json!({
        "workflow": {
            "orderId": record.order_id,
            "currentStep": record.status.label(),
            "status": record.status,
            "progress": crate::documents::progress::Progress::of(record).done * 100 / 6,
            "retryCount": retries,
            "nextAction": record.next_action(),
            "failureReason": record.failure_reason,
        }
    });
    let panel = console.views.render(&Workflow {
        order: Some(WorkflowOrder::of(record, retries)),
    })?;
    let mut frame = Frame::of([PatchElements::new(panel)]);
    frame
        .events
        .push(PatchSignals::new(signals.to_string()).into());
    Ok(frame)
}

#[cfg(test)]
crate::http::fuzz::fields!(fuzz_at: At, fuzz_list_query: ListQuery);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_window_has_what_follows_it() {
        let query = "at=lost&window=a1&at=%2Forders%3Fq%3Dx&after=0a-7&seed=5&has=ff,zz,1\
                     &window=b2&after=7%0A8&at=%2Fcart&seed=%22";
        let asked = Asked::parse(query).unwrap();
        let first = Asked {
            window: "a1".to_owned(),
            at: "/orders?q=x".to_owned(),
            after: Some("0a-7".to_owned()),
            seed: Some("5".to_owned()),
            has: HashSet::from([0xff, 1]),
        };
        let second = Asked {
            window: "b2".to_owned(),
            at: "/cart".to_owned(),
            ..Asked::default()
        };
        assert_eq!(asked, [first, second]);
    }

    #[test]
    fn fuzz_windows() {
        let samples = [
            "window=a1&at=%2Forders%3Fq%3Dx&after=0a-7&seed=5&has=ff,zz,1&window=b2&at=%2Fcart",
            "window=a&at=/",
        ];
        let inputs = fuzz::input::mistaken(&samples, 5);
        fuzz::check("gateway: windows of a stream", &inputs, |query| {
            match Asked::parse(&query) {
                Ok(asked) => {
                    prop_assert!((1..=sse::PER_USER).contains(&asked.len()));
                    let ids: HashSet<_> = asked.iter().map(|asked| &asked.window).collect();
                    prop_assert_eq!(ids.len(), asked.len());
                    for asked in &asked {
                        // It stands in events: no line, no field.
                        prop_assert!(is_word(&asked.window), "{asked:?}");
                        let after = asked.after.as_deref().unwrap_or("a");
                        let ok = |letter: char| letter.is_ascii_alphanumeric() || letter == '-';
                        prop_assert!(after.chars().all(ok), "{after:?}");
                        prop_assert!(asked.seed.as_deref().is_none_or(is_word));
                        prop_assert!(asked.at.len() <= MAX_ADDRESS);
                    }
                }
                Err(problem) => {
                    prop_assert_eq!(problem.status, 400);
                    prop_assert_eq!(problem.field.as_deref(), Some("window"));
                }
            }
            Ok(())
        });
    }

    #[test]
    fn an_address_that_is_too_long_is_none() {
        let query = format!("window=a&at=/{}&window=b&at=/", "x".repeat(MAX_ADDRESS));
        let asked = Asked::parse(&query).unwrap();
        assert_eq!(asked[0].at, "");
        assert_eq!(asked[1].at, "/");
    }

    #[test]
    fn windows_have_bounds() {
        let many: Vec<_> = (0..=sse::PER_USER)
            .map(|number| format!("window={number}&at=/"))
            .collect();
        for wrong in [
            "",
            "at=/",
            "window=&at=/",
            "window=a%0Ab&at=/",
            "window=a&at=/&window=a&at=/",
            &many.join("&"),
        ] {
            let refused = Asked::parse(wrong).unwrap_err();
            assert_eq!(refused.field.as_deref(), Some("window"), "{wrong}");
        }
    }
}
