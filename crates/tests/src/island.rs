//! A network of its own for one process (a network namespace of Linux), which reaches this
//! machine and is reached from it by one cable. The cable can be cut: then nobody hears
//! from the other any more, and nobody is told, as when a machine is cut off.
//!
//! Both sides have loopback only. Whoever connects to a port on one side is connected to
//! the same port on the other.

use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{self, Handle};
use tokio::sync::watch;

use crate::plan::{Component, Plan};
use crate::process::Program;

/// Ends with what owns it, and with it its network.
pub struct Island {
    /// Whether the cable is cut.
    cable: watch::Sender<bool>,
    network: PathBuf,
}

/// A thread that carries what comes and goes on its side.
struct Side {
    tasks: Handle,
    network: PathBuf,
}

impl Island {
    /// For a node of the plan.
    pub fn of_node(plan: &Plan, node: Component) -> Result<Self, String> {
        let (to_it, from_it) = plan.addresses.around_node(node.copy());
        Self::new(&to_it, &from_it)
    }

    /// `to_it` are the ports at which the process listens, `from_it` those of others that
    /// it calls. An error says in a sentence why this machine has no such networks.
    pub fn new(to_it: &[u16], from_it: &[u16]) -> Result<Self, String> {
        let (cable, end) = watch::channel(false);
        let shore = Side::open(end.clone(), || Ok(()))?;
        let island = Side::open(end.clone(), leave)?;
        for (ports, here, there) in [(to_it, &shore, &island), (from_it, &island, &shore)] {
            for port in ports {
                here.carry(*port, there, &end)?;
            }
        }
        Ok(Self {
            cable,
            network: island.network,
        })
    }

    /// From now on the program is started in there.
    pub fn hold(&self, program: &mut Program) {
        let itself = program.binary.display().to_string();
        let first = [self.argument(), itself];
        program.arguments.splice(0..0, first);
        program.binary = PathBuf::from("nsenter");
    }

    /// For `nsenter`.
    fn argument(&self) -> String {
        format!("--net={}", self.network.display())
    }

    /// Cuts the cable: what is on its way waits, connections stay open.
    pub fn cut(&self) {
        self.cable.send_replace(true);
    }

    /// Mends it.
    pub fn mend(&self) {
        self.cable.send_replace(false);
    }
}

/// Takes the calling thread, and what it starts, to a network of its own.
#[cfg(target_os = "linux")]
fn leave() -> Result<(), String> {
    use nix::sched::{CloneFlags, unshare};

    unshare(CloneFlags::CLONE_NEWNET)
        .map_err(|error| format!("this process may make no network of its own: {error}"))?;
    let up = std::process::Command::new("ip")
        .args(["link", "set", "lo", "up"])
        .status();
    match up {
        Ok(status) if status.success() => Ok(()),
        other => Err(format!("`ip link set lo up` failed: {other:?}")),
    }
}

#[cfg(not(target_os = "linux"))]
fn leave() -> Result<(), String> {
    Err("only Linux has networks of that kind".to_owned())
}

/// The network of the calling thread, as `nsenter` finds it.
#[cfg(target_os = "linux")]
fn network() -> PathBuf {
    use nix::unistd::{getpid, gettid};

    PathBuf::from(format!("/proc/{}/task/{}/ns/net", getpid(), gettid()))
}

#[cfg(not(target_os = "linux"))]
fn network() -> PathBuf {
    PathBuf::new()
}

impl Side {
    /// Runs until the cable's owner is gone. `enter` is called in its thread first.
    fn open(
        mut end: watch::Receiver<bool>,
        enter: impl FnOnce() -> Result<(), String> + Send + 'static,
    ) -> Result<Self, String> {
        let (say, hear) = mpsc::channel();
        thread::spawn(move || {
            let entered = enter().and_then(|()| {
                let tasks = runtime::Builder::new_current_thread().enable_io().build();
                tasks.map_err(|error| error.to_string())
            });
            let tasks = match entered {
                Ok(tasks) => tasks,
                Err(why) => return drop(say.send(Err(why))),
            };
            let side = Self {
                tasks: tasks.handle().clone(),
                network: network(),
            };
            let _ = say.send(Ok(side));
            tasks.block_on(async { while end.changed().await.is_ok() {} });
        });
        hear.recv().map_err(|error| error.to_string())?
    }

