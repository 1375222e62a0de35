//! Calls at Restate's ingress that the gateway has signed.
//!
//! Restate's ingress knows no callers: whoever reaches it may call every handler that
//! is not private. So each of those takes its input as [`Signed`], and gets at it only
//! with [`Signed::open`], which looks whether a gateway has signed this very call:
//! service, key, handler, body and the caller's key ([`crate::once`]).
//!
//! The gateway signs in one place, where its requests leave
//! ([`crate::client::Signing`]). Both sides derive the key from `INTERNAL_TOKEN`. A
//! signature has no age: a replay of an invocation checks it again, days later, and must
//! come out the same. For that reason, too, a token that is replaced is accepted until
//! nothing that it has signed is under way (`INTERNAL_TOKEN_PREVIOUS`).
//!
//! What our own handlers call is private. They sign nothing.

use std::fmt;
use std::marker::PhantomData;

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use restate_sdk::prelude::*;
use restate_sdk::serde::{Deserialize, InputMetadata, PayloadMetadata, Serialize};
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use crate::once;
use crate::wire::Handler;

/// The header that carries the signature: `v1=<hex hmac-sha256>`.
pub const HEADER: &str = "x-waybill-signature";

/// What the key is derived for: another use of the token gets another key.
const LABEL: &[u8] = b"waybill call v1";
const SCHEME: &str = "v1=";

/// What is signed.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// The service's name.
    pub service: &'a str,
    /// Of which object or workflow; nothing for a service without keys.
    pub key: &'a str,
    /// The handler's name.
    pub handler: &'a str,
    /// The caller's key, as [`once::HEADER`] carries it.
    pub once: Option<&'a str>,
    /// The raw body.
    pub body: &'a [u8],
}

/// Signs calls, and knows its own signatures again.
#[derive(Clone)]
pub struct CallKey(Hmac<Sha256>);

impl fmt::Debug for CallKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CallKey")
    }
}

impl CallKey {
    /// The key that `INTERNAL_TOKEN` stands for.
    pub fn of(token: &str) -> Self {
        let derived = keyed(token.as_bytes()).chain_update(LABEL).finalize();
        Self(keyed(&derived.into_bytes()))
    }

    /// The value of [`HEADER`].
    pub fn sign(&self, call: Call<'_>) -> String {
        let signature = self.over(call).finalize().into_bytes();
        format!("{SCHEME}{}", hex::encode(signature))
    }

    /// Takes the same time wherever the first difference is.
    fn has_signed(&self, call: Call<'_>, signature: &[u8]) -> bool {
        self.over(call).verify_slice(signature).is_ok()
    }

    /// Each part with its length before it: no two calls are the same bytes.
    fn over(&self, call: Call<'_>) -> Hmac<Sha256> {
        let digest = Sha256::digest(call.body);
        let parts = [
            call.service.as_bytes(),
            call.key.as_bytes(),
            call.handler.as_bytes(),
            call.once.unwrap_or_default().as_bytes(),
            digest.as_slice(),
        ];
        parts.into_iter().fold(self.0.clone(), |mac, part| {
            let length = part.len() as u64;
            mac.chain_update(length.to_be_bytes()).chain_update(part)
        })
    }
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes every key")
}

/// Whose calls are let in. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Doors(Vec<CallKey>);

impl Doors {
    /// Let in what one of these tokens has signed, and everything if there is none.
    pub fn of<'a>(tokens: impl IntoIterator<Item = &'a str>) -> Self {
        Self(tokens.into_iter().map(CallKey::of).collect())
    }

    /// Whether anybody is let in.
    pub fn are_open(&self) -> bool {
        self.0.is_empty()
    }

    fn let_in(&self, call: Call<'_>, signature: Option<&str>) -> bool {
        if self.are_open() {
            return true;
        }
        let signature = signature
            .and_then(|value| value.strip_prefix(SCHEME))
            .and_then(|hex| hex::decode(hex).ok());
        signature.is_some_and(|it| self.0.iter().any(|key| key.has_signed(call, &it)))
    }
}

/// The input of a handler that Restate's ingress lets anybody call.
pub struct Signed<T>(Input<T>);

