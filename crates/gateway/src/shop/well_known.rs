//! Nobody gets in with a password from the README, outside the demo.

use std::net::Ipv4Addr;

use process::settings::WrongSetting;
use waybill_domain::ids::Username;

use crate::http::problem::Problem;
use crate::identity::hash_queue::HashQueue;
use crate::identity::{demo_password, password};
use crate::storage::db::Db;
use crate::storage::users;

/// Whether no user has the demo's password any more, however it was stored.
///
/// # Errors
/// [`WrongSetting`] names those who have; anything else when they cannot be read.
pub async fn check(db: &Db) -> anyhow::Result<()> {
    let queue = HashQueue::default();
    let mut known = Vec::new();
    for name in demo_password::USERS {
        let Ok(user) = Username::parse(name) else {
            continue;
        };
        let hash = users::user(db, &user)
            .await?
            .and_then(|it| it.password_hash);
        let is_known = match hash {
            None => false,
            Some(hash) => is_of(&queue, name, hash)
                .await
                .map_err(|problem| anyhow::anyhow!("{}", problem.detail))?,
        };
        if is_known {
            known.push(name);
        }
    }
    let Some((last, others)) = known.split_last() else {
        return Ok(());
    };
    let names = match others {
        [] => (*last).to_owned(),
        others => format!("{} and {last}", others.join(", ")),
    };
    let has = if others.is_empty() { "has" } else { "have" };
    Err(WrongSetting(format!(
        "{names} {has} the demo's password, which everybody knows: give each a new one with `gateway user passwd NAME`, or name a new file in DATABASE_URL, or set AUTH_MODE=demo"
    ))
    .into())
}

async fn is_of(queue: &HashQueue, name: &str, hash: String) -> Result<bool, Problem> {
    let turn = queue.turn(Ipv4Addr::LOCALHOST.into(), true).await?;
    password::verify(turn, demo_password::of(name), Some(hash)).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::db;
    use crate::storage::users::NewUser;

    async fn add(db: &Db, name: &str, password_hash: &str) {
        let user = NewUser {
            username: name,
            email: &format!("{name}@example.com"),
            role: "customer",
            address: "",
            default_zone: "Local",
            password_hash,
        };
        let mut transaction = db.begin().await.unwrap();
        assert!(users::add(&mut transaction, &user).await.unwrap());
        transaction.commit().await.unwrap();
    }

    #[tokio::test]
    async fn those_with_a_known_password_are_named_whatever_its_salt() {
        let (_folder, db) = db::temporary().await;
        check(&db).await.unwrap();
        add(&db, "bob", &password::hash("one of his own", None).unwrap()).await;
        check(&db).await.unwrap();
        add(&db, "alice", &demo_password::hash_of("alice").unwrap()).await;
        let refused = check(&db).await.unwrap_err();
        assert!(refused.is::<WrongSetting>());
        let said = refused.to_string();
        assert!(said.starts_with("alice has the demo's password"), "{said}");
        add(&db, "admin", &password::hash("admin-demo", None).unwrap()).await;
        let said = check(&db).await.unwrap_err().to_string();
        assert!(
            said.starts_with("alice and admin have the demo's"),
            "{said}"
        );
    }
}
