//! What `gateway init` does: the first admin of a shop that nobody can use yet.

use anyhow::bail;
use clap::Args;
use process::say;
use waybill_domain::account::{NewAccount, Role};
use waybill_domain::audit::By;
use waybill_domain::catalog::{ZoneChange, price_in_words, zone_name};
use waybill_domain::ids::Username;
use waybill_domain::money::Cents;

use super::{everybody, hash_of_new_password, ingress, link_of, said, username};
use crate::clock;
use crate::settings::Settings;
use crate::shop::{catalog, people};
use crate::storage::accounts;
use crate::storage::db::Db;

/// `gateway init`
#[derive(Debug, Args)]
pub struct Init {
    /// The first admin's user name: letters, digits, '-' and '_'.
    #[arg(default_value = "admin", value_parser = username)]
    name: Username,
    /// Their e-mail address.
    #[arg(long)]
    email: String,
    /// Print a link by which they set their password; it works once, for a day. Without it
    /// the password is asked for, or is the first line of the standard input.
    #[arg(long)]
    link: bool,
    /// A zone where orders can be shipped, and its cost: Domestic=10.00. May be repeated.
    #[arg(long = "zone", value_name = "NAME=COST", value_parser = zone_and_cost)]
    zones: Vec<(String, Cents)>,
}

/// `Domestic=10.00`
pub(super) fn zone_and_cost(raw: &str) -> Result<(String, Cents), String> {
    let wanted = "it must be a name and a cost, such as Domestic=10.00";
    let (name, cost) = raw.rsplit_once('=').ok_or_else(|| wanted.to_owned())?;
    let name = zone_name(name).map_err(|refusal| refusal.to_string())?;
    let cost = price_in_words("cost", cost).map_err(|refusal| refusal.to_string())?;
    Ok((name, cost))
}

/// Makes the first admin, and the zones that are named.
///
/// # Errors
/// When there is an admin already, or Restate does not answer.
pub async fn run(settings: &Settings, init: Init) -> anyhow::Result<()> {
    if let Some(admin) = an_admin(settings).await? {
        bail!(
            "this shop has an admin already, {admin}: nothing was done. \
             Sign in, or make people with `gateway user create NAME`"
        );
    }
    let Init {
        name,
        email,
        link,
        zones,
    } = init;
    let (link, secret) = link.then(people::new_link).unzip();
    let password_hash = match link {
        Some(_) => None,
        None => Some(hash_of_new_password(&[name.as_str(), &email])?),
    };
    let new = NewAccount {
        role: Role::Admin,
        email,
        password_hash,
        link,
        at: clock::now(),
    };
    let ingress = ingress(settings)?;
    // Whoever else opens it in this moment has it, or is told of us.
    let made = people::opened(&ingress, By::operator(), &name, new).await;
    made.map_err(said)?;
    say(&format!("{name} is the shop's admin now"))?;
    if let Some(secret) = secret {
        say(&link_of(settings, &name, &secret))?;
    }
    for (zone, cost) in &zones {
        let create = ZoneChange::Create { cost_cents: *cost };
        match catalog::zone_changed(&ingress, By::operator(), zone, create, None).await {
            Ok(_) => say(&format!("Orders can be shipped to {zone} for {cost}"))?,
            Err(problem) if problem.kind() == "zone_taken" => {
                say(&format!(
                    "There is a zone {zone} already: it stays as it is"
                ))?;
            }
            Err(problem) => return Err(said(problem)),
        }
    }
    let mut next = vec!["sign in at /login"];
    if zones.is_empty() {
        next.push("say where you ship at /zones");
    }
    next.push("fill the catalog at /catalog, or with `gateway catalog import FILE.csv`");
    next.push("make people known at /people");
    say(&format!("Next: {}", next.join("; ")))
}

/// Somebody who is an admin and may sign in, known to Restate or to the gateway's own
/// file alone.
async fn an_admin(settings: &Settings) -> anyhow::Result<Option<Username>> {
    let mut known = everybody(settings).await?;
    if let Ok(db) = Db::open_existing(&settings.database_url).await {
        known.extend(accounts::untold(&db).await?);
        db.close().await;
    }
    let mut admins = known
        .into_iter()
        .filter(|account| account.role == Role::Admin && account.is_enabled());
    Ok(admins.next().map(|account| account.user))
}

#[cfg(test)]
mod tests {
    use fuzz::input::{mistaken, text};
    use fuzz::proptest::prelude::*;

    use super::*;

    #[test]
    fn fuzz_zone_arguments() {
        let inputs = prop_oneof![
            mistaken(&["Domestic=10.00", "A=B=1", "=5", "x="], 3),
            text(4)
        ];
        fuzz::check("gateway: zone arguments", &inputs, |raw| {
            match zone_and_cost(&raw) {
                Ok((name, cost)) => {
                    prop_assert!(cost >= Cents::ZERO && !name.is_empty());
                    let again = format!("{name}={}", cost.decimal());
                    prop_assert_eq!(zone_and_cost(&again), Ok((name, cost)), "{}", raw);
                }
                Err(said) => prop_assert!(said.chars().count() <= 300, "{said}"),
            }
            Ok(())
        });
    }
}
