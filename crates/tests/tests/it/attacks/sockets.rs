//! Connections that say nothing, or not all, and thousands of streams.

use std::time::Duration;

use futures::stream::{self, StreamExt as _};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use reqwest::Method;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::{AT_ONCE, behind_a_proxy, orders_to_the_end};
use crate::shop::Shop;
use crate::world::{Setup, own};

/// More than a process may have open where nobody has raised that.
const CROWD: usize = 1_100;
/// How long a probe may take beside a crowd: an orchestrator waits so long.
const PROBE_WITHIN: Duration = Duration::from_secs(3);

fn raise_the_limit_of_files() {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    assert!(most > 6_000, "this test needs 6000 open files: ulimit -n");
    setrlimit(Resource::RLIMIT_NOFILE, most, most).unwrap();
}

/// Opens so many connections, says this on each, and keeps them.
async fn crowd(shop: &Shop, count: usize, says: impl Fn(usize) -> String) -> Vec<TcpStream> {
    let address = shop.gateway.strip_prefix("http://").unwrap();
    let open = (0..count).map(|number| {
        let says = says(number);
        async move {
            let mut line = TcpStream::connect(address).await.ok()?;
            // Whoever is turned away notices only here.
            let _ = line.write_all(says.as_bytes()).await;
            Some(line)
        }
    });
    let lines = stream::iter(open).buffer_unordered(AT_ONCE);
    lines.filter_map(std::future::ready).collect().await
}

/// What a crowd says: nothing, half a head, or half a body.
fn half(number: usize) -> String {
    match number % 4 {
        0 | 1 => String::new(),
        2 => "GET /api/products HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ".to_owned(),
        _ => "POST /api/cart/add HTTP/1.1\r\nHost: 127.0.0.1\r\nX-User-Id: mallory\r\n\
              X-Forwarded-For: 198.51.100.7\r\nContent-Type: application/json\r\n\
              Content-Length: 500\r\n\r\n{\"half\":"
            .to_owned(),
    }
}

/// Opens so many streams, twenty for each user, from these addresses; answers them and
/// how many are open (200), too many of one (429) and too many in all (503).
async fn open_streams(
    shop: &Shop,
    users: &str,
    count: usize,
    address: impl Fn(usize) -> String,
) -> (Vec<reqwest::Response>, [usize; 3]) {
    let open = (0..count).map(|number| {
        let user = shop.person(&format!("{users}{}", number / 20));
        let request = user
            .request(Method::GET, "/stream/notifications")
            .header("x-forwarded-for", address(number))
            .timeout(Duration::from_mins(5));
        async move { request.send().await.expect("an answer") }
    });
    let answers: Vec<_> = stream::iter(open).buffer_unordered(AT_ONCE).collect().await;
    let counts = [200, 429, 503].map(|status| {
        let alike = answers.iter().filter(|answer| answer.status() == status);
        alike.count()
    });
    (answers, counts)
}

async fn is_healthy(shop: &Shop) {
    for _ in 0..5 {
        let url = format!("{}/healthz", shop.gateway);
        // A connection of its own, as a probe has.
        let client = reqwest::Client::builder()
            .no_proxy()
            .timeout(PROBE_WITHIN)
            .build()
            .unwrap();
        let answer = client.get(&url).send().await;
        assert_eq!(answer.expect("a probe is answered").status(), 200);
    }
}

#[test]
fn a_crowd_that_says_nothing_whole_keeps_nobody_out() {
    raise_the_limit_of_files();
    own(&behind_a_proxy(Setup::default()), async |shop| {
        let lines = crowd(shop, CROWD, half).await;
        assert_eq!(lines.len(), CROWD);
        is_healthy(shop).await;
        orders_to_the_end(&shop.bob(), "meanwhile").await;
        drop(lines);
    });
}

#[test]
fn where_all_places_are_taken_the_silent_ones_make_room() {
    raise_the_limit_of_files();
    own(&Setup::with("MAX_CONNECTIONS", "64"), async |shop| {
        let lines = crowd(shop, CROWD, |_| String::new()).await;
        is_healthy(shop).await;
        orders_to_the_end(&shop.bob(), "meanwhile").await;
        drop(lines);
    });
}

#[test]
fn thousands_of_streams_have_an_end() {
    raise_the_limit_of_files();
    let setup = behind_a_proxy(Setup::default())
        .and("MAX_STREAMS", "900")
        .lasting(Duration::from_mins(4));
    own(&setup, async |shop| {
        let all_of_one = |_| "203.0.113.1".to_owned();
        let (first, counts) = open_streams(shop, "neighbour", 400, all_of_one).await;
        assert_eq!(counts, [256, 144, 0], "of one address");
        let of_many = |number| format!("198.51.100.{}", number / 200);
        let (second, counts) = open_streams(shop, "viewer", 1_600, of_many).await;
        assert_eq!(counts, [900 - 256, 0, 1_600 - (900 - 256)], "of many");
        // Pages without a stream, carts and orders go on.
        is_healthy(shop).await;
        orders_to_the_end(&shop.bob(), "meanwhile").await;
        drop((first, second));
    });
}

#[test]
fn more_than_the_system_allows_is_one_sentence_at_the_start() {
    own(&Setup::default(), async |shop| {
        let mut refused = shop.gateway_command();
        let refused = refused
            .arg("serve")
            .env("MAX_CONNECTIONS", "1000000")
            .env("MAX_REQUESTS", "1000000")
            .output()
            .unwrap();
        assert_eq!(refused.status.code(), Some(2), "{refused:?}");
        let said = String::from_utf8_lossy(&refused.stderr);
        let sentence = said.lines().last().unwrap_or_default();
        assert!(sentence.contains("2000128 open files"), "{said}");
    });
}
