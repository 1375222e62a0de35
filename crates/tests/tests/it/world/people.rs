//! The people of a world with `AUTH_MODE=session`: those of the demo, with
//! passwords that nobody knows from the README.

use std::path::Path;

use launcher::Launcher;
use launcher::launcher::NotReady;
use sqlx::Connection as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

/// A name and argon2id of its [`password`].
const PEOPLE: [(&str, &str); 3] = [
    (
        "alice",
        "$argon2id$v=19$m=19456,t=2,p=1$OkD1CFGBa7/z7/eM+g2cXg$9+A1GcXlxslTp5SKqqh37MQBgAMzAp6wn2eVp48wLn0",
    ),
    (
        "bob",
        "$argon2id$v=19$m=19456,t=2,p=1$kEPx3iwrCZ994se+inz5cg$N2yzUX7sMucuDto9Ic26CbJMvTx1w+eouVvT2YFKuJg",
    ),
    (
        "admin",
        "$argon2id$v=19$m=19456,t=2,p=1$1/Ow37uCjWpP7rb6a3ExxQ$JR8WKkHUlJkPfprOw9QrH1qQ325ZFoQOZvf3gHfKhXA",
    ),
];

/// The password of one of the people.
pub fn password(name: &str) -> String {
    format!("{name}-of-the-tests")
}

/// Puts the people into the gateway's file `database`, before it serves.
pub(super) async fn prepare(launcher: &Launcher, database: &Path) -> Result<(), NotReady> {
    // The file, its tables, and products and zones.
    launcher.seed(launcher::Component::Gateway)?;
    set_passwords(database)
        .await
        .map_err(|error| NotReady::from(format!("the people could not be prepared: {error}")))
}

async fn set_passwords(database: &Path) -> sqlx::Result<()> {
    let options = SqliteConnectOptions::new().filename(database);
    let mut db = SqliteConnection::connect_with(&options).await?;
    for (name, hash) in PEOPLE {
        let set = sqlx::query("UPDATE users SET password_hash = ? WHERE username = ?")
            .bind(hash)
            .bind(name)
            .execute(&mut db)
            .await?;
        assert_eq!(set.rows_affected(), 1, "the demo has a user {name}");
    }
    db.close().await
}
