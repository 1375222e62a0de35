use std::net::SocketAddr;

use axum::Router;
use axum::body::Bytes as Text;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use axum::routing::{get, post};
use futures::{StreamExt as _, stream};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinHandle;

use super::*;

/// Short enough for a test, and far enough apart to be told from one another.
const QUICK: Limits = Limits {
    head: Duration::from_millis(600),
    body: Some(Duration::from_millis(700)),
    idle: Duration::from_millis(1500),
    unread: Duration::from_millis(800),
};
/// What a busy machine may add.
const SLACK: Duration = Duration::from_secs(4);
/// Between two bytes of a drip: far below every limit.
const DRIP: Duration = Duration::from_millis(50);

/// A server and what it is asked.
struct Served {
    address: SocketAddr,
    stop: CancellationToken,
    server: JoinHandle<()>,
}

async fn serve(server: Server) -> Served {
    let router = Router::new()
        .route("/quick", get(async || "quick\n"))
        .route("/slow", get(slow))
        .route("/stream", get(ticks))
        .route("/flood", get(flood))
        .route("/body", post(body));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let stopping = stop.clone();
    let server = tokio::spawn(async move { server.serve(listener, router, stopping).await });
    Served {
        address,
        stop,
        server,
    }
}

async fn slow() -> &'static str {
    sleep(QUICK.idle * 2).await;
    "slow\n"
}

/// A tick now and then, for ever.
async fn ticks() -> axum::body::Body {
    let ticks = stream::unfold(0, async |count| {
        sleep(QUICK.unread + QUICK.idle).await;
        Some((Ok::<_, Infallible>(format!("tick {count}\n")), count + 1))
    });
    axum::body::Body::from_stream(ticks)
}

async fn flood() -> axum::body::Body {
    let chunk = vec![b'x'; 64 * 1024];
    axum::body::Body::from_stream(stream::repeat_with(move || {
        Ok::<_, Infallible>(chunk.clone())
    }))
}

async fn body(text: Result<Text, BytesRejection>) -> (StatusCode, String) {
    match text {
        Ok(text) => (StatusCode::OK, format!("{} bytes", text.len())),
        Err(error) if SlowBody::is_behind(&error) => {
            (StatusCode::REQUEST_TIMEOUT, "too slow".into())
        }
        Err(error) => (error.status(), error.body_text()),
    }
}

