//! Raw input: JSON, forms and Datastar signals become one set of [`Fields`], and a
//! [`FromFields`] type takes what it needs. Every refusal names the field.

use std::ops::RangeInclusive;

use axum::body::{Body, to_bytes};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use process::http::SlowBody;
use serde_json::{Map, Value};
use waybill_domain::basket::{MAX_LINES, MAX_QUANTITY, Part};
use waybill_domain::ids::Sku;
use waybill_domain::money::Cents;
use waybill_domain::words;

use super::problem::Problem;

/// Longest amount that people write.
const MAX_MONEY: usize = 20;
/// Largest accepted body.
pub const MAX_BODY: usize = 64 * 1024;

/// What a body or a query string says, whatever its encoding.
#[derive(Debug, Clone, Default)]
pub struct Fields(Map<String, Value>);

/// Input that takes what it needs from [`Fields`].
pub trait FromFields: Sized {
    /// Largest body that is read for it.
    const MAX_BODY: usize = MAX_BODY;

    /// Takes it, or says which field is wrong and what is accepted.
    fn from_fields(fields: &Fields) -> Result<Self, Problem>;
}

impl Fields {
    /// From `a=1&b=2`.
    pub fn from_form(form: &[u8]) -> Self {
        Self(
            form_urlencoded::parse(form)
                .map(|(name, value)| (name.into_owned(), Value::String(value.into_owned())))
                .collect(),
        )
    }

    /// From a JSON object.
    pub fn from_json(json: &[u8]) -> Result<Self, Problem> {
        match serde_json::from_slice(json) {
            Ok(Value::Object(fields)) => Ok(Self(fields)),
            Ok(_) => Err(bad_json(
                "the body must be a JSON object, such as {\"name\":\"value\"}",
            )),
            Err(error) => Err(bad_json(format!("the body is not valid JSON: {error}"))),
        }
    }

    /// All of it, as a JSON object.
    pub fn as_json(&self) -> Value {
        Value::Object(self.0.clone())
    }

