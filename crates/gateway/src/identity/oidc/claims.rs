//! What the provider says of somebody, and who that is here.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use waybill_domain::account::{Identity, Role};
use waybill_domain::ids::Username;
use waybill_domain::words::{MAX_NAME, quoted};

use super::bad_token;
use crate::http::problem::Problem;
use crate::settings::oidc::OidcSettings;

/// Somebody whom the provider has signed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// Their name here.
    pub user: Username,
    /// Who they are there.
    pub identity: Identity,
    /// Where to write to them.
    pub email: String,
    /// What their groups may do here.
    pub role: Role,
}

/// The claims of a token, which is verified elsewhere.
pub fn of_token(token: &str) -> Option<Map<String, Value>> {
    let payload = token.split('.').nth(1)?;
    let payload = BASE64_URL_SAFE_NO_PAD.decode(payload).ok()?;
    serde_json::from_slice(&payload).ok()
}

/// Whether something is missing that the provider may say elsewhere (userinfo).
pub(super) fn lacks_any(claims: &Map<String, Value>, settings: &OidcSettings) -> bool {
    [
        settings.oidc_username_claim.as_str(),
        settings.oidc_groups_claim.as_str(),
        "email",
    ]
    .iter()
    .any(|name| claim(claims, name).is_none())
        || (settings.oidc_username_claim == "email" && claim(claims, "email_verified").is_none())
}

/// Takes what is missing from what the provider says elsewhere of the same person.
pub(super) fn complete(
    claims: &mut Map<String, Value>,
    more: Map<String, Value>,
) -> Result<(), Problem> {
    if more.get("sub") != claims.get("sub") {
        return Err(bad_token("userinfo is about somebody else"));
    }
    for (name, value) in more {
        claims.entry(name).or_insert(value);
    }
    Ok(())
}

/// Who that is here.
pub(super) fn person(
    claims: &Map<String, Value>,
    issuer: &str,
    settings: &OidcSettings,
) -> Result<Person, Problem> {
    let text = |name: &str| claim(claims, name).and_then(Value::as_str);
    let identity = Identity::of(issuer, text("sub").unwrap_or_default())
        .map_err(|refusal| bad_token(format!("sub or iss: {refusal}")))?;
    let groups = groups(claims, &settings.oidc_groups_claim)?;
    let role = settings.role(groups).ok_or_else(|| {
        Problem::forbidden(
            "you are in none of the groups that may use this shop: ask who runs it to add you to one",
        )
    })?;
    let name = &settings.oidc_username_claim;
    let told = text(name).ok_or_else(|| {
        unusable(format!(
            "the identity provider does not say your name (claim {name}): tell the operator, who may choose another claim (OIDC_USERNAME_CLAIM) or ask for more (OIDC_SCOPES)"
        ))
    })?;
    if name == "email" && !is_verified(claims) {
        return Err(unusable(
            "the identity provider has not made sure of your e-mail address, which is your name here: confirm it there"
                .to_owned(),
        ));
    }
    let user = named(told, settings).map_err(|why| {
        unusable(format!(
            "your name at the identity provider ({name}) is '{}', and here {why}: tell the operator, who may choose another claim (OIDC_USERNAME_CLAIM)",
            quoted(told, MAX_NAME)
        ))
    })?;
    let email = text("email").ok_or_else(|| {
        unusable("the identity provider does not say your e-mail address: tell the operator, who may ask for it (OIDC_SCOPES)".to_owned())
    })?;
    Ok(Person {
        user,
        identity,
        email: email.to_owned(),
        role,
    })
}

/// Whether the provider has made sure of the e-mail address. Some say it as text.
fn is_verified(claims: &Map<String, Value>) -> bool {
    match claim(claims, "email_verified") {
        Some(Value::Bool(is_verified)) => *is_verified,
        Some(Value::String(said)) => said == "true",
        _ => false,
    }
}