impl Served {
    async fn line(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    async fn end(self) {
        self.stop.cancel();
        timeout(SLACK, self.server)
            .await
            .expect("it stops")
            .unwrap();
    }
}

/// Writes a byte at a time for as long as the other side takes it.
async fn drip(line: &mut TcpStream, bytes: impl Iterator<Item = u8>) {
    for byte in bytes {
        if line.write_all(&[byte]).await.is_err() {
            return;
        }
        sleep(DRIP).await;
    }
}

/// What comes until the connection is closed, and when that was.
async fn to_its_end(line: &mut (impl AsyncRead + Unpin), since: Instant) -> (String, Duration) {
    let mut text = Vec::new();
    let within = QUICK.idle + SLACK;
    // A reset is an end as well: what was still dripping did not arrive.
    let _ = timeout(within, line.read_to_end(&mut text))
        .await
        .expect("the connection ends");
    (String::from_utf8(text).unwrap(), since.elapsed())
}

fn assert_took(took: Duration, limit: Duration) {
    assert!(took >= limit, "ended after {took:?}, before {limit:?}");
    assert!(took < limit + SLACK, "ended after {took:?} only");
}

#[tokio::test]
async fn half_a_head_ends() {
    let served = serve(Server::new(QUICK)).await;
    for begin in [
        "G",
        "GET /quick HTTP/1.1\r\nHost: x\r\n",
        "PRI * HT",
        "PRI * HTTP/2.0\r\n",
    ] {
        let mut line = served.line().await;
        let since = Instant::now();
        line.write_all(begin.as_bytes()).await.unwrap();
        let (_, took) = to_its_end(&mut line, since).await;
        assert_took(took, QUICK.head);
        assert!(
            took < QUICK.idle,
            "{begin:?} ended after {took:?} as if idle"
        );
    }
    served.end().await;
}

#[tokio::test]
async fn a_dripping_head_ends() {
    let served = serve(Server::new(QUICK)).await;
    let (mut from, mut to) = served.line().await.into_split();
    let since = Instant::now();
    let head = "GET /quick HTTP/1.1\r\nHost: "
        .bytes()
        .chain(std::iter::repeat(b'x'));
    let dripping = tokio::spawn(async move {
        for byte in head {
            if to.write_all(&[byte]).await.is_err() {
                return;
            }
            sleep(DRIP).await;
        }
    });
    let (_, took) = to_its_end(&mut from, since).await;
    assert_took(took, QUICK.head);
    dripping.abort();
    served.end().await;
}

#[tokio::test]
async fn a_second_head_has_its_own_time() {
    let served = serve(Server::new(QUICK)).await;
    let mut line = served.line().await;
    line.write_all(b"GET /quick HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let mut first = [0; 16];
    line.read_exact(&mut first).await.unwrap();
    let since = Instant::now();
    line.write_all(b"GET /qui").await.unwrap();
    let (_, took) = to_its_end(&mut line, since).await;
    assert_took(took, QUICK.head);
    assert!(took < QUICK.idle, "ended after {took:?} as if idle");
    served.end().await;
}

#[tokio::test]
async fn half_a_body_ends() {
    let served = serve(Server::new(QUICK)).await;
    let mut line = served.line().await;
    let since = Instant::now();
    line.write_all(b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf")
        .await
        .unwrap();
    let (answer, took) = to_its_end(&mut line, since).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert_took(took, QUICK.body.unwrap());
    served.end().await;
}

#[tokio::test]
async fn a_dripping_body_ends() {
    let served = serve(Server::new(QUICK)).await;
    let mut line = served.line().await;
    let since = Instant::now();
    line.write_all(b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
        .await
        .unwrap();
    let (mut from, mut to) = line.split();
    let dripping = async {
        while to.write_all(b".").await.is_ok() {
            sleep(DRIP).await;
        }
    };
    let mut answer = [0; 12];
    let answered = async { from.read_exact(&mut answer).await.unwrap() };
    tokio::select! {
        () = dripping => panic!("closed without an answer"),
        answered = timeout(QUICK.idle + SLACK, answered) => answered.expect("it is answered"),
    };
    assert_eq!(answer, *b"HTTP/1.1 408");
    assert_took(since.elapsed(), QUICK.body.unwrap());
    served.end().await;
}

#[tokio::test]
async fn a_body_in_several_parts_is_read() {
    let served = serve(Server::new(QUICK)).await;
    let mut line = served.line().await;
    line.write_all(
        b"POST /body HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 6\r\n\r\n",
    )
    .await
    .unwrap();
    drip(&mut line, "parted".bytes()).await;
    let (answer, _) = to_its_end(&mut line, Instant::now()).await;
    assert!(
        answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("6 bytes"),
        "{answer}"
    );
    served.end().await;
}

#[tokio::test]
async fn an_idle_connection_is_kept_for_a_while() {
    let served = serve(Server::new(QUICK)).await;
    let mut silent = served.line().await;
    let since = Instant::now();
    let (said, took) = to_its_end(&mut silent, since).await;
    assert_eq!(said, "");
    assert_took(took, QUICK.idle);

    let mut line = served.line().await;
    for _ in 0..3 {
        line.write_all(b"GET /quick HTTP/1.1\r\nHost: x\r\n\r\n")
            .await
            .unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"quick\n") {
            line.read_buf(&mut answer).await.unwrap();
        }
        assert!(answer.starts_with(b"HTTP/1.1 200"));
        // Longer than the limit of a head: nothing has begun.
        sleep(QUICK.head + 2 * DRIP).await;
    }
    let (said, _) = to_its_end(&mut line, Instant::now()).await;
    assert_eq!(said, "");
    served.end().await;
}

#[tokio::test]
async fn answers_take_their_time_and_streams_stay() {
    let served = serve(Server::new(QUICK)).await;
    let mut line = served.line().await;
    line.write_all(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let slow = reqwest::get(format!("http://{}/slow", served.address));
    let ticking = async {
        let mut text = Vec::new();
        while !String::from_utf8_lossy(&text).contains("tick 1\n") {
            assert!(
                line.read_buf(&mut text).await.unwrap() > 0,
                "the stream ended"
            );
        }
    };
    let (slow, ()) = tokio::join!(slow, ticking);
    assert_eq!(slow.unwrap().text().await.unwrap(), "slow\n");
    drop(line);
    served.end().await;
}

#[tokio::test]
async fn who_does_not_read_is_left() {
    let served = serve(Server::new(QUICK)).await;
    let mut line = served.line().await;
    line.write_all(b"GET /flood HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    // Once it has begun: a connection that was never accepted holds nobody.
    line.read_u8().await.unwrap();
    served.stop.cancel();
    // The flood never ends by itself, and nobody reads on: only its limit can
    // let the server go.
    let since = Instant::now();
    let ended = timeout(QUICK.unread + SLACK, served.server).await;
    ended.expect("it ends").unwrap();
    assert!(
        since.elapsed() + DRIP >= QUICK.unread,
        "{:?}",
        since.elapsed()
    );
}

#[tokio::test]
async fn http_2_works_and_is_left_when_idle() {
    for server in [Server::new(QUICK), Server::new(QUICK).http2_only()] {
        let served = serve(server).await;
        let client = reqwest::Client::builder()
            .http2_prior_knowledge()
            .build()
            .unwrap();
        let address = served.address;
        let ask = |path: &'static str| client.get(format!("http://{address}/{path}")).send();
        for pause in [QUICK.head + DRIP, QUICK.idle + DRIP * 10, Duration::ZERO] {
            let answer = ask("quick").await.unwrap();
            assert_eq!(answer.version(), reqwest::Version::HTTP_2);
            assert_eq!(answer.text().await.unwrap(), "quick\n");
            sleep(pause).await;
        }
        // Streams stay here, too.
        let mut ticks = ask("stream").await.unwrap().bytes_stream();
        assert_eq!(ticks.next().await.unwrap().unwrap(), "tick 0\n");
        // A preface alone is no request.
        let mut line = served.line().await;
        let since = Instant::now();
        line.write_all(PREFACE).await.unwrap();
        line.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
        let mut said = Vec::new();
        let ended = timeout(QUICK.idle + GOODBYE + SLACK, line.read_to_end(&mut said)).await;
        ended.expect("it ends").unwrap();
        assert!(since.elapsed() >= QUICK.idle);
        drop(ticks);
        served.end().await;
    }
}

#[tokio::test]
async fn conversations_have_bodies_that_last() {
    let served = serve(Server::new(QUICK.with_lasting_bodies())).await;
    let mut line = served.line().await;
    line.write_all(
        b"POST /body HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 4\r\n\r\nla",
    )
    .await
    .unwrap();
    sleep(QUICK.idle * 2).await;
    line.write_all(b"st").await.unwrap();
    let (answer, _) = to_its_end(&mut line, Instant::now()).await;
    assert!(answer.ends_with("4 bytes"), "{answer}");
    served.end().await;
}

#[tokio::test]
async fn a_stop_ends_what_is_idle_and_finishes_what_is_not() {
    let served = serve(Server::new(QUICK)).await;
    let mut idle = served.line().await;
    let slow = tokio::spawn(reqwest::get(format!("http://{}/slow", served.address)));
    sleep(DRIP * 4).await;
    let since = Instant::now();
    served.stop.cancel();
    let (_, took) = to_its_end(&mut idle, since).await;
    assert!(
        took < QUICK.head,
        "an idle connection kept the server for {took:?}"
    );
    let answer = slow.await.unwrap().unwrap();
    assert_eq!(answer.text().await.unwrap(), "slow\n");
    served.end().await;
}
