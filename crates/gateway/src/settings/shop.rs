//! What stands on the shop's papers: invoices and packing slips.

use clap::Args;
use process::settings::WrongSetting;
use waybill_domain::words;

/// Longest name or number.
const MAX_LINE: usize = 100;
/// Longest address.
const MAX_LINES: usize = 500;

/// Who sells.
#[derive(Debug, Clone, Args)]
pub struct ShopSettings {
    /// The shop's name on invoices and packing slips.
    #[arg(long, env, global = true, default_value = "Waybill", value_parser = shop_line)]
    pub shop_name: String,

    /// The shop's address on them; `\n` stands between its lines.
    #[arg(long, env, global = true, default_value = "", value_parser = shop_address)]
    pub shop_address: String,

    /// What the law wants to be named on invoices beside that, e.g. `VAT ID DE123456789`.
    #[arg(long, env, global = true, default_value = "", value_parser = shop_line)]
    pub shop_tax_number: String,
}

impl ShopSettings {
    /// The name. Set to nothing, it is Waybill.
    pub fn name(&self) -> &str {
        if self.shop_name.is_empty() {
            "Waybill"
        } else {
            &self.shop_name
        }
    }
}

fn shop_line(raw: &str) -> Result<String, WrongSetting> {
    printed(raw, MAX_LINE, 1)
}

fn shop_address(raw: &str) -> Result<String, WrongSetting> {
    printed(&raw.replace("\\n", "\n"), MAX_LINES, 10)
}

/// Words to print, in so many letters and lines.
fn printed(raw: &str, letters: usize, lines: usize) -> Result<String, WrongSetting> {
    let text = raw.trim();
    let is_well = !words::has_hidden(text)
        && text.chars().count() <= letters
        && text.lines().count() <= lines
        && !text.contains(|letter: char| letter.is_control() && letter != '\n')
        && (text.is_empty() || words::is_visible(text));
    if is_well {
        return Ok(text.to_owned());
    }
    let lines = if lines == 1 {
        "on one line".to_owned()
    } else {
        format!("on {lines} lines, with \\n between them")
    };
    Err(WrongSetting(format!(
        "it must be at most {letters} letters {lines}, without control characters"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_words() {
        assert_eq!(shop_line(" Ana's Tea "), Ok("Ana's Tea".to_owned()));
        assert_eq!(shop_line(""), Ok(String::new()));
        assert_eq!(
            shop_address("1 Main St\\nTown"),
            Ok("1 Main St\nTown".to_owned())
        );
        for wrong in ["a\nb", "a\tb", "\u{202e}a", &"a".repeat(101)] {
            assert!(shop_line(wrong).is_err(), "{wrong:?}");
        }
        assert!(shop_address(&"a\\n".repeat(10)).is_ok());
        assert!(shop_address(&"a\\n".repeat(11)).is_err());
    }

    #[test]
    fn fuzz_shop_settings() {
        use proptest::prelude::*;
        let samples = ["Ana's Tea", "1 Main St\\nTown\\n12345", "", "VAT ID DE1"];
        let inputs = fuzz::input::mistaken(&samples, 3);
        fuzz::check("gateway: settings of the shop", &inputs, |raw| {
            for (read, lines) in [(shop_line(&raw), 1), (shop_address(&raw), 10)] {
                match read {
                    Ok(text) => {
                        prop_assert!(text.lines().count() <= lines, "{text:?}");
                        prop_assert!(text.chars().count() <= MAX_LINES, "{text:?}");
                        prop_assert!(!words::has_hidden(&text), "{text:?}");
                    }
                    Err(said) => prop_assert!(said.to_string().starts_with("it must"), "{said}"),
                }
            }
            Ok(())
        });
    }
}
