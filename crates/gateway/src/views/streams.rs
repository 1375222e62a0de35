//! The live streams: a page's regions kept right, and the three documented
//! streams for everybody who wants only one of them.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::get;
use datastar::prelude::{PatchElements, PatchSignals};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::timeout;
use waybill_domain::order::OrderRecord;

use super::journal;
use super::page::{self, Kind, Place, Viewer};
use super::products;
use super::shell::{Announce, NotificationItem, Notifications, Workflow, WorkflowOrder};
use crate::app::{App, Shared};
use crate::auth::{Caller, OptionalCaller};
use crate::live::sse::{self, Frame, LastEventId, Moment, Wakes};
use crate::notifications;
use crate::orders;
use crate::problem::Problem;
use crate::reply::{Fields, FromFields, InQuery};

/// How often Restate is asked anew while nothing else wakes a stream.
const ASK_RESTATE: Duration = Duration::from_secs(2);
/// How long a change waits for the journal that goes with it.
const JOURNAL_WITHIN: Duration = Duration::from_secs(2);
/// How often health and the like are looked at.
const LOOK_AROUND: Duration = Duration::from_secs(5);

/// Every stream.
pub(super) fn router() -> Router<Shared> {
    Router::new()
        .route("/stream/page", get(of_page))
        .route("/stream/products", get(of_products))
        .route("/stream/notifications", get(of_notifications))
        .route("/stream/workflow/{id}", get(of_workflow))
}

struct At(Place);

impl FromFields for At {
    fn from_fields(fields: &Fields) -> Result<Self, Problem> {
        Place::parse(&fields.required_word("at", 2048)?).map(Self)
    }
}

/// `GET /stream/page?at=/orders`: everything that a page shows.
async fn of_page(
    State(app): State<Shared>,
    OptionalCaller(caller): OptionalCaller,
    headers: HeaderMap,
    last: LastEventId,
    InQuery(At(place)): InQuery<At>,
) -> Result<Response, Problem> {
    let caller = caller.ok_or_else(|| Problem::unauthenticated("sign in at /login"))?;
    // Wakes the stream once its first frame is out.
    let (painted, after_paint) = watch::channel(0);
    let wakes = wakes(&app, &caller, &place.kind).on(after_paint);
    let viewer = Arc::new(Viewer::of(caller.clone(), &headers));
    let place = Arc::new(place);
    let shared = Arc::clone(&app);
    let render = move |moment: Moment| {
        let (app, viewer, place) = (Arc::clone(&shared), Arc::clone(&viewer), Arc::clone(&place));
        painted.send_if_modified(|_| moment.first && matches!(place.kind, Kind::Order(_)));
        async move { page_frame(&app, &viewer, &place, moment).await }
    };
    sse::show(&app.live, &caller, last, wakes, render).await
}

fn wakes(app: &App, caller: &Caller, kind: &Kind) -> Wakes {
    // Admins are told of everybody's orders on every page.
    let wakes = Wakes::new().on(if caller.is_admin() {
        app.live.changes()
    } else {
        app.live.user(&caller.user)
    });
    match kind {
        Kind::Products => wakes.on(app.live.stock()),
        Kind::Order(id) => wakes.on(app.live.order(id)).every(ASK_RESTATE),
        Kind::Dashboard | Kind::Admin => wakes.every(LOOK_AROUND),
        Kind::Cart | Kind::Orders => wakes,
    }
}

