//! Several addresses of one server, any of which will do: the nodes of a cluster.
//!
//! Whoever asks goes to the node that answered last, and on to the next when it is not
//! there. A node that is away is remembered as such, so that no request waits for it
//! again; all are looked at in the background ([`Nodes::watch`]), and come back into use
//! by themselves. What was asked of a node that falls silent meanwhile goes on to the
//! next one, if it may be asked twice.
//!
//! reqwest and tower were looked at: reqwest repeats a request at the same address only,
//! tower's balancer chooses by load and takes an address out when connecting fails, but
//! knows nothing of a node that accepts connections and says nothing.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::sleep;

/// How often each node is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long a look may take.
const LOOK_WITHIN: Duration = Duration::from_secs(2);
/// So many looks in a row without an answer: a busy node may miss one.
const SILENCES: u32 = 2;

/// The nodes of a cluster, or the one server there is. A cheap clone.
#[derive(Debug, Clone)]
pub struct Nodes(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    nodes: Vec<Node>,
    /// The one that answered last.
    chosen: AtomicUsize,
}

#[derive(Debug)]
struct Node {
    url: String,
    away: watch::Sender<Option<Away>>,
}

/// That a node cannot be used.
#[derive(Debug, Clone)]
pub struct Away {
    /// Since when.
    pub since: Instant,
    /// Why, in a few words.
    pub why: String,
}

/// What became of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// The node has answered, whatever it said.
    Answer,
    /// Nothing was sent, for this reason: no connection was made.
    NotSent(String),
    /// It was sent, and what came of it is not known.
    Lost,
}

impl Heard {
    /// What an error of reqwest says about it.
    pub fn of(error: &reqwest::Error) -> Self {
        if error.is_connect() {
            Self::NotSent(why(error))
        } else {
            Self::Lost
        }
    }
}

impl Nodes {
    /// Those at `urls`, of which there must be one at least.
    pub fn of(urls: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let nodes = urls.into_iter().map(|url| Node {
            url: url.into(),
            away: watch::Sender::new(None),
        });
        let nodes: Vec<_> = nodes.collect();
        debug_assert!(!nodes.is_empty(), "a server has an address");
        let chosen = AtomicUsize::new(0);
        Self(Arc::new(Shared { nodes, chosen }))
    }

    /// Their addresses.
    pub fn urls(&self) -> impl Iterator<Item = &str> {
        self.0.nodes.iter().map(|node| node.url.as_str())
    }

    /// How many there are.
    #[expect(clippy::len_without_is_empty, reason = "there is always one")]
    pub fn len(&self) -> usize {
        self.0.nodes.len()
    }

    /// The address that is asked first.
    pub fn chosen(&self) -> &str {
        let first = self.in_turn().next().unwrap_or_default();
        self.0.nodes.get(first).map_or("", |node| &node.url)
    }

    /// Those that cannot be used.
    pub fn away(&self) -> impl Iterator<Item = (&str, Away)> {
        let nodes = self.0.nodes.iter();
        nodes.filter_map(|node| Some((node.url.as_str(), node.away()?)))
    }

    /// Whether so many are away that a cluster of them decides nothing: half or more, of
    /// three at least. With fewer addresses nobody knows how many nodes there are.
    pub fn majority_is_away(&self) -> bool {
        self.len() > 2 && self.away().count() * 2 >= self.len()
    }

    /// The node at `url` let somebody wait in vain: another is asked first from now on,
    /// even if this one says that it is well.
    pub fn turn_from(&self, url: &str) {
        let Some(index) = self.urls().position(|it| it == url) else {
            return;
        };
        let next = (index + 1) % self.len();
        let (read, write) = (Ordering::Relaxed, Ordering::Relaxed);
        // Unless somebody else was chosen meanwhile.
        let _ = self.0.chosen.compare_exchange(index, next, read, write);
    }

    /// Asks one after the other until one answers; `ask` gets its address and answers
    /// what became of it. What was [`Heard::Lost`] is asked again of another only if it
    /// may be asked twice: `may_repeat`.
    pub async fn ask<T, F: Future<Output = (Heard, T)>>(
        &self,
        may_repeat: bool,
        ask: impl Fn(String) -> F,
    ) -> T {
        let mut left = self.in_turn();
        let mut index = left.next().unwrap_or_default();
        let first = index;
        loop {
            let asked = ask(self.0.nodes[index].url.clone());
            let Some(next) = left.next() else {
                let (heard, said) = asked.await;
                self.hear(index, &heard, first);
                return said;
            };
            let (heard, said) = tokio::select! {
                heard = asked => heard,
                () = self.is_given_up(index), if may_repeat => {
                    index = next;
                    continue;
                }
            };
            self.hear(index, &heard, first);
            match heard {
                Heard::NotSent(_) => index = next,
                Heard::Lost if may_repeat => index = next,
                Heard::Answer | Heard::Lost => return said,
            }
        }
    }

