//! The copy of who people are: users, their tokens, where they are signed in.

use serde_json::json;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};
use waybill_domain::Timestamp;
use waybill_domain::account::{Account, Factor, Fingerprint, Identity, Scope, Session, Token, Way};
use waybill_domain::ids::Username;

use super::db::{Db, to_i64};
use super::users::role_of;
use crate::http::pagination::Pagination;

/// Writes an account with all that belongs to it, if it is news.
pub async fn write(db: &mut SqliteConnection, account: &Account) -> sqlx::Result<bool> {
    let written = sqlx::query(
        "INSERT INTO users (username, email, role, address, default_zone, password_hash,
                            disabled_at, version, created_at, identity, factor)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, datetime(?9 / 1000, 'unixepoch'), ?10, ?11)
         ON CONFLICT (username) DO UPDATE SET
             email = ?2, role = ?3, address = ?4, default_zone = ?5, password_hash = ?6,
             disabled_at = ?7, version = ?8, identity = ?10, factor = ?11
         WHERE version < ?8",
    )
    .bind(account.user.as_str())
    .bind(&account.email)
    .bind(account.role.as_str())
    .bind(&account.address)
    .bind(&account.default_zone)
    .bind(&account.password_hash)
    .bind(account.disabled_at.map(Timestamp::as_millisecond))
    .bind(to_i64(account.version))
    .bind(account.created_at.as_millisecond())
    .bind(account.identity.as_ref().map(|it| json!(it).to_string()))
    .bind(account.factor.as_ref().map(|it| json!(it).to_string()))
    .execute(&mut *db)
    .await?;
    if written.rows_affected() == 0 {
        return Ok(false);
    }
    for forgotten in [
        "DELETE FROM sessions WHERE username = ?",
        "DELETE FROM tokens WHERE username = ?",
    ] {
        sqlx::query(forgotten)
            .bind(account.user.as_str())
            .execute(&mut *db)
            .await?;
    }
    let at = Timestamp::as_millisecond;
    let sessions = account.sessions.iter().map(|it| {
        let times = [it.created_at, it.seen_at, it.expires_at].map(at);
        json!([
            it.fingerprint,
            times[0],
            times[1],
            times[2],
            it.address,
            it.agent,
            it.way.as_str()
        ])
    });
    insert(
        db,
        "INSERT OR REPLACE INTO sessions
             (username, fingerprint, created_at, seen_at, expires_at, address, agent,
              way)
         SELECT ?1, value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5,
                value ->> 6
         FROM json_each(?2)",
        account,
        sessions.collect(),
    )
    .await?;
    let tokens = account.tokens.iter().map(|it| {
        let (expires, seen) = (it.expires_at.map(at), it.seen_at.map(at));
        json!([
            it.fingerprint,
            it.name,
            it.scope,
            at(it.created_at),
            expires,
            seen
        ])
    });
    insert(
        db,
        "INSERT OR REPLACE INTO tokens
             (username, fingerprint, name, scope, created_at, expires_at, seen_at)
         SELECT ?1, value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5
         FROM json_each(?2)",
        account,
        tokens.collect(),
    )
    .await?;
    Ok(true)
}

async fn insert(
    db: &mut SqliteConnection,
    sql: &'static str,
    account: &Account,
    rows: Vec<serde_json::Value>,
) -> sqlx::Result<()> {
    if !rows.is_empty() {
        sqlx::query(sql)
            .bind(account.user.as_str())
            .bind(serde_json::Value::Array(rows).to_string())
            .execute(db)
            .await?;
    }
    Ok(())
}

/// Whose a session or a token is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Whose.
    pub user: Username,
    /// How much it opens.
    pub scope: Scope,
    /// When it was last used, as far as Restate was told.
    pub seen_at: Option<Timestamp>,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    /// How a session began; a token has not.
    pub way: Option<Way>,
}

impl Shown {
    /// Whether it has ended.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|end| end <= now)
    }
}

/// Whose session that is.
pub async fn session(db: &Db, fingerprint: &Fingerprint) -> sqlx::Result<Option<Shown>> {
    shown(
        db,
        "SELECT username, 'full' AS scope, seen_at, expires_at, way FROM sessions WHERE fingerprint = ?",
        fingerprint,
    )
    .await
}

