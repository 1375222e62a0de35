//! Writes each answer in the form that its asker reads: JSON, Datastar patches, a
//! page or a redirect.

use std::convert::Infallible;

use axum::extract::Request;
use axum::http::{Method, StatusCode, header};
use axum::response::sse::{Event, Sse};
use axum::response::{Html, IntoResponse, Redirect, Response};
use futures::stream;

use super::factor;
use super::views::Console;
use crate::api::factor::PAGE;
use crate::http::negotiation::{RequestContext, ResponseFormat};
use crate::http::problem::{CODE_NEEDED, FACTOR_NEEDED, Problem};
use crate::http::reply::UserMessage;

/// Who asks how, which all that follow know, too.
pub fn look(request: &mut Request) -> (RequestContext, Method) {
    let context = RequestContext::of(request);
    request.extensions_mut().insert(context.clone());
    (context, request.method().clone())
}

/// Writes each [`Problem`] and each [`Reply`](crate::http::reply::Reply) in the form its
/// asker reads, and logs the problems that are our fault.
pub async fn present(
    console: &Console,
    (context, method): (RequestContext, Method),
    mut response: Response,
) -> Response {
    if is_bare_refusal(&response) {
        response = refused(response.status()).into_response();
    }

    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        log(&problem, &method, &context);
        let problem = problem.with("request_id", context.request_id.as_str());
        return match context.wants {
            ResponseFormat::Datastar => {
                patches(console.views.problem_patches(&problem, &context), &response)
            }
            ResponseFormat::Html
                if problem.status == StatusCode::UNAUTHORIZED && method == Method::GET =>
            {
                Redirect::to(&login_then(&context.path)).into_response()
            }
            ResponseFormat::Html if problem.kind() == CODE_NEEDED => {
                carry_over(&response, Redirect::to(factor::CODE_PAGE).into_response())
            }
            ResponseFormat::Html if problem.kind() == FACTOR_NEEDED && method == Method::GET => {
                Redirect::to(PAGE).into_response()
            }
            ResponseFormat::Html
                if let Some(to) = factor::back_to(&problem, context.path_alone()) =>
            {
                carry_over(&response, Redirect::to(&to).into_response())
            }
            ResponseFormat::Html => {
                let page = Html(console.views.problem_page(&problem, &context));
                carry_over(&response, (problem.status, page).into_response())
            }
            ResponseFormat::Json | ResponseFormat::Markdown => said_again(response, &problem),
        };
    }
    if let Some(said) = response.extensions_mut().remove::<UserMessage>() {
        return match context.wants {
            ResponseFormat::Datastar => patches(console.views.done_patches(&said), &response),
            ResponseFormat::Html => {
                if let Some(once) = &said.once {
                    return match console.views.once_page(once, &context) {
                        Ok(page) => carry_over(&response, Html(page).into_response()),
                        Err(problem) => problem.into_response(),
                    };
                }
                // The page to go to is painted once, and shows what this has done.
                console.infra.live.settled().await;
                let to = said.goes_to.as_deref().unwrap_or(&context.back);
                carry_over(&response, Redirect::to(to).into_response())
            }
            ResponseFormat::Json | ResponseFormat::Markdown => response,
        };
    }
    response
}

/// Whether axum itself has refused, in plain text: an address that is no UTF-8,
/// say.
fn is_bare_refusal(response: &Response) -> bool {
    let is_plain = match response.headers().get(header::CONTENT_TYPE) {
        None => true,
        Some(kind) => kind.as_bytes().starts_with(b"text/plain"),
    };
    response.status().is_client_error()
        && is_plain
        && response.extensions().get::<Problem>().is_none()
}

fn refused(status: StatusCode) -> Problem {
    let title = status.canonical_reason().unwrap_or("Refused");
    Problem::new(
        status,
        &title.to_lowercase().replace(' ', "_"),
        title,
        "this request cannot be read: check the address and the headers",
    )
}

/// The same answer, with what the problem says by now.
fn said_again(response: Response, problem: &Problem) -> Response {
    let Ok(body) = serde_json::to_vec(problem) else {
        return response;
    };
    let (mut parts, _) = response.into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, body.into())
}

/// What passes by itself (somebody is away, too many ask) is a warning.
fn log(problem: &Problem, method: &Method, context: &RequestContext) {
    macro_rules! say {
        ($level:ident) => {
            tracing::$level!(
                http.method = %method,
                http.path = context.path_alone(),
                request.id = context.request_id.as_str(),
                problem.kind = problem.kind(),
                cause = problem.cause(),
                "{}",
                problem.detail
            )
        };
    }
    if problem.status == StatusCode::SERVICE_UNAVAILABLE {
        say!(warn);
    } else if problem.status.is_server_error() {
        say!(error);
    }
}

/// The login page, which leads back to `path`.
pub fn login_then(path: &str) -> String {
    let next: String = form_urlencoded::byte_serialize(path.as_bytes()).collect();
    format!("/login?next={next}")
}

fn patches(events: Vec<Event>, instead_of: &Response) -> Response {
    let events = stream::iter(events.into_iter().map(Ok::<_, Infallible>));
    carry_over(instead_of, Sse::new(events).into_response())
}

/// Cookies and such survive a change of form.
fn carry_over(from: &Response, mut to: Response) -> Response {
    for name in [
        header::SET_COOKIE,
        header::RETRY_AFTER,
        header::WWW_AUTHENTICATE,
        header::ALLOW,
        header::ACCEPT_ENCODING,
    ] {
        for value in from.headers().get_all(&name) {
            to.headers_mut().append(name.clone(), value.clone());
        }
    }
    to
}