/// A name there as one here; or why it is none.
fn named(told: &str, settings: &OidcSettings) -> Result<Username, String> {
    let Some(domain) = settings.username_domain() else {
        return Username::parse(told).map_err(|refusal| refusal.to_string());
    };
    match told.rsplit_once('@') {
        Some((local, of)) if of.eq_ignore_ascii_case(domain) => {
            Username::parse(&local.replace('.', "-")).map_err(|refusal| refusal.to_string())
        }
        _ => Err(format!("it must end in @{domain}")),
    }
}

fn unusable(detail: String) -> Problem {
    Problem::forbidden(detail).with("reason", "unusable_claims")
}

/// A claim by its name or, where there is none of that name, by the dots in it.
fn claim<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    if let Some(claim) = claims.get(name) {
        return Some(claim).filter(|claim| !claim.is_null());
    }
    let (first, rest) = name.split_once('.')?;
    claim(claims.get(first)?.as_object()?, rest)
}

/// One or many. None at all is no group; what is not text is none of ours.
fn groups<'a>(claims: &'a Map<String, Value>, name: &str) -> Result<Vec<&'a str>, Problem> {
    match claim(claims, name) {
        Some(Value::String(group)) => Ok(vec![group]),
        Some(Value::Array(all)) => Ok(all.iter().filter_map(Value::as_str).collect()),
        Some(_) => Err(bad_token(format!("the claim {name} is no list of texts"))),
        // Entra, for somebody in more groups than fit: without them they would get less
        // than is theirs.
        None if claims
            .get("_claim_names")
            .is_some_and(|elsewhere| elsewhere.get(name).is_some()) =>
        {
            Err(unusable(
                "you are in more groups than the identity provider tells: tell the operator, who may let it tell only those that this shop knows".to_owned(),
            ))
        }
        None => Ok(Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::*;

    const ISSUER: &str = "https://id.example";

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        oidc: OidcSettings,
    }

    fn settings(more: &[&str]) -> OidcSettings {
        let roles = [
            "gateway",
            "--oidc-roles",
            "shop-admins=admin,shop-support=support",
        ];
        Line::parse_from([&roles[..], more].concat()).oidc
    }

    fn said(claims: Value) -> Map<String, Value> {
        serde_json::from_value(claims).unwrap()
    }

    fn ann(more: Value) -> Map<String, Value> {
        let mut claims = said(json!({
            "sub": "248289761001",
            "preferred_username": "ann",
            "email": "ann@shop.example",
        }));
        claims.extend(said(more));
        claims
    }

    #[test]
    fn groups_become_a_role() {
        let of = |claims: Value, more: &[&str]| {
            person(&ann(claims), ISSUER, &settings(more)).map(|person| person.role)
        };
        let admin = of(
            json!({ "groups": ["staff", "shop-support", "shop-admins"] }),
            &[],
        );
        assert_eq!(admin.unwrap(), Role::Admin);
        assert_eq!(
            of(json!({ "groups": "shop-support" }), &[]).unwrap(),
            Role::Support
        );
        for none in [
            json!({}),
            json!({ "groups": [] }),
            json!({ "groups": [7, null, "x"] }),
        ] {
            assert_eq!(of(none.clone(), &[]).unwrap(), Role::Customer);
            let closed = of(none, &["--oidc-default-role", "none"]).unwrap_err();
            assert_eq!(closed.status.as_u16(), 403);
            assert!(
                closed.detail.contains("none of the groups"),
                "{}",
                closed.detail
            );
        }
        let keycloak = json!({ "realm_access": { "roles": ["shop-admins"] } });
        let path = ["--oidc-groups-claim", "realm_access.roles"];
        assert_eq!(of(keycloak.clone(), &path).unwrap(), Role::Admin);
        assert_eq!(of(keycloak, &[]).unwrap(), Role::Customer);
        let namespaced = json!({ "https://shop.example/groups": ["shop-admins"] });
        let url = ["--oidc-groups-claim", "https://shop.example/groups"];
        assert_eq!(of(namespaced, &url).unwrap(), Role::Admin);
        // Nobody loses a role because a list was too long, or is none.
        let many = json!({ "_claim_names": { "groups": "src1" } });
        assert!(of(many, &[]).unwrap_err().detail.contains("more groups"));
        assert_eq!(
            of(json!({ "groups": { "a": 1 } }), &[])
                .unwrap_err()
                .status
                .as_u16(),
            502
        );
    }

    #[test]
    fn a_name_must_be_one_here() {
        let ann = person(&ann(json!({})), ISSUER, &settings(&[])).unwrap();
        assert_eq!(ann.user.as_str(), "ann");
        assert_eq!(ann.identity, Identity::of(ISSUER, "248289761001").unwrap());
        for (claims, part) in [
            (
                json!({ "preferred_username": "ann@shop.example" }),
                "'ann@shop.example'",
            ),
            (
                json!({ "preferred_username": "<b>\u{202e}x" }),
                "1 to 64 letters",
            ),
            (json!({ "preferred_username": 7 }), "does not say your name"),
            (
                json!({ "preferred_username": null }),
                "does not say your name",
            ),
            (json!({ "email": null }), "e-mail"),
        ] {
            let refused = person(&super::tests::ann(claims), ISSUER, &settings(&[])).unwrap_err();
            assert_eq!(refused.status.as_u16(), 403);
            assert!(refused.detail.contains(part), "{}", refused.detail);
        }
        let by_subject = settings(&["--oidc-username-claim", "sub"]);
        let person = person(&super::tests::ann(json!({})), ISSUER, &by_subject).unwrap();
        assert_eq!(person.user.as_str(), "248289761001");
    }

    #[test]
    fn an_address_becomes_a_name() {
        let of = |claims: Value, claim: &str| {
            let domain = "--oidc-username-domain=Shop.example";
            let more = settings(&[domain, "--oidc-username-claim", claim]);
            person(&ann(claims), ISSUER, &more)
                .map(|person| person.user.as_str().to_owned())
                .map_err(|problem| problem.detail.clone())
        };
        let upn = |name: &str| of(json!({ "preferred_username": name }), "preferred_username");
        assert_eq!(upn("ann.lee@shop.example").as_deref(), Ok("ann-lee"));
        for other in ["ann@shop.example.evil.example", "ann", "ann@evil.example"] {
            let said = upn(other).unwrap_err();
            assert!(said.contains("must end in @Shop.example"), "{said}");
        }
        assert!(upn("a@b@shop.example").unwrap_err().contains("1 to 64"));
        for verified in [json!(true), json!("true")] {
            let name = of(json!({ "email_verified": verified }), "email");
            assert_eq!(name.as_deref(), Ok("ann"), "{verified}");
        }
        for not in [json!(false), json!("false"), json!(null), json!(1)] {
            let unverified = of(json!({ "email_verified": not }), "email").unwrap_err();
            assert!(unverified.contains("confirm it there"), "{unverified}");
        }
        assert!(of(json!({}), "email").is_err());
    }

    #[test]
    fn without_a_subject_nobody_is_known() {
        for subject in [
            json!(null),
            json!(""),
            json!(7),
            json!("a b"),
            json!("1".repeat(256)),
        ] {
            let claims = ann(json!({ "sub": subject }));
            let refused = person(&claims, ISSUER, &settings(&[])).unwrap_err();
            assert_eq!(refused.kind(), "bad_identity");
        }
    }

    #[test]
    fn userinfo_adds_and_changes_nothing() {
        let mut claims = said(json!({ "sub": "1", "email": "a@b" }));
        assert!(lacks_any(&claims, &settings(&[])));
        let more = json!({ "sub": "1", "email": "c@d", "preferred_username": "ann", "groups": [] });
        complete(&mut claims, said(more)).unwrap();
        assert_eq!(claims["email"], "a@b");
        assert!(!lacks_any(&claims, &settings(&[])));
        for other in [json!({ "sub": "2" }), json!({})] {
            assert!(complete(&mut claims, said(other)).is_err());
        }
    }

    #[test]
    fn a_tokens_claims_are_read_whatever_they_are() {
        let claims = of_token("e30.eyJzdWIiOiIxIiwieCI6WzFdfQ.sig").unwrap();
        assert_eq!(Value::Object(claims), json!({ "sub": "1", "x": [1] }));
        for wrong in ["", "a.b", "e30.W10.x"] {
            assert_eq!(of_token(wrong), None);
        }
    }
}
