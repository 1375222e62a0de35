//! The template environment: escaping on, undefined names are errors, and the
//! few words that templates know beyond minijinja's own.

use std::path::PathBuf;
use std::sync::Arc;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Value;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior};
use waybill_domain::Timestamp;
use waybill_domain::money::Cents;
use waybill_domain::words;

use super::assets::{self, Assets};
use crate::documents::markdown;

/// Longest id that is shown whole.
const WHOLE_ID: usize = 18;

/// An environment over the binary's templates, or those in `folder`.
pub(super) fn environment(assets: &Arc<Assets>, folder: Option<PathBuf>) -> Environment<'static> {
    let mut env = Environment::new();
    env.set_undefined_behavior(UndefinedBehavior::Strict);
    // Its reports quote what is rendered, which people's addresses are part of.
    env.set_debug(cfg!(test));
    env.set_auto_escape_callback(|_| AutoEscape::Html);
    env.set_syntax(
        SyntaxConfig::builder()
            .trim_blocks(true)
            .lstrip_blocks(true)
            .build()
            .expect("the usual delimiters are no contradiction"),
    );
    env.set_loader(move |name| Ok(assets::template(folder.as_deref(), name)));

    let files = Arc::clone(assets);
    env.add_function("asset", move |name: &str| {
        // Names and hashes need no escaping, and slashes need none at all.
        Value::from_safe_string(files.url(name))
    });
    let files = Arc::clone(assets);
    env.add_function("has_asset", move |name: &str| files.has(name));
    let files = Arc::clone(assets);
    env.add_function("icon", move |name: &str, class: Option<&str>| {
        let (space, class) = class.map_or(("", ""), |class| (" ", class));
        Value::from_safe_string(format!(
            "<svg class=\"icon{space}{class}\" aria-hidden=\"true\"><use href=\"{}#{name}\"/></svg>",
            files.url("icons.svg")
        ))
    });

    env.add_filter("money", |cents: i64| Cents(cents).to_string());
    env.add_filter("thousands", words::thousands);
    env.add_filter("exact", |at: &str| time(at).map(markdown::exact));
    env.add_filter("date", |at: &str| {
        time(at).map(|at| at.strftime("%-d %B %Y").to_string())
    });
    env.add_filter("clock", |at: &str| {
        time(at).map(|at| at.strftime("%H:%M:%S UTC").to_string())
    });
    env.add_filter("clock_minutes", |at: &str| {
        time(at).map(|at| at.strftime("%H:%M UTC").to_string())
    });
    env.add_filter("shorten", shorten);
    // For titles and attributes, which can hold no `<bdi>`.
    env.add_filter("isolate", |words: &str| words::isolated(words).into_owned());
    env.add_filter("few", |count: i64| {
        if count > 99 {
            "99+".to_owned()
        } else {
            count.to_string()
        }
    });
    env.add_filter("initial", |name: &str| {
        name.chars().take(1).collect::<String>().to_uppercase()
    });
    env
}

fn time(raw: &str) -> Result<Timestamp, Error> {
    raw.parse().map_err(|_| {
        Error::new(
            ErrorKind::InvalidOperation,
            format!("'{raw}' is not a time"),
        )
    })
}

/// Long ids lose their middle: `ord-4f1c…9a2e`.
fn shorten(id: &str) -> String {
    let letters: Vec<char> = id.chars().collect();
    if letters.len() <= WHOLE_ID {
        return id.to_owned();
    }
    let head: String = letters[..8].iter().collect();
    let tail: String = letters[letters.len() - 6..].iter().collect();
    format!("{head}…{tail}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_lose_their_middle() {
        assert_eq!(shorten("order-123"), "order-123");
        assert_eq!(shorten("ord-4f1c22aa77bb99cc"), "ord-4f1c…bb99cc");
    }

    #[test]
    fn every_template_compiles() {
        let env = environment(&Arc::new(Assets::new(None)), None);
        for name in assets::template_names() {
            env.get_template(name)
                .unwrap_or_else(|error| panic!("{name}: {error:#}"));
        }
    }

    #[test]
    fn what_is_not_known_is_an_error() {
        let env = environment(&Arc::new(Assets::new(None)), None);
        assert!(env.render_str("{{ nothing }}", ()).is_err());
        assert_eq!(env.render_str("{{ '<b>' }}", ()).unwrap(), "&lt;b&gt;");
    }
}
