//! Codes of an authenticator app (RFC 6238: SHA-1, six digits, 30 seconds, one step of
//! drift either way), and recovery codes.

use std::str::FromStr;

use qrcode::render::svg;
use qrcode::{EcLevel, QrCode};
use totp_rs::{Algorithm, Builder, Totp};
use waybill_domain::Timestamp;
use waybill_domain::account::{Fingerprint, RECOVERY_CODES};
use waybill_domain::ids::Username;

use super::secret;
use crate::http::problem::Problem;

/// How the app calls us.
const ISSUER: &str = "Waybill";
/// Bytes of a secret: as many as SHA-1 gives (RFC 4226).
const SECRET: usize = 20;
/// Digits of a code.
const DIGITS: u8 = 6;
/// Seconds of a step.
const STEP: u64 = 30;
/// Steps that a clock may be wrong.
const DRIFT: u16 = 1;
/// Random bytes of a recovery code: with so many a fast hash is enough.
const RECOVERY: usize = 15;
/// Letters of one.
const RECOVERY_LETTERS: usize = 24;
/// Letters that stand together.
const GROUP: usize = 4;
/// Longest code that is looked at: a recovery code with a space for each dash, and more.
pub const LONGEST: usize = 64;

/// The secret that an app and we know.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret([u8; SECRET]);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Secret {
    /// A new one.
    pub fn generate() -> Self {
        Self(rand::random())
    }

    /// From its bytes.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// Its bytes.
    pub const fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// As people type it: groups of letters and digits.
    pub fn text(&self) -> String {
        grouped(&totp_rs::Secret::from(self.0.to_vec()).to_base32())
    }

    /// As apps read it.
    pub fn uri(&self, user: &Username) -> Result<String, Problem> {
        let account = user.as_str();
        let app = self.builder().with_issuer(Some(ISSUER));
        let app = app.with_account_name(account).build();
        app.and_then(|app| app.to_url()).map_err(Problem::internal)
    }

    /// The time step of a right code.
    pub fn step_of(&self, digits: &str, now: Timestamp) -> Option<u64> {
        let now = u64::try_from(now.as_second()).ok()?;
        self.app()?.check(digits, now)
    }

    fn app(&self) -> Option<Totp> {
        self.builder().build().ok()
    }

    fn builder(&self) -> Builder {
        Builder::new()
            .with_algorithm(Algorithm::SHA1)
            .with_digits(DIGITS)
            .with_skew(DRIFT)
            .with_step_duration(STEP)
            .with_secret(self.0.to_vec())
    }

    /// The code of a time.
    #[cfg(test)]
    pub fn code_at(&self, at: Timestamp) -> String {
        let at = u64::try_from(at.as_second()).unwrap();
        self.app().unwrap().generate(at).to_string()
    }
}

/// An address as a picture, in SVG.
pub fn picture(uri: &str) -> Result<String, Problem> {
    let code = QrCode::with_error_correction_level(uri, EcLevel::M).map_err(Problem::internal)?;
    let picture = code
        .render::<svg::Color<'_>>()
        .min_dimensions(220, 220)
        .dark_color(svg::Color("#000000"))
        .light_color(svg::Color("#ffffff"))
        .build();
    Ok(picture)
}

/// What somebody types as their second factor.
#[derive(Clone, PartialEq, Eq)]
pub enum Code {
    /// Six digits of the app.
    App(String),
    /// A recovery code.
    Recovery(Fingerprint),
}

impl std::fmt::Debug for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Code(…)")
    }
}

impl FromStr for Code {
    type Err = Problem;

    /// Spaces, dashes and small letters are nobody's fault, nor are the digits that
    /// look like letters.
    fn from_str(raw: &str) -> Result<Self, Problem> {
        let plain = |letter: &char| !letter.is_whitespace() && *letter != '-';
        let typed: String = raw.chars().filter(plain).take(LONGEST).collect();
        if typed.len() == usize::from(DIGITS) && typed.bytes().all(|it| it.is_ascii_digit()) {
            return Ok(Self::App(typed));
        }
        let letters: String = typed.chars().filter_map(letter).collect();
        if letters.len() == RECOVERY_LETTERS && letters.len() == typed.len() {
            return Ok(Self::Recovery(kept(&letters)));
        }
        Err(Problem::invalid(
            "code",
            format!(
                "a code has {DIGITS} digits, and a recovery code {RECOVERY_LETTERS} letters and digits"
            ),
        ))
    }
}