    /// Listens at `port` here for who listens there on the other side.
    fn carry(&self, port: u16, other: &Side, cable: &watch::Receiver<bool>) -> Result<(), String> {
        let (say, hear) = mpsc::channel();
        let (there, mut cable) = (other.tasks.clone(), cable.clone());
        self.tasks.spawn(async move {
            let listener = match TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await {
                Ok(listener) => listener,
                // Worded as a process says that its port is in use.
                Err(error) => return drop(say.send(Err(format!("port {port}: {error}")))),
            };
            let _ = say.send(Ok(()));
            loop {
                // A machine that is out of connections has some again soon.
                let Ok((from, _)) = listener.accept().await else {
                    continue;
                };
                if is_whole(&mut cable).await.is_err() {
                    return;
                }
                tokio::spawn(connect(from, port, there.clone(), cable.clone()));
            }
        });
        hear.recv().map_err(|error| error.to_string())?
    }
}

/// Connects with that port on the other side, whose tasks make the connection.
async fn connect(
    from: TcpStream,
    port: u16,
    there: Handle,
    cable: watch::Receiver<bool>,
) -> io::Result<()> {
    let connecting = async move {
        let connected = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        connected.set_nodelay(true)?;
        connected.into_std()
    };
    let to = TcpStream::from_std(there.spawn(connecting).await??)?;
    from.set_nodelay(true)?;
    let ((from_read, from_write), (to_read, to_write)) = (from.into_split(), to.into_split());
    tokio::spawn(pass(to_read, from_write, cable.clone()));
    pass(from_read, to_write, cable).await
}

/// Passes on what comes, in one direction, while the cable is whole.
async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut cable: watch::Receiver<bool>,
) -> io::Result<()> {
    let mut piece = vec![0; 16 << 10];
    loop {
        let length = from.read(&mut piece).await;
        is_whole(&mut cable).await?;
        match length? {
            0 => return to.shutdown().await,
            length => to.write_all(&piece[..length]).await?,
        }
    }
}

/// Waits until the cable is whole; an error when it is gone.
async fn is_whole(cable: &mut watch::Receiver<bool>) -> io::Result<()> {
    let whole = cable.wait_for(|is_cut| !is_cut).await;
    whole.map(drop).map_err(io::Error::other)
}

#[cfg(test)]
#[expect(clippy::print_stderr, reason = "why it is not tested")]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener as StdListener;
    use std::process::Command;
    use std::time::Duration;

    use super::*;

    /// A port that is free now.
    fn free() -> u16 {
        let listener = StdListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.local_addr().unwrap().port()
    }

    #[test]
    fn a_cable_carries_waits_and_carries_on() {
        let (port, ours) = (free(), StdListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
        let our_port = ours.local_addr().unwrap().port();
        let island = match Island::new(&[port], &[our_port]) {
            Ok(island) => island,
            Err(why) => return eprintln!("not tested: {why}"),
        };
        // Whoever is in there connects to us, and we hear what they say, but not meanwhile.
        let script = format!(
            "exec 3<>/dev/tcp/127.0.0.1/{our_port}; echo one >&3; read -u 3 line; echo \"$line again\" >&3"
        );
        let arguments = [&island.argument(), "bash", "-c", &script];
        let mut inside = Command::new("nsenter").args(arguments).spawn().unwrap();
        let (mut heard, _) = ours.accept().unwrap();
        let mut said = [0; 4];
        heard.read_exact(&mut said).unwrap();
        assert_eq!(&said, b"one\n");

        island.cut();
        heard.write_all(b"two\n").unwrap();
        let patience = Some(Duration::from_millis(500));
        heard.set_read_timeout(patience).unwrap();
        let silence = heard.read(&mut said).unwrap_err();
        assert_eq!(silence.kind(), io::ErrorKind::WouldBlock);

        island.mend();
        let mut rest = String::new();
        heard.set_read_timeout(None).unwrap();
        heard.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "two again\n");
        assert!(inside.wait().unwrap().success());
    }
}
