//! People with passwords, for worlds in `AUTH_MODE=session`: the demo's are
//! refused there.

use std::io::Write as _;
use std::process::{Command, Stdio};

use super::World;

/// Who is there, and what they may do.
const PEOPLE: [(&str, &str); 3] = [
    ("alice", "customer"),
    ("bob", "customer"),
    ("admin", "admin"),
];

/// The password of a person in these worlds.
pub fn password(name: &str) -> String {
    format!("the tests' own {name}")
}

impl World {
    /// Makes alice, bob and the admin, with [`password`].
    pub(super) fn add_people(&self) {
        for (name, role) in PEOPLE {
            self.add_person(name, role);
        }
    }

    /// Makes one person, with [`password`], as an operator would.
    pub fn add_person(&self, name: &str, role: &str) {
        let email = format!("{name}@example.com");
        let mut gateway = self.gateway_command();
        gateway.args(["user", "create", name, "--role", role, "--email", &email]);
        type_into(&mut gateway, &password(name));
    }
}

/// Runs a command that asks for a password.
pub fn type_into(command: &mut Command, password: &str) {
    let mut running = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the gateway can be started");
    let mut asked = running.stdin.take().expect("it reads");
    writeln!(asked, "{password}").expect("it takes the password");
    drop(asked);
    let done = running.wait_with_output().expect("it ends");
    assert!(done.status.success(), "{done:?}");
}
