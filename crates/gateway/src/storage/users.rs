//! Users and tokens in SQLite.

use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};
use waybill_domain::Timestamp;
use waybill_domain::ids::Username;

use super::db::Db;
use crate::identity::caller::{Caller, Role};

/// A user, as far as the gateway needs to know them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// What they may do.
    pub role: Role,
    /// Where to write to them.
    pub email: String,
    /// Where their orders go unless they say otherwise.
    pub address: Option<String>,
    /// The shipping zone of that address.
    pub default_zone: Option<String>,
    /// argon2id in PHC form; without one nobody can log in.
    pub password_hash: Option<String>,
}

/// Their role; a name that nobody knows may do least.
fn role_of(row: &SqliteRow) -> sqlx::Result<Role> {
    let name: String = row.try_get("role")?;
    Ok(Role::parse(&name).unwrap_or(Role::Customer))
}

/// The user of that name.
pub async fn user(db: &Db, name: &Username) -> sqlx::Result<Option<User>> {
    let row = sqlx::query(
        "SELECT role, email, address, default_zone, password_hash FROM users WHERE username = ?",
    )
    .bind(name.as_str())
    .fetch_optional(&db.read)
    .await?;
    row.map(|row| {
        Ok(User {
            role: role_of(&row)?,
            email: row.try_get("email")?,
            address: row.try_get("address")?,
            default_zone: row.try_get("default_zone")?,
            password_hash: row.try_get("password_hash")?,
        })
    })
    .transpose()
}

/// Everybody who can sign in, for the demo's personas: name and role.
pub async fn personas(db: &Db) -> sqlx::Result<Vec<(String, Role)>> {
    let rows = sqlx::query("SELECT username, role FROM users ORDER BY id LIMIT 20")
        .fetch_all(&db.read)
        .await?;
    rows.iter()
        .map(|row| Ok((row.try_get("username")?, role_of(row)?)))
        .collect()
}

/// Whose token has that hash.
pub async fn caller_of_token(db: &Db, hash: &[u8; 32]) -> sqlx::Result<Option<Caller>> {
    let row = sqlx::query(
        "SELECT users.username, users.role FROM api_tokens
         JOIN users ON users.id = api_tokens.user_id
         WHERE api_tokens.token_sha256 = ?",
    )
    .bind(&hash[..])
    .fetch_optional(&db.read)
    .await?;
    let Some(row) = row else { return Ok(None) };
    // A name that no cart can have is nobody.
    let user = Username::parse(&row.try_get::<String, _>("username")?).ok();
    let role = role_of(&row)?;
    Ok(user.map(|user| Caller::new(user, role)))
}

/// Keeps a token's hash; `false` when there is no such user.
pub async fn add_token(
    db: &Db,
    user: &Username,
    name: &str,
    hash: &[u8; 32],
    now: Timestamp,
) -> sqlx::Result<bool> {
    let added = sqlx::query(
        "INSERT INTO api_tokens (user_id, name, token_sha256, created_at)
         SELECT id, ?2, ?3, ?4 FROM users WHERE username = ?1",
    )
    .bind(user.as_str())
    .bind(name)
    .bind(&hash[..])
    .bind(now.as_millisecond())
    .execute(&db.write)
    .await?;
    Ok(added.rows_affected() == 1)
}

/// A token's number, name and time of making: all that can be listed of it.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct TokenRow {
    /// Number, for revoking it.
    pub id: i64,
    /// What its maker called it.
    pub name: String,
    /// When it was made, unix milliseconds.
    pub created_at: i64,
}

/// The tokens of a user.
pub async fn tokens(db: &Db, user: &Username) -> sqlx::Result<Vec<TokenRow>> {
    sqlx::query_as(
        "SELECT api_tokens.id, api_tokens.name, api_tokens.created_at FROM api_tokens
         JOIN users ON users.id = api_tokens.user_id
         WHERE users.username = ? ORDER BY api_tokens.id",
    )
    .bind(user.as_str())
    .fetch_all(&db.read)
    .await
}

/// Forgets a token; `false` when there is none of that number.
pub async fn revoke_token(db: &Db, id: i64) -> sqlx::Result<bool> {
    let gone = sqlx::query("DELETE FROM api_tokens WHERE id = ?")
        .bind(id)
        .execute(&db.write)
        .await?;
    Ok(gone.rows_affected() == 1)
}

/// Somebody who is not known yet.
#[derive(Debug)]
pub struct NewUser<'a> {
    /// User name.
    pub username: &'a str,
    /// E-mail address.
    pub email: &'a str,
    /// `customer` or `admin`.
    pub role: &'a str,
    /// Where to ship by default.
    pub address: &'a str,
    /// Shipping zone by default.
    pub default_zone: &'a str,
    /// The password, hashed.
    pub password_hash: &'a str,
}

/// Adds a user; one who is there stays as they are. Answers whether they are new.
pub async fn add(db: &mut SqliteConnection, user: &NewUser<'_>) -> sqlx::Result<bool> {
    let added = sqlx::query(
        "INSERT INTO users (username, email, role, address, default_zone, password_hash)
         VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
    )
    .bind(user.username)
    .bind(user.email)
    .bind(user.role)
    .bind(user.address)
    .bind(user.default_zone)
    .bind(user.password_hash)
    .execute(db)
    .await?;
    Ok(added.rows_affected() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::token;
    use crate::storage::db;

    async fn with_alice() -> (tempfile::TempDir, Db, Username) {
        let (folder, db) = db::temporary().await;
        sqlx::query("INSERT INTO users (username, email, role) VALUES ('alice', 'a@x', 'admin')")
            .execute(&db.write)
            .await
            .unwrap();
        (folder, db, Username::parse("alice").unwrap())
    }

    #[tokio::test]
    async fn a_token_finds_its_user_until_it_is_revoked() {
        let (_folder, db, alice) = with_alice().await;
        let hash = token::hash(&token::generate());
        let now = Timestamp::UNIX_EPOCH;
        assert!(add_token(&db, &alice, "ci", &hash, now).await.unwrap());
        let caller = caller_of_token(&db, &hash).await.unwrap().unwrap();
        assert_eq!((caller.user, caller.role), (alice.clone(), Role::Admin));

        let id = tokens(&db, &alice).await.unwrap()[0].id;
        assert!(revoke_token(&db, id).await.unwrap());
        assert!(!revoke_token(&db, id).await.unwrap());
        assert_eq!(caller_of_token(&db, &hash).await.unwrap(), None);
    }

    #[tokio::test]
    async fn nobody_gets_no_token() {
        let (_folder, db, _) = with_alice().await;
        let nobody = Username::parse("nobody").unwrap();
        let added = add_token(&db, &nobody, "x", &[0; 32], Timestamp::UNIX_EPOCH).await;
        assert!(!added.unwrap());
    }
}
