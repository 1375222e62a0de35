//! The passwords of the demo's users, which everybody knows.

use sha2::{Digest, Sha256};

use super::password;

/// Who has one.
pub const USERS: [&str; 3] = ["alice", "bob", "admin"];

/// The password of a demo's user.
pub fn of(user: &str) -> String {
    format!("{user}-demo")
}

/// Its hash. Salted with the name, so that a catalog that is loaded again does not
/// look like another one.
pub fn hash_of(user: &str) -> anyhow::Result<String> {
    let salt = Sha256::digest(format!("waybill demo {user}"));
    password::hash(&of(user), Some(&salt[..16]))
}

/// Whether everybody knows this password of this user.
pub fn is_known(user: &str, password: &str) -> bool {
    USERS.contains(&user) && password == of(user)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::identity::hash_queue::HashQueue;

    #[tokio::test]
    async fn the_demo_passwords_open_and_stay_the_same() {
        let hash = hash_of("alice").unwrap();
        assert_eq!(hash, hash_of("alice").unwrap());
        let queue = HashQueue::default();
        let turn = queue.turn(Ipv4Addr::LOCALHOST.into(), true).await.unwrap();
        let verified = password::verify(turn, of("alice"), Some(hash)).await;
        assert!(verified.unwrap());
    }

    #[test]
    fn a_demo_password_is_known_with_its_name_only() {
        assert!(is_known("admin", "admin-demo"));
        assert!(!is_known("admin", "alice-demo"));
        assert!(!is_known("carol", "carol-demo"));
    }
}