    fn given(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| match value {
            Value::Null => false,
            Value::String(text) => !text.trim().is_empty(),
            _ => true,
        })
    }

    /// A whole number within `range`, if there is one.
    pub fn integer(&self, name: &str, range: RangeInclusive<i64>) -> Result<Option<i64>, Problem> {
        let Some(value) = self.given(name) else {
            return Ok(None);
        };
        let number = match value {
            Value::Number(number) => number.as_i64().or_else(|| whole(number.as_f64()?)),
            Value::String(text) => {
                let text = text.trim();
                let number = text.parse().ok();
                number.or_else(|| whole(text.parse().ok()?))
            }
            _ => None,
        };
        match number.filter(|number| range.contains(number)) {
            Some(number) => Ok(Some(number)),
            None => Err(Problem::invalid(
                name,
                format!(
                    "{name} must be a whole number, {} to {}",
                    range.start(),
                    range.end()
                ),
            )),
        }
    }

    /// A whole number within `range`.
    pub fn required_integer(&self, name: &str, range: RangeInclusive<i64>) -> Result<i64, Problem> {
        self.integer(name, range)?.ok_or_else(|| missing(name))
    }

    /// Free text of at most `max` characters, trimmed; `None` when absent or
    /// blank. Characters that nobody sees go ([`words::plain`]); text that has
    /// nothing to see without them is refused.
    pub fn text(&self, name: &str, max: usize) -> Result<Option<String>, Problem> {
        let Some(raw) = self.string(name)? else {
            return Ok(None);
        };
        if raw.chars().any(is_refused_control) {
            return Err(Problem::invalid(
                name,
                format!("{name} must not contain control characters"),
            ));
        }
        let text = words::plain(raw);
        let text = text.trim();
        if !words::is_visible(text) {
            return Err(blank(name));
        }
        if text.chars().count() > max {
            return Err(too_long(name, max));
        }
        Ok(Some(text.to_owned()))
    }

    /// Free text of at most `max` characters that is not blank.
    pub fn required_text(&self, name: &str, max: usize) -> Result<String, Problem> {
        self.text(name, max)?.ok_or_else(|| missing(name))
    }

    /// An id, a name of ours or another word that is compared: nothing of it is
    /// left out, so one with characters that nobody sees is refused.
    pub fn word(&self, name: &str, max: usize) -> Result<Option<String>, Problem> {
        let Some(raw) = self.string(name)? else {
            return Ok(None);
        };
        let text = raw.trim();
        if text.chars().count() > max {
            return Err(too_long(name, max));
        }
        if words::has_hidden(text) || text.chars().any(is_refused_control) {
            return Err(Problem::invalid(
                name,
                format!("{name} must not contain control characters or others that cannot be seen"),
            ));
        }
        if !words::is_visible(text) {
            return Err(blank(name));
        }
        Ok(Some(text.to_owned()))
    }

    /// An id or the like that is not blank.
    pub fn required_word(&self, name: &str, max: usize) -> Result<String, Problem> {
        self.word(name, max)?.ok_or_else(|| missing(name))
    }

    /// A file: every character of it counts.
    pub fn required_file(&self, name: &str, max: usize) -> Result<String, Problem> {
        let text = self.string(name)?.ok_or_else(|| missing(name))?;
        if text.len() > max {
            let most = max / 1024;
            return Err(Problem::invalid(
                name,
                format!("{name} must be at most {most} KiB"),
            ));
        }
        Ok(text.to_owned())
    }

    /// A password: every character of it counts, spaces at its ends and alone too.
    pub fn required_secret(&self, name: &str, max: usize) -> Result<String, Problem> {
        match self.0.get(name) {
            None | Some(Value::Null) => Err(missing(name)),
            Some(Value::String(text)) if text.is_empty() => Err(missing(name)),
            Some(Value::String(text)) if text.chars().count() > max => Err(too_long(name, max)),
            Some(Value::String(text)) => Ok(text.clone()),
            Some(_) => Err(Problem::invalid(name, format!("{name} must be text"))),
        }
    }

    /// An amount of money within `range`, in cents: `{name}_cents` as a whole number, or
    /// `{name}` as people write it, `12.50`.
    pub fn money(&self, name: &str, range: RangeInclusive<i64>) -> Result<Option<Cents>, Problem> {
        let text = self.word(name, MAX_MONEY)?;
        let cents = self.integer(&format!("{name}_cents"), range.clone())?;
        // Read also beside cents: what cannot be read is refused, and not passed over.
        let said = text.map(|text| {
            let read = Cents::parse(&text).filter(|cents| range.contains(&cents.0));
            read.ok_or_else(|| {
                let (from, to) = (Cents(*range.start()), Cents(*range.end()));
                let detail = format!("{name} must be an amount such as 12.50, {from} to {to}");
                Problem::invalid(name, detail)
            })
        });
        let said = said.transpose()?;
        Ok(cents.map(Cents).or(said))
    }

    /// An amount of money within `range`.
    pub fn required_money(&self, name: &str, range: RangeInclusive<i64>) -> Result<Cents, Problem> {
        self.money(name, range)?.ok_or_else(|| missing(name))
    }

    /// Pieces of products: a list of `{"sku": …, "quantity": …}` in JSON, a field
    /// `{name}.{SKU}` for each product in a form. No pieces are left away.
    pub fn parts(&self, name: &str) -> Result<Vec<Part>, Problem> {
        let of_form = self.0.iter().filter_map(|(field, value)| {
            let sku = field.strip_prefix(name)?.strip_prefix('.')?;
            Some((Value::from(sku), value.clone()))
        });
        let of_json = match self.given(name) {
            None => Vec::new(),
            Some(Value::Array(all)) => {
                let all = all.iter();
                all.map(|one| (one["sku"].clone(), one["quantity"].clone()))
                    .collect()
            }
            Some(_) => return Err(wrong_parts(name)),
        };
        let mut parts = Vec::new();
        for (sku, quantity) in of_json.into_iter().chain(of_form) {
            let sku = sku.as_str().and_then(|sku| Sku::parse(sku).ok());
            let one = Self(Map::from_iter([(name.to_owned(), quantity)]));
            let quantity = one.integer(name, 0..=i64::from(MAX_QUANTITY));
            let quantity = quantity.map_err(|_| wrong_parts(name))?.unwrap_or_default();
            let sku = sku.ok_or_else(|| wrong_parts(name))?;
            if quantity > 0 {
                let quantity = u32::try_from(quantity).unwrap_or(u32::MAX);
                parts.push(Part { sku, quantity });
            }
        }
        if parts.len() > MAX_LINES {
            return Err(Problem::invalid(
                name,
                format!("{name} names more products than an order has: at most {MAX_LINES}"),
            ));
        }
        Ok(parts)
    }

    fn string(&self, name: &str) -> Result<Option<&str>, Problem> {
        match self.given(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Problem::invalid(name, format!("{name} must be text"))),
        }
    }

    /// Yes or no, if it is said.
    pub fn flag(&self, name: &str) -> Result<Option<bool>, Problem> {
        match self.given(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(Value::String(text)) if matches!(text.trim(), "true" | "on" | "1") => {
                Ok(Some(true))
            }
            Some(Value::String(text)) if matches!(text.trim(), "false" | "off" | "0") => {
                Ok(Some(false))
            }
            Some(_) => Err(Problem::invalid(
                name,
                format!("{name} must be true or false"),
            )),
        }
    }

    /// Yes or no.
    pub fn required_flag(&self, name: &str) -> Result<bool, Problem> {
        self.flag(name)?.ok_or_else(|| missing(name))
    }
}