enum Input<T> {
    /// What a client is about to send.
    Said(T),
    /// What has arrived. It is not read before it is known who sent it.
    Heard(Bytes, PhantomData<fn() -> T>),
}

/// To be sent through an ingress client, which signs it.
impl<T> From<T> for Signed<T> {
    fn from(input: T) -> Self {
        Self(Input::Said(input))
    }
}

impl<T: serde::Serialize + DeserializeOwned> Signed<T> {
    /// The input, if a gateway has signed the call that brought it. Adds nothing to the
    /// journal.
    ///
    /// # Errors
    /// 403 where none has; 400 where the input cannot be read.
    pub fn open(
        self,
        called: &impl Called,
        doors: &Doors,
        handler: Handler,
    ) -> Result<T, TerminalError> {
        let body = match self.0 {
            Input::Said(input) => return Ok(input),
            Input::Heard(body, _) => body,
        };
        let call = Call {
            service: handler.service,
            key: called.target(),
            handler: handler.name,
            once: called.header(once::HEADER),
            body: &body,
        };
        if !doors.let_in(call, called.header(HEADER)) {
            tracing::warn!(
                restate.target = %handler.of(called.target()),
                "a call without the gateway's signature is refused"
            );
            return Err(TerminalError::new_with_code(403, REFUSED));
        }
        read(&body)
    }
}

const REFUSED: &str = "this call is not signed by a gateway that has the services' INTERNAL_TOKEN: \
     ask the gateway's API for it";

/// Nothing stands for `null`: a handler without input is sent no body.
fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, TerminalError> {
    let body = if body.is_empty() { b"null" } else { body };
    serde_json::from_slice(body).map_err(|error| {
        TerminalError::new_with_code(400, format!("the input cannot be read: {error}"))
    })
}

impl<T> Deserialize for Signed<T> {
    type Error = std::convert::Infallible;

    fn deserialize(bytes: &mut Bytes) -> Result<Self, Self::Error> {
        Ok(Self(Input::Heard(bytes.clone(), PhantomData)))
    }
}

impl<T: serde::Serialize> Serialize for Signed<T> {
    type Error = serde_json::Error;

    fn serialize(&self) -> Result<Bytes, Self::Error> {
        let bytes = match &self.0 {
            Input::Said(input) => Bytes::from(serde_json::to_vec(input)?),
            Input::Heard(bytes, _) => bytes.clone(),
        };
        Ok(if *bytes == *b"null" {
            Bytes::new()
        } else {
            bytes
        })
    }
}

impl<T> PayloadMetadata for Signed<T> {
    fn json_schema() -> Option<serde_json::Value> {
        Some(serde_json::json!({}))
    }

    /// Handlers without input are called without a body.
    fn input_metadata() -> InputMetadata {
        InputMetadata {
            is_required: false,
            ..InputMetadata::default()
        }
    }
}

/// What a handler knows of the call that it answers.
pub trait Called {
    /// Of which object or workflow; nothing for a service without keys.
    fn target(&self) -> &str;
    /// A header of the request.
    fn header(&self, name: &str) -> Option<&str>;
}

// One by one, as in `clock`.
macro_rules! called {
    ($($context:ident: |$ctx:ident| $target:expr;)*) => {$(
        impl Called for $context<'_> {
            fn target(&self) -> &str {
                let $ctx = self;
                $target
            }

            fn header(&self, name: &str) -> Option<&str> {
                self.headers().get(name).map(String::as_str)
            }
        }
    )*};
}

