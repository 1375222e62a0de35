//! Whom the provider and the carrier answer, where a token was set: as real ones
//! do, those alone who send it.

use std::sync::Arc;

use axum::{
    Router,
    extract::Request,
    http::{HeaderMap, header},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
};

use crate::{World, answer::Answer};

/// `routes`, for those who send `token`; for everybody, where there is none.
pub(crate) fn demand(token: Option<String>, routes: Router<Arc<World>>) -> Router<Arc<World>> {
    let Some(token) = token else { return routes };
    let expected: Arc<str> = format!("Bearer {token}").into();
    routes.route_layer(middleware::from_fn(move |request: Request, next: Next| {
        let expected = Arc::clone(&expected);
        async move { answer(&expected, request, next).await }
    }))
}

async fn answer(expected: &str, request: Request, next: Next) -> Response {
    if is_sent(expected, request.headers()) {
        return next.run(request).await;
    }
    Answer::refused(401, "this key opens nothing here").into_response()
}

fn is_sent(expected: &str, headers: &HeaderMap) -> bool {
    let sent = headers.get(header::AUTHORIZATION);
    sent.is_some_and(|sent| sent.as_bytes() == expected.as_bytes())
}