/// Whose token that is.
pub async fn token(db: &Db, fingerprint: &Fingerprint) -> sqlx::Result<Option<Shown>> {
    shown(
        db,
        "SELECT username, scope, seen_at, expires_at, NULL AS way FROM tokens WHERE fingerprint = ?",
        fingerprint,
    )
    .await
}

async fn shown(
    db: &Db,
    sql: &'static str,
    fingerprint: &Fingerprint,
) -> sqlx::Result<Option<Shown>> {
    let row = sqlx::query(sql)
        .bind(fingerprint.as_str())
        .fetch_optional(&db.read)
        .await?;
    let Some(row) = row else { return Ok(None) };
    // A name that no cart can have is nobody.
    let Ok(user) = Username::parse(row.try_get("username")?) else {
        return Ok(None);
    };
    Ok(Some(Shown {
        user,
        // What nobody knows opens least.
        scope: Scope::parse(row.try_get("scope")?).unwrap_or(Scope::Read),
        seen_at: time(&row, "seen_at")?,
        expires_at: time(&row, "expires_at")?,
        way: row.try_get::<Option<&str>, _>("way")?.map(Way::parse),
    }))
}

/// Everybody whom Restate has not been told of, with their tokens.
pub async fn untold(db: &Db) -> sqlx::Result<Vec<Account>> {
    read(db, "version = 0", "").await
}

/// The names of those whom Restate has told of, or been told.
pub async fn told(db: &Db) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar("SELECT username FROM users WHERE version > 0")
        .fetch_all(&db.read)
        .await
}

/// Somebody, as far as this gateway knows.
pub async fn account(db: &Db, user: &Username) -> sqlx::Result<Option<Account>> {
    Ok(read(db, "username = ?", user.as_str()).await?.pop())
}

/// One page of those whose name or e-mail address holds `word`, by name, and how many
/// there are.
pub async fn people(db: &Db, word: &str, page: Pagination) -> sqlx::Result<(Vec<Account>, i64)> {
    const HOLDS: &str = "instr(lower(username || ' ' || email), lower(?)) > 0";
    let count = format!("SELECT count(*) FROM users WHERE {HOLDS}");
    let total = sqlx::query_scalar(sqlx::AssertSqlSafe(count))
        .bind(word)
        .fetch_one(&db.read)
        .await?;
    let (limit, offset) = (page.limit(), page.offset());
    let condition = format!("{HOLDS} ORDER BY username LIMIT {limit} OFFSET {offset}");
    Ok((read(db, &condition, word).await?, total))
}

/// Whether this gateway has never heard of anybody.
pub async fn nobody_is_known(db: &Db) -> sqlx::Result<bool> {
    let known: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM users)")
        .fetch_one(&db.read)
        .await?;
    Ok(!known)
}

/// Accounts that a condition with at most one parameter lets through.
async fn read(db: &Db, condition: &str, parameter: &str) -> sqlx::Result<Vec<Account>> {
    let sql = format!(
        "SELECT username, email, role, address, default_zone, password_hash, disabled_at, version,
                identity, factor, CAST(strftime('%s', created_at) AS INTEGER) * 1000 AS created_at
         FROM users WHERE {condition}"
    );
    let mut query = sqlx::query(sqlx::AssertSqlSafe(sql));
    if !parameter.is_empty() || condition.contains('?') {
        query = query.bind(parameter);
    }
    let mut accounts = Vec::new();
    for row in query.fetch_all(&db.read).await? {
        // A name that no cart can have is nobody.
        let Ok(user) = Username::parse(row.try_get("username")?) else {
            continue;
        };
        accounts.push(Account {
            version: u64::try_from(row.try_get::<i64, _>("version")?).unwrap_or_default(),
            role: role_of(&row)?,
            email: row.try_get("email")?,
            address: row.try_get("address")?,
            default_zone: row.try_get("default_zone")?,
            password_hash: row.try_get("password_hash")?,
            identity: identity(&row)?,
            factor: factor(&row)?,
            disabled_at: time(&row, "disabled_at")?,
            created_at: time(&row, "created_at")?.unwrap_or(Timestamp::UNIX_EPOCH),
            link: None,
            tokens: tokens(db, &user).await?,
            sessions: sessions(db, &user).await?,
            user,
        });
    }
    Ok(accounts)
}