called! {
    Context: |_ctx| "";
    ObjectContext: |ctx| ctx.key();
    SharedObjectContext: |ctx| ctx.key();
    SharedWorkflowContext: |ctx| ctx.key();
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::wire::user_session::{ADD_ITEM, CLEAR_BASKET};

    /// A call that has arrived.
    #[derive(Clone, Default)]
    struct Arrived {
        key: &'static str,
        headers: HashMap<&'static str, String>,
    }

    impl Called for Arrived {
        fn target(&self) -> &str {
            self.key
        }

        fn header(&self, name: &str) -> Option<&str> {
            self.headers.get(name).map(String::as_str)
        }
    }

    fn signed_with(token: &str) -> Arrived {
        let call = Call {
            service: "UserSession",
            key: "alice",
            handler: "AddItem",
            once: None,
            body: b"[1]",
        };
        Arrived {
            key: "alice",
            headers: HashMap::from([(HEADER, CallKey::of(token).sign(call))]),
        }
    }

    fn heard<T>(body: &'static [u8]) -> Signed<T> {
        Signed::deserialize(&mut Bytes::from_static(body)).unwrap()
    }

    fn open(arrived: &Arrived, doors: &Doors) -> Result<Vec<u32>, u16> {
        let opened = heard::<Vec<u32>>(b"[1]").open(arrived, doors, ADD_ITEM);
        opened.map_err(|error| error.code())
    }

    #[test]
    fn what_a_gateway_has_signed_is_let_in_and_nothing_else() {
        let doors = Doors::of(["token"]);
        let signed = signed_with("token");
        assert_eq!(open(&signed, &doors), Ok(vec![1]));

        assert_eq!(open(&signed_with("another"), &doors), Err(403));
        let unsigned = Arrived {
            key: "alice",
            ..Arrived::default()
        };
        assert_eq!(open(&unsigned, &doors), Err(403));
        for nonsense in ["", "v1=", "v1=zz", "v2=00", "00"] {
            let mut with = unsigned.clone();
            with.headers.insert(HEADER, nonsense.to_owned());
            assert_eq!(open(&with, &doors), Err(403), "{nonsense}");
        }
    }

    #[test]
    fn a_signature_is_for_one_call() {
        let doors = Doors::of(["token"]);
        let signed = signed_with("token");
        let of_bob = Arrived {
            key: "bob",
            ..signed.clone()
        };
        assert_eq!(open(&of_bob, &doors), Err(403));
        let mut with_a_key = signed.clone();
        with_a_key.headers.insert(once::HEADER, "k".to_owned());
        assert_eq!(open(&with_a_key, &doors), Err(403));
        let body = heard::<Vec<u32>>(b"[2]").open(&signed, &doors, ADD_ITEM);
        assert_eq!(body.unwrap_err().code(), 403);
        let handler = heard::<Vec<u32>>(b"[1]").open(&signed, &doors, CLEAR_BASKET);
        assert_eq!(handler.unwrap_err().code(), 403);
    }

    #[test]
    fn a_token_that_was_replaced_opens_as_long_as_it_is_named() {
        let signed = signed_with("old");
        assert_eq!(open(&signed, &Doors::of(["new", "old"])), Ok(vec![1]));
        assert_eq!(open(&signed, &Doors::of(["new"])), Err(403));
    }

    #[test]
    fn without_a_token_the_doors_are_open() {
        let doors = Doors::default();
        assert!(doors.are_open());
        assert_eq!(open(&Arrived::default(), &doors), Ok(vec![1]));
    }

    #[test]
    fn who_sent_it_is_asked_before_it_is_read() {
        let open = |doors: &Doors| {
            let opened = heard::<Vec<u32>>(b"nonsense").open(&Arrived::default(), doors, ADD_ITEM);
            opened.unwrap_err().code()
        };
        assert_eq!(open(&Doors::of(["token"])), 403);
        assert_eq!(open(&Doors::default()), 400);
    }

    #[test]
    fn nothing_is_sent_as_nothing() {
        assert!(Signed::from(()).serialize().unwrap().is_empty());
        let nothing = heard::<()>(b"").open(&Arrived::default(), &Doors::default(), CLEAR_BASKET);
        assert!(nothing.is_ok());
        assert_eq!(*Signed::from(vec![1]).serialize().unwrap(), *b"[1]");
    }

    /// The layout of what is signed is part of the wire: gateways and services of
    /// different age meet.
    #[test]
    fn the_signature_stays_as_it_is() {
        let signed = signed_with("token");
        assert_eq!(
            signed.headers[HEADER],
            "v1=49c36c3b80b8f493078e849e7b56d55292f05a29eaf3ba73b2361f168c6e7934"
        );
    }
}
