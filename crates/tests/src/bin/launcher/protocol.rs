//! What the launcher says and what it is told: a JSON document a line each way.

use std::collections::VecDeque;
use std::io::Write as _;

use launcher::Component;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// What is told to whoever started this.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum Event {
    /// The ports are free; now everything is started.
    Starting { addresses: Value },
    /// Everything serves.
    Ready {
        addresses: Value,
        /// What the gateway is told, for whoever runs one of its commands.
        settings: Value,
        folder: String,
        logs: String,
        /// The number of each process.
        processes: Value,
        /// What the gateway said about the demo's products and people.
        seeded: String,
    },
    /// A process has ended by itself.
    Ended {
        part: Component,
        how: String,
        again_in_seconds: f64,
        log: String,
    },
    /// It was started again.
    Started { part: Component, pid: u32 },
    /// A process was stopped and started, after a command.
    Restarted { part: Component, pid: u32 },
    /// A process serves, after a command.
    Serves { part: Component },
    /// A process is gone, after a command.
    Killed { part: Component },
    /// A line of a log that a person should see.
    Said { part: Component, line: String },
    /// It cannot go on: why, in sentences, and the last lines of a log, where one
    /// tells more. Everything ends.
    Failed { reasons: Vec<String>, log: String },
}

/// What whoever started this may want: `{"do": "kill", "part": "gateway"}`.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Command {
    #[serde(rename = "do")]
    pub what: What,
    pub part: Component,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum What {
    /// End it with SIGKILL, and do not start it again. Answered by
    /// [`Event::Killed`].
    Kill,
    /// Start it and wait until it serves. Answered by [`Event::Serves`].
    Start,
    /// Stop it with SIGTERM and start it. Answered by [`Event::Restarted`].
    Restart,
}

/// Says it on standard output.
pub fn say(event: &Event) {
    let line = serde_json::to_string(event).expect("an event is JSON");
    // Who no longer listens must not keep us from cleaning up.
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}");
    let _ = out.flush();
}

/// What whoever started this wants.
pub struct Requests {
    commands: UnboundedReceiver<Result<Command, String>>,
    /// Those that came while another was being obeyed.
    pub waiting: VecDeque<Result<Command, String>>,
    signals: [Signal; 3],
}

impl Requests {
    pub fn new() -> std::io::Result<Self> {
        let (sender, commands) = unbounded_channel();
        // A thread of its own: a read of standard input cannot be broken off.
        std::thread::spawn(move || {
            for line in std::io::stdin().lines().map_while(Result::ok) {
                let command = serde_json::from_str(&line)
                    .map_err(|error| format!("{line} is no command: {error}"));
                if sender.send(command).is_err() {
                    break;
                }
            }
        });
        Ok(Self {
            commands,
            waiting: VecDeque::new(),
            signals: [
                signal(SignalKind::terminate())?,
                signal(SignalKind::interrupt())?,
                signal(SignalKind::hangup())?,
            ],
        })
    }

    /// The next command; none when all is to end.
    pub async fn next(&mut self) -> Option<Result<Command, String>> {
        let [terminate, interrupt, hangup] = &mut self.signals;
        tokio::select! {
            command = self.commands.recv() => command,
            _ = terminate.recv() => None,
            _ = interrupt.recv() => None,
            _ = hangup.recv() => None,
        }
    }

    /// Until all is to end.
    pub async fn stop(&mut self) {
        while let Some(command) = self.next().await {
            self.waiting.push_back(command);
        }
    }

    /// Until a signal comes.
    pub async fn signalled(&mut self) {
        let [terminate, interrupt, hangup] = &mut self.signals;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}
