//! The launcher for those who are not written in Rust: the browser tests and
//! the demo. It is not shipped.
//!
//! - `launcher world`: a world of its own on free ports, in a temporary folder.
//! - `launcher traced`: the same, where clicks are traced.
//! - `launcher shop`: the same in session mode with nothing in it, for whoever opens it.
//! - `launcher demo`: the demo's ports and data, from the environment or as the
//!   README names them.
//! - `launcher cluster`: the same on three nodes of Restate, with two services and two
//!   gateways, at the ports that docs/operate.md names.
//! - `launcher gateway ARGUMENTS`: one command of the gateway with the demo's
//!   settings, such as `reconcile`.
//!
//! The first five write a JSON document a line, an [`Event`] each, and read a
//! [`Command`] a line. What dies by itself is started again. Everything ends
//! when standard input is closed, which is also how the end of whoever started
//! this is noticed, or on SIGTERM, SIGINT or SIGHUP; a second signal ends it at
//! once.

mod protocol;

use std::fs;
use std::future::pending;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::pin::Pin;
use std::process::ExitCode;
use std::time::Duration;

use launcher::launcher::{NotReady, on_free_ports, program};
use launcher::supervisor::{Alarms, Happening, Supervisor};
use launcher::{Component, Launcher, Plan, binaries, watchdog};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{interval, sleep};

use self::protocol::{Command, Event, Requests, What, say};

/// What the demo's processes may take to stop; those of a test have nothing to
/// finish.
const GRACE: Duration = Duration::from_secs(10);
/// How often the processes and their logs are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Lines of a log that are shown when its process is given up.
const LAST_LINES: usize = 20;

/// Why it ends; why it failed has been said by then.
enum End {
    Asked,
    Failed,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["gateway", arguments @ ..] => gateway(arguments),
        ["world"] => serve(async |requests| world(requests, |_| {}).await),
        ["traced"] => serve(async |requests| world(requests, traced).await),
        ["shop"] => serve(async |requests| world(requests, unopened).await),
        ["demo"] => kept(Plan::of_the_demo),
        ["cluster"] => kept(Plan::of_the_cluster),
        _ => complain("use: launcher world | traced | shop | demo | cluster | gateway ARGUMENTS"),
    }
}

fn complain(sentence: &str) -> ExitCode {
    // Nobody may be listening.
    let _ = writeln!(std::io::stderr(), "launcher: {sentence}");
    ExitCode::FAILURE
}

/// Becomes the gateway, with the demo's settings.
fn gateway(arguments: &[&str]) -> ExitCode {
    match Plan::of_the_demo().and_then(|plan| program(&plan, Component::Gateway)) {
        Ok(gateway) => {
            let error = gateway.command().args(arguments).exec();
            complain(&format!("the gateway could not be started: {error}"))
        }
        Err(why) => complain(&why),
    }
}

fn kept(plan: fn() -> Result<Plan, String>) -> ExitCode {
    watchdog::let_end_within(10);
    serve(async |requests| demo(plan, requests).await)
}

fn serve(run: impl AsyncFnOnce(Requests) -> End) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("tokio starts");
    let end = runtime.block_on(async {
        let requests = Requests::new().expect("signals can be heard");
        run(requests).await
    });
    match end {
        End::Asked => ExitCode::SUCCESS,
        End::Failed => ExitCode::FAILURE,
    }
}

/// A shop that nobody has opened yet, where browsers find it.
fn unopened(plan: &mut Plan) {
    plan.with_sessions();
    let shop = plan.addresses.shop();
    plan.set_for(Component::Gateway, "PUBLIC_URL", &shop);
}

/// A gateway that traces, to a collector that is away.
fn traced(plan: &mut Plan) {
    let nobody = "http://127.0.0.1:9";
    plan.set_for(Component::Gateway, "OTEL_EXPORTER_OTLP_ENDPOINT", nobody);
}