/// A letter of a recovery code (base32), as it was meant.
fn letter(typed: char) -> Option<char> {
    match typed.to_ascii_uppercase() {
        '0' => Some('O'),
        '1' => Some('I'),
        '8' => Some('B'),
        letter @ ('A'..='Z' | '2'..='7') => Some(letter),
        _ => None,
    }
}

/// What is kept of a recovery code.
fn kept(letters: &str) -> Fingerprint {
    secret::fingerprint(&format!("recovery code {letters}"))
}

/// New recovery codes: as they are shown, once, and what is kept of them.
pub fn recovery_codes() -> (Vec<String>, Vec<Fingerprint>) {
    let new = || {
        let random = rand::random::<[u8; RECOVERY]>();
        let letters = totp_rs::Secret::from(random.to_vec()).to_base32();
        (grouped(&letters), kept(&letters))
    };
    (0..RECOVERY_CODES).map(|_| new()).unzip()
}

fn grouped(letters: &str) -> String {
    let letters = letters.as_bytes();
    let groups: Vec<_> = letters.chunks(GROUP).map(String::from_utf8_lossy).collect();
    groups.join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// The secret of RFC 6238's appendix B.
    fn of_the_rfc() -> Secret {
        Secret::of(b"12345678901234567890").unwrap()
    }

    #[test]
    fn codes_are_those_of_the_rfc() {
        // Of its eight digits the last six.
        for (second, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            let step = of_the_rfc().step_of(code, at(second));
            assert_eq!(step, Some(u64::try_from(second / 30).unwrap()), "{second}");
        }
    }

    #[test]
    fn a_clock_may_be_wrong_by_one_step_and_no_more() {
        let secret = Secret::generate();
        let now = at(1_800_000_010);
        let of = |second| secret.step_of(&secret.code_at(at(second)), now);
        for (second, step) in [(-30, -1), (0, 0), (30, 1)] {
            let step = u64::try_from(1_800_000_000 / 30 + step).unwrap();
            assert_eq!(of(1_800_000_000 + second), Some(step), "{second}");
        }
        assert_eq!(of(1_800_000_000 - 60), None);
        assert_eq!(of(1_800_000_000 + 60), None);
        let code = secret.code_at(now);
        assert_eq!(Secret::generate().step_of(&code, now), None);
        for wrong in ["", "12345", "1234567", "abcdef"] {
            assert_eq!(secret.step_of(wrong, now), None);
        }
    }

    #[test]
    fn an_app_reads_who_and_what() {
        let user = Username::parse("alice").unwrap();
        let uri = of_the_rfc().uri(&user).unwrap();
        assert!(uri.starts_with("otpauth://totp/Waybill:alice?"), "{uri}");
        assert!(
            uri.contains("secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"),
            "{uri}"
        );
        assert!(uri.contains("issuer=Waybill"), "{uri}");
        assert_eq!(
            of_the_rfc().text(),
            "GEZD-GNBV-GY3T-QOJQ-GEZD-GNBV-GY3T-QOJQ"
        );
        let picture = picture(&uri).unwrap();
        assert!(picture.contains("<svg") && !picture.contains("GEZDGNBV"));
        // Our pages allow no style of their own.
        assert!(!picture.contains("style"), "{picture}");
    }

    #[test]
    fn what_is_typed_is_read_kindly() {
        let app = |raw: &str| raw.parse::<Code>().unwrap();
        assert_eq!(app(" 012 345 "), Code::App("012345".into()));
        assert_eq!(app("012-345"), Code::App("012345".into()));
        let (shown, kept) = recovery_codes();
        assert_eq!((shown.len(), kept.len()), (10, 10));
        for (shown, kept) in shown.iter().zip(&kept) {
            assert_eq!(shown.len(), 29, "{shown}");
            for typed in [
                shown.clone(),
                shown.to_lowercase().replace('-', " "),
                shown.replace('O', "0").replace('I', "1").replace('B', "8"),
            ] {
                assert_eq!(app(&typed), Code::Recovery(kept.clone()), "{typed}");
            }
        }
        for wrong in [
            "",
            "12345",
            "1234567",
            "12345é",
            &"A".repeat(25),
            &"9".repeat(24),
        ] {
            let refused = wrong.parse::<Code>().unwrap_err();
            assert_eq!(refused.field.as_deref(), Some("code"), "{wrong}");
        }
    }
}
