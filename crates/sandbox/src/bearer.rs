//! Whom the provider and the carrier answer, where a token was set: as real ones
//! do, those alone who send it.

use std::sync::Arc;

use axum::{
    Router,
    extract::Request,
    middleware::{self, Next},
    response::IntoResponse as _,
};
use process::bearer::brings;

use crate::{World, answer::Answer};

/// `routes`, for those who send `token`; for everybody, where there is none.
pub(crate) fn demand(token: Option<String>, routes: Router<Arc<World>>) -> Router<Arc<World>> {
    let Some(token) = token else { return routes };
    let token: Arc<str> = token.into();
    routes.route_layer(middleware::from_fn(move |request: Request, next: Next| {
        let token = Arc::clone(&token);
        async move {
            if brings(request.headers(), &[&token]) {
                return next.run(request).await;
            }
            Answer::refused(401, "this key opens nothing here").into_response()
        }
    }))
}