/// A world of its own, which leaves nothing behind.
async fn world(mut requests: Requests, differ: fn(&mut Plan)) -> End {
    if let Err(stale) = binaries::ours_up_to_date("launcher") {
        return failed(&stale.into());
    }
    let starting = on_free_ports(async || {
        let folder = tempfile::Builder::new()
            .prefix("waybill-world-")
            .tempdir()
            .map_err(|error| NotReady::from(format!("no folder can be made: {error}")))?;
        watchdog::folder_made(folder.path());
        let mut plan = Plan::apart(folder.path());
        plan.ready_within = Duration::from_mins(1);
        plan.crash_on_request();
        differ(&mut plan);
        if let Ok(files) = std::env::var("WEB_DIR") {
            plan.set_for(Component::Gateway, "WEB_DIR", &files);
        }
        // Dropped before the folder: processes must be gone when it is removed.
        let launcher = Launcher::new(plan)?;
        let seeded = launcher.start_all().await?;
        Ok((launcher, folder, seeded))
    });
    let started = tokio::select! {
        started = starting => started,
        () = requests.stop() => return End::Asked,
    };
    let (launcher, folder, seeded) = match started {
        Ok(started) => started,
        Err(failure) => return failed(&failure),
    };
    say(&ready(&launcher, seeded));
    let end = run(&launcher, None, Alarms::default(), &mut requests).await;
    drop(launcher);
    remove(folder).await;
    end
}

/// Whoever else writes into it is perhaps about to end, too.
async fn remove(folder: TempDir) {
    let folder = folder.keep();
    for _ in 0..30 {
        if fs::remove_dir_all(&folder).is_ok() {
            break;
        }
        sleep(Duration::from_millis(100)).await;
    }
}

/// The demo, which keeps its data.
async fn demo(plan: fn() -> Result<Plan, String>, mut requests: Requests) -> End {
    let launcher = match not_started(plan) {
        Ok(launcher) => launcher,
        Err(reasons) => {
            let log = String::new();
            say(&Event::Failed { reasons, log });
            return End::Failed;
        }
    };
    say(&Event::Starting {
        addresses: addresses(&launcher),
    });
    let mut alarms = Alarms::from_now_on(&launcher);
    // Until it serves, it warns of every question whether it does.
    for node in Component::NODES {
        alarms.leave(node);
    }
    let starting: Work<'_> = Box::pin(async {
        let seeded = launcher.start_all().await?;
        Ok(ready(&launcher, seeded))
    });
    let end = run(&launcher, Some(starting), alarms, &mut requests).await;
    tokio::select! {
        () = launcher.end(GRACE) => {}
        // Whoever asks again does not want to wait.
        () = requests.signalled() => {}
    }
    end
}

/// The demo's processes, none of them started; otherwise why not.
fn not_started(plan: fn() -> Result<Plan, String>) -> Result<Launcher, Vec<String>> {
    let plan = plan().map_err(|why| vec![why])?;
    let mut taken = plan.addresses.taken();
    if !taken.is_empty() {
        taken.push("nothing was started.".to_owned());
        return Err(taken);
    }
    Launcher::new(plan).map_err(|why| vec![why])
}

/// What ends in an event.
type Work<'a> = Pin<Box<dyn Future<Output = Result<Event, NotReady>> + 'a>>;

/// Keeps everything running and does what it is asked, one after the other,
/// until the end.
async fn run<'a>(
    launcher: &'a Launcher,
    mut work: Option<Work<'a>>,
    mut alarms: Alarms,
    requests: &mut Requests,
) -> End {
    let mut supervisor = Supervisor::default();
    let mut looks = interval(LOOK_EVERY);
    loop {
        if work.is_none()
            && let Some(command) = requests.waiting.pop_front()
        {
            match command {
                Ok(command) => {
                    supervisor.leave(command.part);
                    if command.what == What::Restart {
                        alarms.leave(command.part);
                    }
                    work = Some(Box::pin(obey(launcher, command)));
                }
                Err(nonsense) => return failed(&nonsense.into()),
            }
        }
        let working = async {
            match &mut work {
                Some(work) => work.await,
                None => pending().await,
            }
        };
        tokio::select! {
            done = working => {
                work = None;
                warn(&mut alarms, launcher);
                match done {
                    Ok(event) => say(&event),
                    Err(failure) => return failed(&failure),
                }
                alarms.follow_all(launcher);
            }
            request = requests.next() => match request {
                Some(command) => requests.waiting.push_back(command),
                None => return End::Asked,
            },
            _ = looks.tick() => {
                for happening in supervisor.look(launcher) {
                    match told(launcher, happening) {
                        Ok(event) => say(&event),
                        Err(failure) => return failed(&failure),
                    }
                }
                warn(&mut alarms, launcher);
            }
        }
    }
}