async fn tokens(db: &Db, user: &Username) -> sqlx::Result<Vec<Token>> {
    let sql = "SELECT fingerprint, name, scope, created_at, expires_at, seen_at FROM tokens
               WHERE username = ? ORDER BY created_at, fingerprint";
    let rows = sqlx::query(sql)
        .bind(user.as_str())
        .fetch_all(&db.read)
        .await?;
    rows.iter()
        .map(|row| {
            Ok(Token {
                fingerprint: fingerprint(row)?,
                name: row.try_get("name")?,
                scope: Scope::parse(row.try_get("scope")?).unwrap_or(Scope::Read),
                created_at: time(row, "created_at")?.unwrap_or(Timestamp::UNIX_EPOCH),
                expires_at: time(row, "expires_at")?,
                seen_at: time(row, "seen_at")?,
            })
        })
        .collect()
}

async fn sessions(db: &Db, user: &Username) -> sqlx::Result<Vec<Session>> {
    let sql = "SELECT fingerprint, created_at, seen_at, expires_at, address, agent, way
               FROM sessions
               WHERE username = ? ORDER BY created_at, fingerprint";
    let rows = sqlx::query(sql)
        .bind(user.as_str())
        .fetch_all(&db.read)
        .await?;
    rows.iter()
        .map(|row| {
            let time =
                |column| Ok::<_, sqlx::Error>(time(row, column)?.unwrap_or(Timestamp::UNIX_EPOCH));
            Ok::<_, sqlx::Error>(Session {
                fingerprint: fingerprint(row)?,
                created_at: time("created_at")?,
                seen_at: time("seen_at")?,
                expires_at: time("expires_at")?,
                address: row.try_get("address")?,
                agent: row.try_get("agent")?,
                way: Way::parse(row.try_get("way")?),
            })
        })
        .collect()
}

fn fingerprint(row: &SqliteRow) -> sqlx::Result<Fingerprint> {
    Fingerprint::parse(row.try_get("fingerprint")?)
        .map_err(|refusal| sqlx::Error::Decode(refusal.into()))
}

/// What nobody can read binds nobody.
fn identity(row: &SqliteRow) -> sqlx::Result<Option<Identity>> {
    let kept: Option<String> = row.try_get("identity")?;
    Ok(kept.and_then(|kept| serde_json::from_str(&kept).ok()))
}

/// What nobody can read is an error: without it, a password alone would do.
fn factor(row: &SqliteRow) -> sqlx::Result<Option<Factor>> {
    let kept: Option<String> = row.try_get("factor")?;
    kept.map(|kept| serde_json::from_str(&kept).map_err(|error| sqlx::Error::Decode(error.into())))
        .transpose()
}

fn time(row: &SqliteRow, column: &str) -> sqlx::Result<Option<Timestamp>> {
    let at: Option<i64> = row.try_get(column)?;
    Ok(at.and_then(|at| Timestamp::from_millisecond(at).ok()))
}

/// Takes what is here of somebody for older than what Restate holds, unless it is newer.
pub async fn distrust(
    db: &mut SqliteConnection,
    user: &Username,
    held: Option<&Account>,
) -> sqlx::Result<()> {
    sqlx::query("UPDATE users SET version = 0 WHERE username = ? AND version <= ?")
        .bind(user.as_str())
        .bind(held.map_or(0, |held| to_i64(held.version)))
        .execute(db)
        .await?;
    Ok(())
}

