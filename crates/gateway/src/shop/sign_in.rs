//! Who may come in.

use std::time::{Duration, Instant};

use waybill_domain::ids::Username;

use crate::http::client::ClientAddress;
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

/// User name and password; too many wrong ones have to wait. What can be no user's
/// name is wrong without anybody's password being hashed.
pub async fn with_password(
    infra: &Infra,
    from: ClientAddress,
    name: &str,
    password: String,
) -> Result<(Username, User), Problem> {
    if !infra.settings.passwords {
        return Err(Problem::forbidden(
            "passwords are off here (PASSWORDS=off): sign in at the identity provider",
        ));
    }
    let address = from.caller();
    let begun = infra.auth.throttle.begin(address, name, Instant::now());
    let trying = begun.map_err(|wait| too_many("wrong passwords", wait))?;
    let name = Username::parse(name).map_err(|_| wrong_credentials())?;
    let prepared = async {
        let user = queries::user(&infra.db, &name).await?;
        let turn = infra.auth.hash_queue.turn(address, trying.is_known).await?;
        Ok::<_, Problem>((user, turn))
    };
    let (user, turn) = match prepared.await {
        Ok(prepared) => prepared,
        Err(problem) => {
            trying.withdrawn();
            return Err(problem);
        }
    };
    let hash = user.as_ref().and_then(|user| user.password_hash.clone());
    // Known to everybody, so it proves nothing, however it came into the table.
    let is_known = !infra.settings.is_demo() && demo_password::is_known(name.as_str(), &password);
    let matches = password::verify(turn, password, hash).await? && !is_known;
    match user {
        Some(user) if matches => {
            trying.succeeded(Instant::now());
            Ok((name, user))
        }
        _ => Err(wrong_credentials()),
    }
}

/// Of what there were too many, and when to try again.
pub(super) fn too_many(what: &str, wait: Duration) -> Problem {
    let seconds = wait.as_secs() + 1;
    Problem::too_many_tries(
        seconds,
        format!("too many {what}: try again in {seconds} s"),
    )
}

fn wrong_credentials() -> Problem {
    Problem::wrong_credentials("user name or password is wrong: check both and try again")
}
