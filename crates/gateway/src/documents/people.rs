//! The Markdown documents about people.

use waybill_domain::Timestamp;

use super::markdown::{exact, line, past_end, text};

/// Somebody in a list.
#[derive(Debug, Clone)]
pub struct PersonRow<'a> {
    /// User name.
    pub user: &'a str,
    /// What they may do.
    pub role: &'a str,
    /// Where to write to them.
    pub email: &'a str,
    /// Whether they can sign in, in a word.
    pub state: &'a str,
    /// The second factor: since when, and recovery codes that are left.
    pub factor: Option<(Timestamp, usize)>,
    /// How many places they are signed in at.
    pub sessions: usize,
    /// How many tokens they have.
    pub tokens: usize,
}

/// A place where somebody is signed in.
#[derive(Debug, Clone)]
pub struct SessionRow<'a> {
    /// Its id.
    pub id: &'a str,
    /// Which browser it says it is.
    pub agent: &'a str,
    /// Network address.
    pub address: &'a str,
    /// When they signed in.
    pub created_at: Timestamp,
    /// When they were last seen there.
    pub seen_at: Timestamp,
    /// Whether it is where the document is read.
    pub is_this: bool,
}

/// An API token.
#[derive(Debug, Clone)]
pub struct TokenRow<'a> {
    /// Its id.
    pub id: &'a str,
    /// What its maker called it.
    pub name: &'a str,
    /// What it may do.
    pub scope: &'a str,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last used.
    pub seen_at: Option<Timestamp>,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
}

/// One page of the people: lists, which narrow screens can show.
pub fn people(rows: &[PersonRow<'_>], total: i64) -> String {
    let mut out = String::from("# People\n\n");
    for row in rows {
        line(
            &mut out,
            format_args!(
                "- **{}**: {}, {}, {}; places: {}, tokens: {}",
                text(row.user),
                row.role,
                row.state,
                text(row.email),
                row.sessions,
                row.tokens,
            ),
        );
    }
    past_end(&mut out, rows.len(), total, "/people");
    if total == 0 {
        line(&mut out, "Nobody.");
    }
    out
}

/// Somebody, with the places where they are signed in and their tokens.
pub fn account(
    person: &PersonRow<'_>,
    sessions: &[SessionRow<'_>],
    tokens: &[TokenRow<'_>],
) -> String {
    let mut out = String::new();
    line(&mut out, format_args!("# {}\n", text(person.user)));
    line(&mut out, format_args!("**Role**: {}  ", person.role));
    line(
        &mut out,
        format_args!("**E-mail**: {}  ", text(person.email)),
    );
    line(&mut out, format_args!("**State**: {}  ", person.state));
    let factor = person.factor.map_or("none".to_owned(), |(since, left)| {
        format!("since {}, recovery codes left: {left}", exact(since))
    });
    line(&mut out, format_args!("**Second factor**: {factor}"));

    line(&mut out, "\n## Signed In\n");
    if sessions.is_empty() {
        line(&mut out, "Nowhere.");
    }
    for row in sessions {
        line(
            &mut out,
            format_args!(
                "- {}{}: from {} since {}, last seen {}, with {}",
                row.id,
                if row.is_this { " (this one)" } else { "" },
                text(row.address),
                exact(row.created_at),
                exact(row.seen_at),
                text(row.agent),
            ),
        );
    }

    line(&mut out, "\n## API Tokens\n");
    if tokens.is_empty() {
        line(&mut out, "None.");
    }
    let at = |at: Option<Timestamp>, otherwise: &str| at.map_or(otherwise.to_owned(), exact);
    for row in tokens {
        line(
            &mut out,
            format_args!(
                "- **{}** ({}): {}; made {}, last used {}, ends {}",
                text(row.name),
                row.id,
                row.scope,
                exact(row.created_at),
                at(row.seen_at, "never"),
                at(row.expires_at, "when revoked"),
            ),
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    fn person() -> PersonRow<'static> {
        PersonRow {
            user: "sue",
            role: "support",
            email: "sue|<b>@example.com",
            state: "active",
            factor: Some((at(60), 9)),
            sessions: 1,
            tokens: 1,
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn an_account_tells_where_and_by_what() {
        let session = SessionRow {
            id: "0123456789ab",
            agent: "Mozilla/5.0 | x",
            address: "192.0.2.1",
            created_at: at(60),
            seen_at: at(120),
            is_this: true,
        };
        let token = TokenRow {
            id: "ba9876543210",
            name: "ci",
            scope: "read",
            created_at: at(60),
            seen_at: None,
            expires_at: None,
        };
        assert_snapshot!(account(&person(), &[session], &[token]), @r"
        # sue

        **Role**: support  
        **E-mail**: sue\|\<b\>@example.com  
        **State**: active  
        **Second factor**: since 1970-01-01 00:01:00 UTC, recovery codes left: 9

        ## Signed In

        - 0123456789ab (this one): from 192.0.2.1 since 1970-01-01 00:01:00 UTC, last seen 1970-01-01 00:02:00 UTC, with Mozilla/5.0 \| x

        ## API Tokens

        - **ci** (ba9876543210): read; made 1970-01-01 00:01:00 UTC, last used never, ends when revoked
        ");
        let nothing = account(&person(), &[], &[]);
        assert!(
            nothing.contains("Nowhere.") && nothing.contains("None."),
            "{nothing}"
        );
    }

    #[test]
    fn the_list_has_a_row_for_each() {
        assert_snapshot!(people(&[person()], 1), @r"
        # People

        - **sue**: support, active, sue\|\<b\>@example.com; places: 1, tokens: 1
        ");
        assert!(people(&[], 0).contains("Nobody."));
        assert!(people(&[], 30).contains("past the end"));
    }
}