/// Forgets what Restate can tell again. Who people are stays until it does.
pub async fn empty(db: &mut SqliteConnection) -> sqlx::Result<()> {
    for statement in ["DELETE FROM sessions", "UPDATE users SET version = 0"] {
        sqlx::query(statement).execute(&mut *db).await?;
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use waybill_domain::account::{NewAccount, Proof, Role, SignIn, WrongCodes};

    use super::*;
    use crate::storage::db;

    pub(crate) fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    pub(crate) fn print(number: u8) -> Fingerprint {
        Fingerprint::parse(&format!("{number:02x}").repeat(32)).unwrap()
    }

    /// Somebody who is signed in once and has a token.
    pub(crate) fn signed_in(name: &str) -> Account {
        let user = Username::parse(name).unwrap();
        let account = NewAccount {
            role: Role::Support,
            email: format!("{name}@example.com"),
            password_hash: Some("hash".into()),
            link: None,
            at: at(1),
        };
        let session = Session {
            fingerprint: print(1),
            created_at: at(2),
            seen_at: at(2),
            expires_at: at(1_000),
            address: "127.0.0.1".into(),
            agent: "curl".into(),
            way: Way::Password,
        };
        let asked = SignIn {
            proof: Proof::Nothing,
            second: None,
            session,
            instead_of: None,
        };
        let account = account.of(user.clone()).unwrap();
        let mut account = asked.to(user, Some(account)).unwrap();
        account.identity = Identity::of("https://id.example", name).ok();
        account.factor = Some(Factor {
            sealed: "sealed".into(),
            since: at(2),
            last_step: 7,
            recovery: vec![print(3)],
            wrong: WrongCodes::default(),
            known: vec!["127.0.0.1".into()],
        });
        account.tokens.push(Token {
            fingerprint: print(2),
            name: "ci".into(),
            scope: Scope::Read,
            created_at: at(3),
            expires_at: Some(at(500)),
            seen_at: None,
        });
        account
    }

    async fn written(db: &Db, account: &Account) -> bool {
        let mut transaction = db.begin().await.unwrap();
        let news = write(&mut transaction, account).await.unwrap();
        transaction.commit().await.unwrap();
        news
    }

    #[tokio::test]
    async fn an_account_comes_back_whole_and_only_newer_ones_are_written() {
        let (_folder, db) = db::temporary().await;
        let alice = signed_in("alice");
        assert!(written(&db, &alice).await);
        assert!(!written(&db, &alice).await);
        let found = account(&db, &alice.user).await.unwrap();
        assert_eq!(found, Some(alice.clone()));

        let whose = session(&db, &print(1)).await.unwrap().unwrap();
        assert_eq!((whose.user.as_str(), whose.scope), ("alice", Scope::Full));
        assert!(!whose.is_over(at(999)) && whose.is_over(at(1_000)));
        assert_eq!(whose.way, Some(Way::Persona));
        let whose = token(&db, &print(2)).await.unwrap().unwrap();
        assert_eq!(
            (whose.scope, whose.expires_at),
            (Scope::Read, Some(at(500)))
        );
        assert_eq!(session(&db, &print(2)).await.unwrap(), None);

        let ended = Account {
            version: alice.version + 1,
            sessions: vec![],
            tokens: vec![],
            ..alice.clone()
        };
        assert!(written(&db, &ended).await);
        assert!(!written(&db, &alice).await);
        assert_eq!(session(&db, &print(1)).await.unwrap(), None);
        assert_eq!(token(&db, &print(2)).await.unwrap(), None);
    }

    #[tokio::test]
    async fn whom_restate_does_not_know_is_found() {
        let (_folder, db) = db::temporary().await;
        sqlx::query("INSERT INTO users (username, email, role) VALUES ('bob', 'b@x', 'admin')")
            .execute(&db.write)
            .await
            .unwrap();
        assert!(written(&db, &signed_in("alice")).await);
        let untold = untold(&db).await.unwrap();
        assert_eq!(untold.len(), 1);
        assert_eq!(
            (untold[0].user.as_str(), untold[0].role),
            ("bob", Role::Admin)
        );
        let page = |page| Pagination { page, per_page: 1 };
        let (found, total) = people(&db, "B@X", page(1)).await.unwrap();
        assert_eq!((found.len(), total), (1, 1));
        let (second, total) = people(&db, "", page(2)).await.unwrap();
        assert_eq!((second[0].user.as_str(), total), ("bob", 2));
    }
}