    fn hear(&self, index: usize, heard: &Heard, first: usize) {
        match heard {
            // Who was asked first is still chosen, or somebody else was meanwhile.
            Heard::Answer if index != first => self.0.chosen.store(index, Ordering::Relaxed),
            Heard::NotSent(why) => self.found(index, Err(why.clone())),
            Heard::Answer | Heard::Lost => {}
        }
    }

    /// Looks at every node for as long as somebody uses them; one alone needs no look.
    /// A node is well while `{url}{path}` answers with success.
    pub fn watch(&self, http: &reqwest::Client, path: &'static str) {
        if self.len() < 2 {
            return;
        }
        for index in 0..self.len() {
            let (nodes, http) = (Arc::downgrade(&self.0), http.clone());
            tokio::spawn(async move {
                let mut silences = 0;
                while let Some(nodes) = nodes.upgrade().map(Nodes) {
                    let url = format!("{}{path}", nodes.0.nodes[index].url);
                    let looked = http.get(url).timeout(LOOK_WITHIN).send().await;
                    let looked = looked.and_then(reqwest::Response::error_for_status);
                    silences = match &looked {
                        Err(error) if error.is_timeout() => silences + 1,
                        _ => 0,
                    };
                    match looked {
                        Ok(_) => nodes.found(index, Ok(())),
                        Err(_) if (1..SILENCES).contains(&silences) => {}
                        Err(error) => nodes.found(index, Err(why(&error))),
                    }
                    drop(nodes);
                    sleep(LOOK_EVERY).await;
                }
            });
        }
    }

    /// In which order they are asked: those that are away last.
    fn in_turn(&self) -> impl Iterator<Item = usize> + use<> {
        let chosen = self.0.chosen.load(Ordering::Relaxed);
        let all = (0..self.len()).map(|n| (chosen + n) % self.len());
        let (well, away): (Vec<_>, Vec<_>) =
            all.partition(|index| self.0.nodes[*index].away().is_none());
        well.into_iter().chain(away)
    }

    /// Until it is away, and another is not.
    async fn is_given_up(&self, index: usize) {
        let mut away = self.0.nodes[index].away.subscribe();
        // Nobody is given up for having been away before it was asked.
        let _ = away.wait_for(Option::is_none).await;
        loop {
            let _ = away.wait_for(Option::is_some).await;
            if self.0.nodes.iter().any(|node| node.away().is_none()) {
                return;
            }
            sleep(LOOK_EVERY).await;
        }
    }

    fn found(&self, index: usize, found: Result<(), String>) {
        // One server alone is never given up: there is nobody else to ask.
        if self.len() == 1 {
            return;
        }
        let Node { url, away } = &self.0.nodes[index];
        away.send_if_modified(|away| match (found, &away) {
            (Ok(()), Some(was)) => {
                let away_ms = was.since.elapsed().as_millis();
                tracing::info!(node.url = url, away_ms, "a node is back: {url}");
                *away = None;
                true
            }
            (Err(why), None) => {
                tracing::warn!(node.url = url, error = why, "a node is away: {url}");
                let since = Instant::now();
                *away = Some(Away { since, why });
                true
            }
            _ => false,
        });
    }
}

impl Node {
    fn away(&self) -> Option<Away> {
        self.away.borrow().clone()
    }
}

