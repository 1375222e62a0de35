//! People with passwords, for worlds in `AUTH_MODE=session`: the demo's are
//! refused there.

use std::io::Write as _;
use std::process::{Command, Stdio};

use super::World;

/// Who is there, and what they may do.
const PEOPLE: [(&str, &str); 2] = [("alice", "customer"), ("bob", "customer")];
/// Where orders can be shipped, and for how much.
const ZONES: [&str; 4] = [
    "Local=5.00",
    "Domestic=10.00",
    "Continental=25.00",
    "International=50.00",
];
/// The demo's products.
const CATALOG: &str = include_str!("catalog.csv");

/// The password of a person in these worlds.
pub fn password(name: &str) -> String {
    format!("the tests' own {name}")
}

impl World {
    /// Makes the first admin, with [`password`], zones and products, as an operator would.
    pub(super) fn open_shop(&self) {
        let mut init = self.gateway_command();
        init.args(["init", "admin", "--email", "admin@example.com"]);
        for zone in ZONES {
            init.args(["--zone", zone]);
        }
        type_into(&mut init, &password("admin"));
        let mut import = self.gateway_command();
        type_into(import.args(["catalog", "import", "-"]), CATALOG);
    }

    /// Makes alice and bob, with [`password`].
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

/// Runs a command that asks for a password, or for a file.
pub fn type_into(command: &mut Command, text: &str) {
    let mut running = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the gateway can be started");
    let mut asked = running.stdin.take().expect("it reads");
    writeln!(asked, "{text}").expect("it takes the text");
    drop(asked);
    let done = running.wait_with_output().expect("it ends");
    assert!(done.status.success(), "{done:?}");
}
