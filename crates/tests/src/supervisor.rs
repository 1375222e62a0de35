//! What a supervisor does: starts again what has died by itself, gives up where
//! that does not help, and says what the logs warn of.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::launcher::Launcher;
use crate::plan::Component;
use crate::process::Program;

/// Whoever dies sooner after a start has died quickly.
const QUICK_DEATH: Duration = Duration::from_secs(10);
/// So many quick deaths in a row: starting it again does not help.
const QUICK_DEATHS_ALLOWED: u32 = 5;
/// Before the first start; twice as long before each next.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// Of one process. An outage warns once per order and retry: a few lines show
/// it, the log has them all.
const ALARMS_PER_SECOND: u32 = 3;
/// Read of a log at a time; what a log gains beyond it comes with the next look.
const READ_AT_ONCE: u64 = 1 << 20;

/// Keeps the processes of a launcher running.
#[derive(Default)]
pub struct Supervisor {
    quick_deaths: BTreeMap<Component, u32>,
    due: BTreeMap<Component, Instant>,
}

/// What a supervisor has seen or done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happening {
    /// A process has ended by itself and will be started again.
    Ended {
        /// Which.
        component: Component,
        /// "was ended by SIGKILL", "exited with code 1".
        how: String,
        /// When it is started again.
        pause: Duration,
    },
    /// It was started again.
    Started(Component),
    /// It will not be.
    GaveUp {
        /// Which.
        component: Component,
        /// The whole sentence.
        why: String,
    },
}

impl Supervisor {
    /// Looks at every process once.
    pub fn look(&mut self, launcher: &Launcher) -> Vec<Happening> {
        let mut seen = Vec::new();
        for (component, status, lived) in launcher.dead() {
            seen.push(self.died(component, &how(status), lived));
        }
        let now = Instant::now();
        let due: Vec<Component> = self
            .due
            .extract_if(.., |_, at| *at <= now)
            .map(|(component, _)| component)
            .collect();
        for component in due {
            launcher.launch(component, &[]);
            seen.push(Happening::Started(component));
        }
        seen
    }

    /// It is somebody else who starts it now, or nobody.
    pub fn leave(&mut self, component: Component) {
        self.due.remove(&component);
    }

    fn died(&mut self, component: Component, how: &str, lived: Duration) -> Happening {
        let deaths = self.quick_deaths.entry(component).or_default();
        *deaths = if lived < QUICK_DEATH { *deaths + 1 } else { 0 };
        if *deaths >= QUICK_DEATHS_ALLOWED {
            let within = QUICK_DEATH.as_secs();
            return Happening::GaveUp {
                component,
                why: format!(
                    "{component} {how}, for the {QUICK_DEATHS_ALLOWED}th time within {within} s \
                     of its start"
                ),
            };
        }
        let pause = FIRST_PAUSE * 2_u32.pow(deaths.saturating_sub(1));
        self.due.insert(component, Instant::now() + pause);
        Happening::Ended {
            component,
            how: how.to_owned(),
            pause,
        }
    }
}

fn how(status: ExitStatus) -> String {
    let signal = status
        .signal()
        .and_then(|signal| Signal::try_from(signal).ok());
    match (signal, status.code()) {
        (Some(signal), _) => format!("was ended by {signal}"),
        (None, Some(code)) => format!("exited with code {code}"),
        (None, None) => status.to_string(),
    }
}

/// Reads the logs for what a person should see at once; the default reads none.
#[derive(Default)]
pub struct Alarms {
    logs: BTreeMap<Component, Option<Tail>>,
}

impl Alarms {
    /// From the end of what each log has now.
    pub fn from_now_on(launcher: &Launcher) -> Self {
        let components = launcher.programs().map(|(component, _)| (component, None));
        let mut alarms = Self {
            logs: components.collect(),
        };
        alarms.follow_all(launcher);
        alarms
    }

    /// The alarming lines since the last look.
    pub fn look(&mut self, launcher: &Launcher) -> Vec<(Component, String)> {
        let mut alarms = Vec::new();
        for (component, tail) in &mut self.logs {
            if let Some(tail) = tail {
                let lines = tail.alarms(launcher.program(*component));
                alarms.extend(lines.into_iter().map(|line| (*component, line)));
            }
        }
        alarms
    }