fn why(error: &reqwest::Error) -> String {
    if let Some(status) = error.status() {
        return format!("it answers {}", status.as_u16());
    }
    if error.is_timeout() {
        return "it does not answer".to_owned();
    }
    let mut cause: &dyn Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    format!("it is not reachable: {cause}")
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::TcpListener;
    use std::sync::Mutex;

    use axum::Router;
    use axum::routing::get;
    use tokio::time::timeout;

    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    /// Asks with what each of three nodes makes of it, and answers who was asked.
    async fn asked(nodes: &Nodes, may_repeat: bool, made_of_it: [Heard; 3]) -> Vec<String> {
        let who = Mutex::new(Vec::new());
        let at = |url: &str| nodes.urls().position(|it| it == url).unwrap();
        nodes
            .ask(may_repeat, async |url: String| {
                who.lock().unwrap().push(url.clone());
                (made_of_it[at(&url)].clone(), ())
            })
            .await;
        who.into_inner().unwrap()
    }

    fn three() -> Nodes {
        Nodes::of(["a", "b", "c"])
    }

    fn nobody_there() -> Heard {
        Heard::NotSent("nobody there".to_owned())
    }

    #[tokio::test]
    async fn what_was_not_sent_goes_to_the_next_and_stays_there() {
        use Heard::Answer;
        let nodes = three();
        for may_repeat in [false, true] {
            let nodes = three();
            let heard = [nobody_there(), Answer, Answer];
            assert_eq!(asked(&nodes, may_repeat, heard).await, ["a", "b"]);
            // The dead address is asked no more.
            let heard = [Answer, Answer, Answer];
            assert_eq!(asked(&nodes, may_repeat, heard).await, ["b"]);
            assert_eq!(nodes.chosen(), "b");
        }
        // Where all are away, each is tried once more.
        for _ in 0..2 {
            let heard = [nobody_there(), nobody_there(), nobody_there()];
            assert_eq!(asked(&nodes, false, heard).await, ["a", "b", "c"]);
        }
        assert_eq!(nodes.away().count(), 3);
    }

    #[tokio::test]
    async fn what_was_lost_is_asked_again_only_if_it_may_be() {
        use Heard::{Answer, Lost};
        let nodes = three();
        assert_eq!(asked(&nodes, false, [Lost, Answer, Answer]).await, ["a"]);
        assert_eq!(
            asked(&nodes, true, [Lost, Answer, Answer]).await,
            ["a", "b"]
        );
        // One lost answer makes nobody away.
        assert_eq!(nodes.away().count(), 0);
        assert_eq!(
            asked(&nodes, true, [Lost, Lost, Lost]).await,
            ["b", "c", "a"]
        );
    }

    #[tokio::test]
    async fn half_is_no_majority() {
        let nodes = three();
        nodes.found(0, Err("gone".to_owned()));
        assert!(!nodes.majority_is_away());
        nodes.found(1, Err("gone".to_owned()));
        assert!(nodes.majority_is_away());
        nodes.found(0, Ok(()));
        assert!(!nodes.majority_is_away());
        let alone = Nodes::of(["a"]);
        alone.found(0, Err("gone".to_owned()));
        assert_eq!((alone.away().count(), alone.majority_is_away()), (0, false));
    }

    /// A node that answers, one that accepts connections and says nothing, and one that
    /// nobody listens at.
    #[tokio::test]
    async fn nodes_are_looked_at() {
        let well = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mute = TcpListener::bind("127.0.0.1:0").unwrap();
        let gone = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let url = |address| format!("http://{address}");
        let (at_well, at_mute) = (well.local_addr().unwrap(), mute.local_addr().unwrap());
        let nodes = Nodes::of([url(at_mute), url(gone), url(at_well)]);
        let router = Router::new().route("/health", get(async || "ok"));
        tokio::spawn(async move { axum::serve(well, router).await });
        nodes.watch(&reqwest::Client::new(), "/health");

        // Asked of the mute one while nobody knows, it goes on to the one that answers.
        let question = nodes.ask(true, async |url: String| {
            let asked = reqwest::get(format!("{url}/health")).await;
            match asked {
                Ok(answer) => (Heard::Answer, Ok(answer.status().as_u16())),
                Err(error) => (Heard::of(&error), Err(why(&error))),
            }
        });
        let said = timeout(SOON, question).await.expect("it is not waited for");
        assert_eq!(said, Ok(200));
        assert_eq!(nodes.chosen(), url(at_well));
        let mut away: Vec<_> = nodes
            .away()
            .map(|(url, away)| (url.to_owned(), away.why))
            .collect();
        away.sort();
        let mut expected = [
            (url(at_mute), "it does not answer"),
            (
                url(gone),
                "it is not reachable: Connection refused (os error 111)",
            ),
        ];
        expected.sort();
        let expected = expected.map(|(url, why)| (url, why.to_owned()));
        assert_eq!(away, expected);

        // It is back as soon as it answers.
        std::thread::spawn(move || {
            for connection in mute.incoming() {
                let mut connection = connection.unwrap();
                let _ = connection.write_all(
                    b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
                );
            }
        });
        let back = async {
            while nodes.away().count() > 1 {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(SOON, back).await.expect("it is found again");
        assert_eq!(nodes.away().next().unwrap().0, url(gone));
    }

    #[tokio::test]
    async fn nobody_looks_when_nobody_asks() {
        let nodes = three();
        nodes.watch(&reqwest::Client::new(), "/health");
        let still_there = Arc::downgrade(&nodes.0);
        drop(nodes);
        let ended = async {
            while still_there.upgrade().is_some() {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(SOON, ended).await.expect("the looks end");
    }
}
