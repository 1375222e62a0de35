//! Nobody is waited for for ever, at none of our ports; who listens is left
//! alone. `crates/process` tests each limit in short; here they are the
//! product's own, of the real processes.

#[cfg(target_os = "linux")]
use std::process::Command;
use std::time::{Duration, Instant};

use futures::future::{join, join_all};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::world::{Component, Setup, own, shared};

const HEAD: Duration = Duration::from_secs(10);
const BODY: Duration = Duration::from_secs(15);
/// What a busy machine may add.
const SLACK: Duration = Duration::from_secs(10);
const DRIP: Duration = Duration::from_secs(1);

/// Sends `begin` and then, if that is to drip, one byte a second; answers what
/// came until the connection was closed, and when that was.
async fn until_closed(at: &str, begin: &str, drips: bool) -> (String, Duration) {
    let address = at.strip_prefix("http://").expect("a plain address");
    let line = TcpStream::connect(address).await.unwrap();
    let (mut from, mut to) = line.into_split();
    let since = Instant::now();
    to.write_all(begin.as_bytes()).await.unwrap();
    let dripping = async {
        while drips && to.write_all(b"x").await.is_ok() {
            sleep(DRIP).await;
        }
        // The line stays open on our side.
        std::future::pending::<()>().await;
    };
    let mut said = Vec::new();
    let reading = async {
        // A reset ends it as well: what still dripped did not arrive.
        let _ = from.read_to_end(&mut said).await;
    };
    tokio::select! {
        () = dripping => {}
        ended = timeout(BODY + SLACK, reading) => {
            assert!(ended.is_ok(), "{at} still waits after {begin:?}");
        }
    }
    let text = String::from_utf8_lossy(&said).into_owned();
    (text, since.elapsed())
}

#[test]
fn slow_callers_end_and_streams_stay() {
    shared(async |shop| {
        let alice = shop.alice();
        let mut told = alice.stream("/stream/notifications").await;
        let heads = [
            &shop.gateway,
            &shop.sandbox,
            &shop.services_ops,
            &shop.services,
        ];
        let heads = heads.into_iter().flat_map(|at| {
            // The services' endpoint speaks HTTP/2 alone.
            let begin = if *at == shop.services {
                "PRI * HTTP/2.0\r\n"
            } else {
                "GET / HTTP/1.1\r\nHost: "
            };
            let drips = if *at == shop.services {
                vec![false]
            } else {
                vec![false, true]
            };
            drips.into_iter().map(move |drips| async move {
                let (said, took) = until_closed(at, begin, drips).await;
                assert!(
                    took < HEAD + SLACK,
                    "{at} waited {took:?} for a head: {said}"
                );
                assert!(took + DRIP >= HEAD, "{at} closed after {took:?}: {said}");
            })
        });
        let bodies = [
            (&shop.gateway, "/api/cart/add"),
            (&shop.sandbox, "/payments"),
        ];
        let bodies = bodies.into_iter().flat_map(|(at, path)| {
            [false, true].map(|drips| async move {
                let begin = format!(
                    "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nX-User-Id: bob\r\nIdempotency-Key: x\r\n\
                     Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{{\"a\":"
                );
                let (said, took) = until_closed(at, &begin, drips).await;
                assert!(said.starts_with("HTTP/1.1 408 "), "{at}: {said}");
                assert!(took < BODY + SLACK, "{at} waited {took:?} for a body");
                assert!(took + DRIP >= BODY, "{at} closed after {took:?}");
            })
        });
        join(join_all(heads), join_all(bodies)).await;

        alice.add("P001", 1).await;
        told.until("Item added").await;
    });
}

/// How many files a process may have open, as `prlimit` writes it.
#[cfg(target_os = "linux")]
fn allow_files(process: u32, limit: &str) {
    let done = Command::new("prlimit")
        .args(["--pid", &process.to_string(), &format!("--nofile={limit}:")])
        .status()
        .expect("prlimit (util-linux) can be started");
    assert!(done.success());
}

/// Hundredths of a second of processor time that a process has used.
#[cfg(target_os = "linux")]
fn processor_time(process: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    // After the name, which may contain anything.
    let (_, fields) = stat.rsplit_once(')').expect("a name");
    let fields: Vec<_> = fields.split_whitespace().collect();
    [11, 12]
        .map(|field: usize| fields[field].parse::<u64>().unwrap())
        .iter()
        .sum()
}

/// Whoever asks meanwhile is answered when files are to be had again.
#[cfg(target_os = "linux")]
#[test]
fn a_lack_of_files_passes() {
    own(&Setup::default(), async |shop| {
        for (part, at) in [
            (Component::Gateway, &shop.gateway),
            (Component::Sandbox, &shop.sandbox),
            (Component::Services, &shop.services_ops),
        ] {
            let process = shop.process_id(part);
            allow_files(process, "4");
            let ask = async |_| {
                let answer = reqwest::get(format!("{at}/healthz")).await;
                answer.expect("it is answered").status().as_u16()
            };
            let mut asking = std::pin::pin!(join_all((0..5).map(ask)));
            let used = processor_time(process);
            let early = timeout(Duration::from_secs(2), asking.as_mut()).await;
            assert!(early.is_err(), "{part:?} had a file left: {early:?}");
            let used = processor_time(process) - used;
            assert!(
                used < 100,
                "{part:?} worked {used} of 200 hundredths for nothing"
            );
            allow_files(process, "1024");
            let answers = timeout(SLACK, asking).await.expect("it accepts again");
            assert_eq!(answers, [200; 5], "{part:?}");
        }
    });
}