async fn page_frame(
    app: &App,
    viewer: &Viewer,
    place: &Place,
    moment: Moment,
) -> Result<Frame, Problem> {
    let picture = page::paint(app, viewer, place, moment.after.as_deref()).await?;
    let mut regions = picture.regions;
    // The journal is asked for after the page is there, and not waited for.
    let with_journal = match &place.kind {
        Kind::Order(id) if !moment.first => {
            // An admin API that hangs does not keep the order's news back.
            match timeout(JOURNAL_WITHIN, journal::of_order(app, id)).await {
                Ok(journal) => {
                    regions.journal = app.views.render(&journal)?;
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
    Ok(Frame::of(patches.into_iter().map(PatchElements::new)).with_id(picture.cursor))
}

/// `GET /stream/products`: `#product-list` with prices and stock.
async fn of_products(
    State(app): State<Shared>,
    caller: Caller,
    headers: HeaderMap,
    last: LastEventId,
    InQuery(query): InQuery<ListQuery>,
) -> Result<Response, Problem> {
    let wakes = Wakes::new().on(app.live.stock());
    let viewer = Arc::new(Viewer::of(caller.clone(), &headers));
    let place = Arc::new(query.0);
    let shared = Arc::clone(&app);
    let render = move |_: Moment| {
        let (app, viewer, place) = (Arc::clone(&shared), Arc::clone(&viewer), Arc::clone(&place));
        async move {
            let (shown, _) = products::list(&app, &viewer, &place).await?;
            Ok(Frame::of([PatchElements::new(app.views.render(&shown)?)]))
        }
    };
    sse::show(&app.live, &caller, last, wakes, render).await
}

struct ListQuery(Place);

impl FromFields for ListQuery {
    fn from_fields(fields: &Fields) -> Result<Self, Problem> {
        Ok(Self(Place::of_products(fields.clone())))
    }
}

/// `GET /stream/notifications`: `#notifications`, and a word for screen readers.
async fn of_notifications(
    State(app): State<Shared>,
    caller: Caller,
    headers: HeaderMap,
    last: LastEventId,
) -> Result<Response, Problem> {
    let wakes = Wakes::new().on(if caller.is_admin() {
        app.live.changes()
    } else {
        app.live.user(&caller.user)
    });
    let viewer = Arc::new(Viewer::of(caller.clone(), &headers));
    let shared = Arc::clone(&app);
    let render = move |moment: Moment| {
        let (app, viewer) = (Arc::clone(&shared), Arc::clone(&viewer));
        async move { notifications_frame(&app, &viewer, moment).await }
    };
    sse::show(&app.live, &caller, last, wakes, render).await
}

async fn notifications_frame(app: &App, viewer: &Viewer, moment: Moment) -> Result<Frame, Problem> {
    let pane = notifications::pane(app, &viewer.caller, moment.after.as_deref()).await?;
    let news = pane.notifications.iter().find(|told| told.is_new);
    let announce = app.views.render(&Announce {
        text: news.map(|told| told.text.clone()).unwrap_or_default(),
    })?;
    let list = app.views.render(&Notifications {
        unread: pane.unread,
        items: pane
            .notifications
            .into_iter()
            .map(NotificationItem::of)
            .collect(),
        key: format!("{}-read", viewer.seed),
    })?;
    Ok(Frame::of([announce, list].map(PatchElements::new)).with_id(pane.cursor))
}

/// `GET /stream/workflow/{id}`: `#workflow`, and the signal `workflow`.
async fn of_workflow(
    State(app): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
    last: LastEventId,
) -> Result<Response, Problem> {
    let id = orders::named(&caller, &id)?;
    let wakes = Wakes::new().on(app.live.order(&id)).every(ASK_RESTATE);
    let shared = Arc::clone(&app);
    let render = move |_: Moment| {
        let (app, id) = (Arc::clone(&shared), id.clone());
        async move {
            let record = orders::find(&app, &id).await?;
            workflow_frame(&app, &record).await
        }
    };
    sse::show(&app.live, &caller, last, wakes, render).await
}

async fn workflow_frame(app: &App, record: &OrderRecord) -> Result<Frame, Problem> {
    let retries = app.admin_api.retry_count(&record.order_id).await;
    let signals = json!({
        "workflow": {
            "orderId": record.order_id,
            "currentStep": record.status.label(),
            "status": record.status,
            "progress": super::progress::Progress::of(record).done * 100 / 6,
            "retryCount": retries,
            "nextAction": record.next_action(),
            "failureReason": record.failure_reason,
        }
    });
    let panel = app.views.render(&Workflow {
        order: Some(WorkflowOrder::of(record, retries)),
    })?;
    let mut frame = Frame::of([PatchElements::new(panel)]);
    frame
        .events
        .push(PatchSignals::new(signals.to_string()).into());
    Ok(frame)
}