/// Says what the logs warn of.
fn warn(alarms: &mut Alarms, launcher: &Launcher) {
    for (part, line) in alarms.look(launcher) {
        say(&Event::Said { part, line });
    }
}

async fn obey(launcher: &Launcher, Command { what, part }: Command) -> Result<Event, NotReady> {
    let is_running = launcher.is_running(part);
    match what {
        What::Kill => {
            if is_running {
                launcher.kill(part);
            }
            Ok(Event::Killed { part })
        }
        What::Start => {
            // A supervisor may have been faster.
            if !is_running {
                launcher.launch(part, &[]);
            }
            launcher.ready(part).await?;
            Ok(Event::Serves { part })
        }
        What::Restart => {
            if is_running {
                launcher.stop_within(part, GRACE).await;
            }
            launcher.launch(part, &[]);
            let pid = launcher.process_id(part);
            Ok(Event::Restarted { part, pid })
        }
    }
}

/// As an event; a failure where it was given up.
fn told(launcher: &Launcher, happening: Happening) -> Result<Event, NotReady> {
    match happening {
        Happening::Ended {
            component: part,
            how,
            pause,
        } => Ok(Event::Ended {
            part,
            how,
            again_in_seconds: pause.as_secs_f64(),
            log: launcher.program(part).log.display().to_string(),
        }),
        Happening::Started(part) => {
            let pid = launcher.process_id(part);
            Ok(Event::Started { part, pid })
        }
        Happening::GaveUp { component, why } => {
            let program = launcher.program(component);
            Err(NotReady {
                why: format!("{why}. Its last lines, all in {}:", program.log.display()),
                component: Some(component),
                log: program.last_lines(LAST_LINES),
            })
        }
    }
}

fn ready(launcher: &Launcher, seeded: String) -> Event {
    let running = launcher
        .programs()
        .filter(|(part, _)| launcher.is_running(*part));
    let processes = running.map(|(part, _)| (part.to_string(), launcher.process_id(part)));
    let plan = launcher.plan();
    let command = launcher.gateway_command();
    let told = command.get_envs().filter_map(|(name, value)| {
        let value = value?.to_string_lossy().into_owned();
        Some((name.to_string_lossy().into_owned(), Value::from(value)))
    });
    Event::Ready {
        addresses: addresses(launcher),
        settings: told.collect(),
        folder: plan.folder.display().to_string(),
        logs: plan.logs.display().to_string(),
        processes: processes.collect(),
        seeded,
    }
}

fn addresses(launcher: &Launcher) -> Value {
    let at = launcher.addresses();
    json!({
        "shop": at.shop(),
        "ingresses": at.each_node(|node| at.ingress_of(node)),
        "admins": at.each_node(|node| at.admin_of(node)),
        "nodes": at.each_node(|node| at.node(node)),
        "gateway": at.gateway(0),
        "sandbox": at.sandbox(),
        "services": at.services(0),
        "services_ops": at.services_ops(0),
        "ingress": at.ingress(),
        "admin": at.admin(),
    })
}

/// Says why it ends.
fn failed(failure: &NotReady) -> End {
    let lines: Vec<_> = failure.log.lines().collect();
    let last = &lines[lines.len().saturating_sub(LAST_LINES)..];
    let name = failure.component.map_or("", Component::name);
    let log: Vec<_> = last
        .iter()
        .map(|line| format!("  {name} | {line}"))
        .collect();
    say(&Event::Failed {
        reasons: vec![failure.why.clone()],
        log: log.join("\n"),
    });
    End::Failed
}