/// Largest number up to which every whole number is a number of JSON's own.
const MAX_WHOLE: f64 = 9_007_199_254_740_991.0;

/// `3.0` is a whole number, in JSON Schema and to whoever computes with floats.
fn whole(number: f64) -> Option<i64> {
    let is_whole = number.fract() == 0.0 && number.abs() <= MAX_WHOLE;
    #[expect(clippy::cast_possible_truncation, reason = "it has been looked at")]
    is_whole.then_some(number as i64)
}

/// Ends of lines and tabs belong to text; other control characters are a
/// mistake of the sender's.
fn is_refused_control(letter: char) -> bool {
    letter.is_control() && !matches!(letter, '\n' | '\r' | '\t')
}

fn blank(name: &str) -> Problem {
    Problem::invalid(
        name,
        format!("{name} has nothing to see in it: write letters, digits or signs"),
    )
}

fn too_long(name: &str, max: usize) -> Problem {
    Problem::invalid(name, format!("{name} must be at most {max} characters"))
}

fn missing(name: &str) -> Problem {
    Problem::invalid(name, format!("{name} is missing: send it in the body"))
}

fn wrong_parts(name: &str) -> Problem {
    Problem::invalid(
        name,
        format!(
            "{name} must be a list of products with their pieces, each 0 to {MAX_QUANTITY}: [{{\"sku\": \"P001\", \"quantity\": 1}}]"
        ),
    )
}

fn bad_json(detail: impl Into<String>) -> Problem {
    Problem::new(
        StatusCode::BAD_REQUEST,
        "malformed_body",
        "Malformed body",
        detail,
    )
}

/// The request's body, parsed.
#[derive(Debug, Clone)]
pub struct Input<T>(pub T);

impl<T: FromFields, S: Sync> FromRequest<S> for Input<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let kind = Encoding::of(&parts.headers);
        let body = read_up_to(body, T::MAX_BODY).await?;
        // Without a body nothing says how to read it: what is missing is named.
        let fields = if body.trim_ascii().is_empty() {
            Fields::default()
        } else {
            match kind? {
                // `curl -d '{…}'` calls its JSON a form.
                Encoding::Form if !body.trim_ascii_start().starts_with(b"{") => {
                    Fields::from_form(&body)
                }
                Encoding::Form | Encoding::Json => Fields::from_json(&body)?,
            }
        };
        T::from_fields(&fields).map(Self)
    }
}

enum Encoding {
    Json,
    Form,
}

impl Encoding {
    fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let kind = headers
            .get(header::CONTENT_TYPE)
            .map(|value| value.to_str().unwrap_or_default())
            .map(|value| value.split(';').next().unwrap_or_default().trim());
        match kind {
            None => Ok(Self::Json),
            Some(kind) if kind.eq_ignore_ascii_case("application/json") => Ok(Self::Json),
            Some(kind) if kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") => {
                Ok(Self::Form)
            }
            Some(_) => Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_media_type",
                "Unsupported media type",
                "send the body as application/json",
            )),
        }
    }
}

/// Reads a whole body of at most [`MAX_BODY`].
pub async fn read(body: Body) -> Result<axum::body::Bytes, Problem> {
    read_up_to(body, MAX_BODY).await
}

async fn read_up_to(body: Body, most: usize) -> Result<axum::body::Bytes, Problem> {
    to_bytes(body, most).await.map_err(|error| {
        let too_large = std::error::Error::source(&error)
            .is_some_and(<dyn std::error::Error>::is::<http_body_util::LengthLimitError>);
        if SlowBody::is_behind(&error) {
            Problem::new(
                StatusCode::REQUEST_TIMEOUT,
                "slow_body",
                "The body came too slowly",
                "the body did not arrive in time: send it again, at once and whole",
            )
        } else if too_large {
            Problem::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "body_too_large",
                "Body too large",
                format!("the body must be at most {} KiB", most / 1024),
            )
        } else {
            Problem::new(
                StatusCode::BAD_REQUEST,
                "incomplete_body",
                "Incomplete body",
                "the body did not arrive whole: send it again",
            )
        }
    })
}