    /// What it says until [`Self::follow_all`] is of no interest: it is asked to
    /// stop.
    pub fn leave(&mut self, component: Component) {
        if let Some(tail) = self.logs.get_mut(&component) {
            *tail = None;
        }
    }

    /// Reads on in logs that were left, from what each has now.
    pub fn follow_all(&mut self, launcher: &Launcher) {
        for (component, tail) in &mut self.logs {
            tail.get_or_insert_with(|| Tail::at_the_end(launcher.program(*component)));
        }
    }
}

/// The end of one log.
struct Tail {
    read: u64,
    rest: Vec<u8>,
    second: Instant,
    shown: u32,
}

impl Tail {
    fn at_the_end(program: &Program) -> Self {
        Self {
            read: program.log_length(),
            rest: Vec::new(),
            second: Instant::now(),
            shown: 0,
        }
    }

    fn alarms(&mut self, program: &Program) -> Vec<String> {
        if let Ok(mut log) = File::open(&program.log)
            && log.seek(SeekFrom::Start(self.read)).is_ok()
            && let Ok(read) = log.take(READ_AT_ONCE).read_to_end(&mut self.rest)
        {
            self.read += read as u64;
        }
        let Some(end) = self.rest.iter().rposition(|byte| *byte == b'\n') else {
            return Vec::new();
        };
        let whole: Vec<u8> = self.rest.drain(..=end).collect();
        let text = String::from_utf8_lossy(&whole);
        let alarming = text.lines().filter(|line| is_alarming(line));
        alarming
            .filter_map(|line| self.show(line, program))
            .collect()
    }

    fn show(&mut self, line: &str, program: &Program) -> Option<String> {
        if self.second.elapsed() >= Duration::from_secs(1) {
            self.second = Instant::now();
            self.shown = 0;
        }
        self.shown += 1;
        if self.shown <= ALARMS_PER_SECOND {
            Some(line.to_owned())
        } else if self.shown == ALARMS_PER_SECOND + 1 {
            let log = program.log.display();
            Some(format!("… and more like these in {log}"))
        } else {
            None
        }
    }
}

/// `TIME LEVEL …`, as all our processes and Restate write, or a panic.
fn is_alarming(line: &str) -> bool {
    let level = line.split_whitespace().nth(1).unwrap_or_default();
    let level = level.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
    let begins_with_a_time = !line.starts_with(char::is_whitespace);
    (begins_with_a_time && matches!(level, "WARN" | "ERROR")) || line.contains("panicked at")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_errors_and_panics_are_alarming() {
        for line in [
            "2026-11-25T23:30:39Z  WARN gateway::live: lost",
            "2026-11-25T23:30:39Z ERROR: lost",
            "thread 'main' panicked at src/main.rs:1:1:",
        ] {
            assert!(is_alarming(line), "{line}");
        }
        for line in [
            "2026-11-25T23:30:39Z  INFO gateway: ERROR is a word",
            "  WARN is indented WARN",
            "2026-11-25T23:30:39Z WARNING",
            "",
        ] {
            assert!(!is_alarming(line), "{line}");
        }
    }

    #[test]
    fn who_dies_at_once_is_given_up_at_the_fifth_time() {
        let mut supervisor = Supervisor::default();
        let mut die = |lived| {
            let how = "exited with code 1";
            supervisor.died(Component::Services, how, Duration::from_secs(lived))
        };
        let pause = |happening| match happening {
            Happening::Ended { pause, .. } => pause.as_millis(),
            other => panic!("{other:?}"),
        };
        assert_eq!(pause(die(60)), 500);
        let pauses: Vec<_> = (0..4).map(|_| pause(die(1))).collect();
        assert_eq!(pauses, [500, 1000, 2000, 4000]);
        let Happening::GaveUp { why, .. } = die(1) else {
            panic!("it goes on");
        };
        assert_eq!(
            why,
            "services exited with code 1, for the 5th time within 10 s of its start"
        );
    }
}
