//! Users in SQLite, as nearly every request asks for them.

use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};
use waybill_domain::ids::Username;

use super::db::Db;
use crate::identity::caller::Role;

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
    /// Whether they show a second factor beside it.
    pub has_factor: bool,
    /// Whether they may do anything.
    pub is_enabled: bool,
    /// Whether Restate has been told of them.
    pub is_told: bool,
}

/// Their role; a name that nobody knows may do least.
pub(super) fn role_of(row: &SqliteRow) -> sqlx::Result<Role> {
    let name: String = row.try_get("role")?;
    Ok(Role::parse(&name).unwrap_or(Role::Customer))
}

/// The user of that name.
pub async fn user(db: &Db, name: &Username) -> sqlx::Result<Option<User>> {
    let row = sqlx::query(
        "SELECT role, email, address, default_zone, password_hash,
                factor IS NOT NULL AS has_factor, disabled_at IS NULL AS is_enabled,
                version > 0 AS is_told
         FROM users WHERE username = ?",
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
            has_factor: row.try_get("has_factor")?,
            is_enabled: row.try_get("is_enabled")?,
            is_told: row.try_get("is_told")?,
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
