//! Guessed passwords: of one person, of many, from one address and from many.

use reqwest::{Method, RequestBuilder};
use serde_json::json;

use super::{behind_a_proxy, send_all, with};
use crate::shop::{Shop, send};
use crate::world::people::password;
use crate::world::{Setup, own};

fn sign_in(shop: &Shop, from: &str, name: &str, password: &str) -> RequestBuilder {
    let proof = json!({ "username": name, "password": password });
    shop.anonymous()
        .request(Method::POST, "/login")
        .header("x-forwarded-for", from)
        .json(&proof)
}

/// A cookie of this person, as a browser sends it.
pub(super) async fn cookie_of(shop: &Shop, name: &str) -> String {
    let password = password(name);
    let answer = send(sign_in(shop, "192.0.2.1", name, &password)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let pair = answer.cookies[0].split(';').next().unwrap_or_default();
    pair.to_owned()
}

#[test]
fn however_many_guess_at_once_few_are_looked_at_and_the_owner_comes_in() {
    own(&behind_a_proxy(Setup::with_sessions()), async |shop| {
        let right = async |from: &str| send(sign_in(shop, from, "alice", &password("alice"))).await;
        assert_eq!(right("192.0.2.1").await.status, 200);

        let guesses =
            (0..200).map(|n| sign_in(shop, "198.51.100.1", "alice", &format!("guess{n}")));
        let answers = send_all(guesses).await;
        assert!(
            with(401, &answers) <= 5,
            "{} looked at",
            with(401, &answers)
        );
        assert!(with(429, &answers) > 0);
        assert_eq!(with(200, &answers), 0);
        let told = answers.into_iter().find(|it| it.status == 429).unwrap();
        told.problem(429, "too_many_tries");

        // One password over many names.
        let sprayed =
            (0..200).map(|n| sign_in(shop, "198.51.100.2", &format!("user{n}"), "spring2026"));
        let answers = send_all(sprayed).await;
        assert!(
            with(401, &answers) <= 20,
            "{} looked at",
            with(401, &answers)
        );
        assert!(with(429, &answers) > 0);

        // From where she has signed in before, and from a new address, she comes in.
        assert_eq!(right("192.0.2.1").await.status, 200);
        assert_eq!(right("203.0.113.1").await.status, 200);
    });
}

#[test]
fn a_flood_from_everywhere_does_not_make_the_owner_wait() {
    own(&behind_a_proxy(Setup::with_sessions()), async |shop| {
        let alice = async || send(sign_in(shop, "192.0.2.1", "alice", &password("alice"))).await;
        assert_eq!(alice().await.status, 200);
        let made_up = (0..400).map(|n| {
            let from = format!("198.51.{}.{}", n / 200, n % 200);
            // What can be no name is refused before anything is hashed.
            let name = if n % 2 == 0 { "no name!" } else { "alice" };
            sign_in(shop, &from, name, "guess")
        });
        let owner = async {
            for _ in 0..5 {
                let answer = alice().await;
                assert_eq!(answer.status, 200, "{answer:?}");
            }
        };
        let (answers, ()) = tokio::join!(send_all(made_up), owner);
        assert_eq!(with(200, &answers), 0);
        // The queue is short: who finds it full is told so at once.
        let told = [401, 429, 503].map(|status| with(status, &answers));
        assert_eq!(told.iter().sum::<usize>(), answers.len(), "{told:?}");
        assert!(told[0] >= 200, "{told:?}");
    });
}
