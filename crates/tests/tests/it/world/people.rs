//! People with passwords, for worlds in `AUTH_MODE=session`: the demo's are
//! refused there.

use std::time::Duration;

use argon2::Argon2;
use argon2::password_hash::{PasswordHasher as _, phc::PasswordHash};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _};

use super::World;

/// Who is there, and what they may do.
const PEOPLE: [(&str, &str, &str); 3] = [
    ("alice", "customer", "International"),
    ("bob", "customer", "Domestic"),
    ("admin", "admin", "Local"),
];

/// The password of a person in these worlds.
pub fn password(name: &str) -> String {
    format!("the tests' own {name}")
}

impl World {
    /// Makes alice, bob and the admin, with [`password`].
    pub(super) async fn add_people(&self) {
        for (name, role, zone) in PEOPLE {
            self.add_person(name, role, zone).await;
        }
    }

    /// Makes one person, with [`password`].
    async fn add_person(&self, name: &str, role: &str, zone: &str) {
        let password = password(name);
        let hash: PasswordHash = Argon2::default()
            .hash_password(password.as_bytes())
            .expect("a password can be hashed");
        let mut file: SqliteConnection = SqliteConnectOptions::new()
            .filename(self.database())
            .busy_timeout(Duration::from_secs(5))
            .connect()
            .await
            .expect("the gateway's file can be opened");
        sqlx::query(
            "INSERT INTO users (username, email, role, address, default_zone, password_hash)
             VALUES (?1, ?1 || '@example.com', ?2, '1 Test Street', ?3, ?4)",
        )
        .bind(name)
        .bind(role)
        .bind(zone)
        .bind(hash.to_string())
        .execute(&mut file)
        .await
        .expect("a person can be added");
        file.close().await.expect("the file can be closed");
    }
}