/// The request's query string, parsed.
#[derive(Debug, Clone)]
pub struct InQuery<T>(pub T);

impl<T: FromFields, S: Sync> FromRequestParts<S> for InQuery<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let query = parts.uri.query().unwrap_or_default();
        T::from_fields(&Fields::from_form(query.as_bytes())).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Request as HttpRequest;

    use super::*;

    struct Order {
        quantity: i64,
        note: Option<String>,
        gift: Option<bool>,
    }

    impl FromFields for Order {
        fn from_fields(fields: &Fields) -> Result<Self, Problem> {
            Ok(Self {
                quantity: fields.required_integer("quantity", 1..=9)?,
                note: fields.text("note", 5)?,
                gift: fields.flag("gift")?,
            })
        }
    }

    async fn post(kind: Option<&str>, body: impl Into<Body>) -> Result<Order, Problem> {
        let mut request = HttpRequest::post("/");
        if let Some(kind) = kind {
            request = request.header("content-type", kind);
        }
        let request = request.body(body.into()).unwrap();
        Input::from_request(request, &())
            .await
            .map(|Input(order)| order)
    }

    #[tokio::test]
    async fn json_and_forms_say_the_same() {
        for (kind, body) in [
            (
                "application/json",
                r#"{"quantity":3,"note":" hi ","gift":true,"more":[]}"#,
            ),
            (
                "application/json; charset=utf-8",
                r#"{"quantity":"3","note":"hi","gift":"on"}"#,
            ),
            (
                "application/json",
                r#"{"quantity":3.0,"note":"hi","gift":true}"#,
            ),
            (
                "application/x-www-form-urlencoded",
                "quantity=3.0&note=hi&gift=1",
            ),
            (
                "application/x-www-form-urlencoded",
                "quantity=3&note=+hi&gift=true",
            ),
            (
                "application/x-www-form-urlencoded",
                r#"{"quantity":3,"note":"hi","gift":true}"#,
            ),
        ] {
            let order = post(Some(kind), body).await.unwrap();
            assert_eq!(order.quantity, 3);
            assert_eq!(order.note.as_deref(), Some("hi"));
            assert_eq!(order.gift, Some(true));
        }
    }

    #[tokio::test]
    async fn what_is_wrong_is_named() {
        for (body, field, status) in [
            ("", Some("quantity"), 400),
            ("{}", Some("quantity"), 400),
            (r#"{"quantity":null}"#, Some("quantity"), 400),
            (r#"{"quantity":0}"#, Some("quantity"), 400),
            (r#"{"quantity":-1}"#, Some("quantity"), 400),
            (r#"{"quantity":1.5}"#, Some("quantity"), 400),
            (r#"{"quantity":1e300}"#, Some("quantity"), 400),
            (
                r#"{"quantity":99999999999999999999}"#,
                Some("quantity"),
                400,
            ),
            (r#"{"quantity":[1]}"#, Some("quantity"), 400),
            (r#"{"quantity":1,"note":"too long"}"#, Some("note"), 400),
            (r#"{"quantity":1,"note":"\u0000"}"#, Some("note"), 400),
            (r#"{"quantity":1,"note":"\u200b"}"#, Some("note"), 400),
            (r#"{"quantity":1,"note":7}"#, Some("note"), 400),
            (r#"{"quantity":1,"gift":"maybe"}"#, Some("gift"), 400),
            ("{", None, 400),
            ("[1]", None, 400),
        ] {
            let problem = post(Some("application/json"), body).await.err().unwrap();
            assert_eq!(problem.status.as_u16(), status, "{body}");
            assert_eq!(problem.field.as_deref(), field, "{body}");
        }
    }

    #[tokio::test]
    async fn other_encodings_and_large_bodies_are_refused() {
        let problem = post(Some("text/plain"), "quantity=1").await.err().unwrap();
        assert_eq!(problem.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
        let large = vec![b' '; MAX_BODY + 1];
        let problem = post(Some("application/json"), large).await.err().unwrap();
        assert_eq!(problem.status, StatusCode::PAYLOAD_TOO_LARGE);
    }

    #[tokio::test]
    async fn an_empty_body_of_any_kind_says_what_is_missing() {
        let problem = post(Some("text/html"), "").await.err().unwrap();
        assert_eq!(problem.detail, "quantity is missing: send it in the body");
    }
}
