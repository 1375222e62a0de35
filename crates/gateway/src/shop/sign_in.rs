//! Who may come in.

use std::time::Instant;

use waybill_domain::ids::Username;

use crate::http::problem::Problem;
use crate::identity::{demo_password, password};
use crate::infra::Infra;
use crate::storage::users::{self as queries, User};

/// One click, in a demo.
pub async fn as_persona(infra: &Infra, name: &str) -> Result<(Username, User), Problem> {
    if !infra.settings.is_demo() {
        return Err(Problem::forbidden(
            "personas are for demos only: sign in with user name and password",
        ));
    }
    let name =
        Username::parse(name).map_err(|refusal| Problem::from(refusal).with_field("persona"))?;
    match queries::user(&infra.db, &name).await? {
        Some(user) => Ok((name, user)),
        None => Err(Problem::invalid(
            "persona",
            "there is no such persona: use alice, bob or admin",
        )),
    }
}

/// User name and password; too many wrong ones have to wait.
pub async fn with_password(
    infra: &Infra,
    name: &str,
    password: String,
) -> Result<(Username, User), Problem> {
    if let Some(wait) = infra.auth.throttle.wait(name, Instant::now()) {
        let seconds = wait.as_secs() + 1;
        return Err(Problem::too_many_tries(
            seconds,
            format!("too many wrong passwords: try again in {seconds} s"),
        ));
    }
    let found = match Username::parse(name) {
        Ok(name) => queries::user(&infra.db, &name)
            .await?
            .map(|user| (name, user)),
        Err(_) => None,
    };
    // Counted before it is known, so that many at once are counted, too.
    infra.auth.throttle.failed(name, Instant::now());
    let hash = found
        .as_ref()
        .and_then(|(_, user)| user.password_hash.clone());
    // Known to everybody, so it proves nothing, however it came into the table.
    let is_known = !infra.settings.is_demo() && demo_password::is_known(name, &password);
    let matches = password::verify(password, hash).await? && !is_known;
    match found {
        Some(found) if matches => {
            infra.auth.throttle.succeeded(name);
            Ok(found)
        }
        _ => Err(Problem::wrong_credentials(
            "user name or password is wrong: check both and try again",
        )),
    }
}
