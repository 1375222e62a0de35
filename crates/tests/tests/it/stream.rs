//! Live streams, as a browser reads them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use reqwest::Method;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::shop::Client;

/// An open stream. Everything it says is kept until it is dropped.
pub struct Stream {
    heard: Arc<Mutex<Vec<Event>>>,
    news: watch::Receiver<usize>,
    reading: JoinHandle<()>,
}

/// One server-sent event.
#[derive(Debug, Clone, Default)]
pub struct Event {
    pub name: String,
    pub id: Option<String>,
    pub data: String,
    pub at: Option<Instant>,
}

impl Client<'_> {
    /// Opens a stream, as the page's script does.
    pub async fn stream(&self, path: &str) -> Stream {
        self.stream_after(path, None).await
    }

    /// Opens a stream again, telling what was heard last.
    pub async fn stream_after(&self, path: &str, last_id: Option<&str>) -> Stream {
        let opened = self.try_stream(path, last_id).await;
        opened.unwrap_or_else(|instead| panic!("{path}: {instead}"))
    }

    /// The same where the gateway may be gone.
    pub async fn try_stream(&self, path: &str, last_id: Option<&str>) -> Result<Stream, String> {
        let mut request = self
            .request(Method::GET, path)
            .header("accept", "text/event-stream")
            .header("datastar-request", "true")
            // The client's own limit is for answers, not for streams.
            .timeout(Duration::from_mins(10));
        if let Some(id) = last_id {
            request = request.header("last-event-id", id);
        }
        let answer = request.send().await.map_err(|error| error.to_string())?;
        if answer.status() != 200 {
            return Err(answer.status().to_string());
        }
        let kind = answer.headers().get("content-type").cloned();
        assert_eq!(
            kind.as_ref().and_then(|kind| kind.to_str().ok()),
            Some("text/event-stream")
        );

        let heard = Arc::new(Mutex::new(Vec::new()));
        let (told, news) = watch::channel(0);
        let keep = Arc::clone(&heard);
        let reading = tokio::spawn(async move {
            let mut bytes = answer.bytes_stream();
            let mut unread = Vec::new();
            while let Some(Ok(more)) = bytes.next().await {
                unread.extend_from_slice(&more);
                while let Some(end) = unread.windows(2).position(|two| two == b"\n\n") {
                    let raw: Vec<u8> = unread.drain(..end + 2).collect();
                    if let Some(event) = Event::parse(&String::from_utf8_lossy(&raw)) {
                        lock(&keep).push(event);
                        told.send_modify(|count| *count += 1);
                    }
                }
            }
        });
        Ok(Stream {
            heard,
            news,
            reading,
        })
    }
}

fn lock(heard: &Mutex<Vec<Event>>) -> MutexGuard<'_, Vec<Event>> {
    heard.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Event {
    /// `None` for a comment, which only keeps the connection alive.
    fn parse(raw: &str) -> Option<Self> {
        let mut event = Self::default();
        let mut data = Vec::new();
        for line in raw.lines() {
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "event" => value.clone_into(&mut event.name),
                "id" => event.id = Some(value.to_owned()),
                "data" => data.push(value),
                _ => {}
            }
        }
        event.data = data.join("\n");
        event.at = Some(Instant::now());
        (!data.is_empty()).then_some(event)
    }
}

impl Stream {
    /// Waits until an event says `words`; answers the first that does.
    pub async fn until(&mut self, words: &str) -> Event {
        self.until_within(words, crate::shop::SOON).await
    }

    pub async fn until_within(&mut self, words: &str, within: Duration) -> Event {
        let deadline = tokio::time::Instant::now() + within;
        loop {
            self.news.borrow_and_update();
            if let Some(event) = self.find(words) {
                return event;
            }
            let more = tokio::time::timeout_at(deadline, self.news.changed()).await;
            if !matches!(more, Ok(Ok(()))) {
                // The last event may have come with the end.
                return self.find(words).unwrap_or_else(|| {
                    panic!(
                        "the stream did not say {words:?} within {within:?} (open: {}), but:\n{}",
                        more.is_err(),
                        self.all()
                    )
                });
            }
        }
    }

    /// Waits until the stream has ended.
    pub async fn until_closed(&mut self) {
        let ended = tokio::time::timeout(crate::shop::SOON, &mut self.reading).await;
        assert!(ended.is_ok(), "the stream is still open");
    }

    /// Waits until something is said; `false` when the stream has ended.
    pub async fn news(&mut self) -> bool {
        self.news.changed().await.is_ok()
    }

    /// What was said since the last time.
    pub fn take(&self) -> Vec<Event> {
        std::mem::take(&mut *lock(&self.heard))
    }

    fn find(&self, words: &str) -> Option<Event> {
        let heard = lock(&self.heard);
        heard
            .iter()
            .find(|event| event.data.contains(words))
            .cloned()
    }

    /// Everything that was heard so far.
    pub fn events(&self) -> Vec<Event> {
        lock(&self.heard).clone()
    }

    /// The id to come back with.
    pub fn last_id(&self) -> Option<String> {
        lock(&self.heard)
            .iter()
            .rev()
            .find_map(|event| event.id.clone())
    }

    fn all(&self) -> String {
        let events = self.events();
        let all: Vec<_> = events
            .iter()
            .map(|event| format!("[{} {:?}] {}", event.name, event.id, event.data))
            .collect();
        all.join("\n")
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.reading.abort();
    }
}
