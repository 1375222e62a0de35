//! Words of others: what customers, admins, the payment provider and the
//! carrier write. They are kept as they were meant, never whole at any price:
//! what cannot be seen is left out ([`plain`]), they have a longest length
//! ([`bounded`]), and beside our own words they do not turn those around
//! ([`isolated`], [`quoted`]).
//!
//! Whatever is deserialized into a type of this crate is bounded on its way in
//! by the functions of [`kept`]: a call past the gateway, a receipt at Restate's
//! awakeable, and what an older version has stored. `tests/words.rs` looks at
//! every field of every such type.
//!
//! Which characters are which is Unicode's own data (ICU4X, by the Unicode
//! Consortium; the crate is in the tree already, for the host names of URLs).

use std::borrow::Cow;

use icu_properties::props::{
    BidiClass, CanonicalCombiningClass, DefaultIgnorableCodePoint, EmojiModifier,
    ExtendedPictographic, GeneralCategory, GeneralCategoryGroup, JoinControl,
    NoncharacterCodePoint, PrependedConcatenationMark, VariationSelector,
};
use icu_properties::{CodePointMapData, CodePointSetData};

/// Longest reason that is kept, in characters.
pub const MAX_REASON: usize = 500;
/// Longest name that is kept: a carrier's, a tracking number, whoever decided.
pub const MAX_NAME: usize = 100;
/// Longest name of a product that is kept.
pub const MAX_TITLE: usize = 200;
/// Longest description of a product that is kept.
pub const MAX_DESCRIPTION: usize = 2_000;
/// Longest name of a currency that is told.
pub const MAX_CURRENCY: usize = 20;
/// Longest address that is kept.
pub const MAX_ADDRESS: usize = 500;
/// Longest sentence of ours with words of others in it.
pub const MAX_DETAIL: usize = 1_000;
/// Longest id of somebody else's that is kept.
pub const MAX_FOREIGN_ID: usize = 300;
/// Longest address of a payment page that is kept; a longer one is none.
pub const MAX_URL: usize = 2_000;

/// Stands where something was cut off.
const CUT: char = '…';
/// First strong isolate: what follows has its own direction.
const FSI: char = '\u{2068}';
/// Pop directional isolate: the end of that.
const PDI: char = '\u{2069}';

/// `raw` without what cannot be seen: control characters other than ends of
/// lines and tabs, invisible format characters (among them those that turn the
/// direction of text), noncharacters. What such characters are for stays:
/// emoji with their joiners, variants and flags, and the joiners between
/// letters of scripts that need them.
pub fn plain(raw: &str) -> Cow<'_, str> {
    if !raw.chars().any(is_hidden_or_break) {
        return Cow::Borrowed(raw);
    }
    let letters: Vec<char> = raw.chars().collect();
    let mut out = String::with_capacity(raw.len());
    let mut last = None;
    let mut at = 0;
    while let Some(&letter) = letters.get(at) {
        let tags = flag_tags(&letters[at..]);
        if letter == FLAG && tags > 0 {
            out.extend(&letters[at..=at + tags]);
            at += tags + 1;
            last = Some(FLAG);
            continue;
        }
        at += 1;
        // One kind of line end, which every reader knows.
        let letter = if is_break(letter) { '\n' } else { letter };
        if !is_hidden(letter) || is_needed(last, letter, letters.get(at).copied()) {
            out.push(letter);
            last = Some(letter);
        }
    }
    Cow::Owned(out)
}

/// Whether there is something in `text` that [`plain`] would leave out.
pub fn has_hidden(text: &str) -> bool {
    plain(text) != text
}

/// Whether `text` has something to see: a letter, a digit or a sign, not only
/// spaces and marks without a letter.
pub fn is_visible(text: &str) -> bool {
    plain(text).chars().any(|letter| {
        !BLANKS.contains(&letter) && !is_hidden(letter) && {
            let category = category(letter);
            GeneralCategoryGroup::Letter
                .union(GeneralCategoryGroup::Number)
                .union(GeneralCategoryGroup::Punctuation)
                .union(GeneralCategoryGroup::Symbol)
                .contains(category)
        }
    })
}

/// At most `max` characters of `raw`, [`plain`] and trimmed; `…` stands for
/// what is cut off.
pub fn bounded(raw: &str, max: usize) -> String {
    // What is beyond is not looked at: hidden characters could go on for long.
    let raw = head(raw, max.saturating_mul(4));
    let text = plain(raw.trim());
    let text = text.trim();
    if text.chars().count() <= max {
        return text.to_owned();
    }
    let mut cut = plain(head(text, max.saturating_sub(1)))
        .trim_end()
        .to_owned();
    cut.push(CUT);
    cut
}

/// Words of others as they stand in a sentence of ours: [`bounded`], on one
/// line, [`isolated`].
pub fn quoted(raw: &str, max: usize) -> String {
    let one_line = raw.split_whitespace().collect::<Vec<_>>().join(" ");
    isolated(&bounded(&one_line, max)).into_owned()
}

/// `text` so that its direction ends where it ends: between U+2068 and U+2069.
/// Text that runs from left to right, as ours does, comes back as it is.
/// Characters that turn the direction of text are left out of it, except
/// isolates that are complete.
pub fn isolated(text: &str) -> Cow<'_, str> {
    if text.is_ascii() || !text.chars().any(turns) {
        return Cow::Borrowed(text);
    }
    let complete = isolates_are_complete(text);
    if complete && is_one_isolate(text) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 2 * FSI.len_utf8());
    out.push(FSI);
    out.extend(text.chars().filter(|letter| match *letter {
        FSI | PDI => complete,
        letter => !is_embedding(letter),
    }));
    out.push(PDI);
    Cow::Owned(out)
}

/// The waving black flag: with tags after it, the flag of a region.
const FLAG: char = '\u{1F3F4}';
/// Ends a region's flag.
const CANCEL_TAG: char = '\u{E007F}';
/// Longest code of a region, e.g. `gbeng`.
const MAX_REGION: usize = 6;
/// Signs by their category, and nothing to see: the empty braille cell, the
/// empty note head, and what stands for a picture that did not come along.
const BLANKS: [char; 5] = [
    '\u{2800}',
    '\u{1D159}',
    '\u{FFFC}',
    // Egyptian hieroglyph full and half blank.
    '\u{13441}',
    '\u{13442}',
];

fn category(letter: char) -> GeneralCategory {
    CodePointMapData::<GeneralCategory>::new().get(letter)
}

fn is_break(letter: char) -> bool {
    matches!(letter, '\u{2028}' | '\u{2029}')
}

fn is_hidden_or_break(letter: char) -> bool {
    is_hidden(letter) || is_break(letter)
}

fn is_hidden(letter: char) -> bool {
    if letter.is_ascii() {
        return letter.is_ascii_control() && !matches!(letter, '\n' | '\r' | '\t');
    }
    CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(letter)
        || CodePointSetData::new::<NoncharacterCodePoint>().contains(letter)
        || match category(letter) {
            GeneralCategory::Control => true,
            // Signs before numbers, in Arabic and others, are seen.
            GeneralCategory::Format => {
                !CodePointSetData::new::<PrependedConcatenationMark>().contains(letter)
            }
            _ => false,
        }
}

/// Whether a hidden character does its work where it stands: after `last`,
/// which is kept, and before `next`.
fn is_needed(last: Option<char>, letter: char, next: Option<char>) -> bool {
    let Some(last) = last else { return false };
    if CodePointSetData::new::<VariationSelector>().contains(letter) {
        return !last.is_whitespace() && !is_hidden(last) && !BLANKS.contains(&last);
    }
    if !CodePointSetData::new::<JoinControl>().contains(letter) {
        return false;
    }
    // Half letters: രാജന്‍ is written with one at its end.
    if CodePointMapData::<CanonicalCombiningClass>::new().get(last)
        == CanonicalCombiningClass::Virama
    {
        return true;
    }
    let Some(next) = next else { return false };
    let is_picture = |letter| CodePointSetData::new::<ExtendedPictographic>().contains(letter);
    let ends_a_picture = is_picture(last)
        || CodePointSetData::new::<EmojiModifier>().contains(last)
        || CodePointSetData::new::<VariationSelector>().contains(last);
    let joins_letters = is_written_joined(last) && is_written_joined(next);
    (ends_a_picture && is_picture(next)) || joins_letters
}

/// Letters, digits and marks beyond ASCII: Persian, Hindi, …
fn is_written_joined(letter: char) -> bool {
    !letter.is_ascii()
        && !is_hidden(letter)
        && (letter.is_alphanumeric() || GeneralCategoryGroup::Mark.contains(category(letter)))
}

/// How many characters after a [`FLAG`] make it a region's; 0 for none.
fn flag_tags(letters: &[char]) -> usize {
    let is_tag =
        |letter: &&char| matches!(**letter, '\u{E0030}'..='\u{E0039}' | '\u{E0061}'..='\u{E007A}');
    let tags = letters.iter().skip(1).take_while(is_tag).count();
    if (1..=MAX_REGION).contains(&tags) && letters.get(tags + 1) == Some(&CANCEL_TAG) {
        tags + 1
    } else {
        0
    }
}

/// The first `max` characters.
fn head(text: &str, max: usize) -> &str {
    match text.char_indices().nth(max) {
        Some((end, _)) => &text[..end],
        None => text,
    }
}

/// Whether a character can change the direction of what stands beside it.
fn turns(letter: char) -> bool {
    let class = CodePointMapData::<BidiClass>::new().get(letter);
    [
        BidiClass::RightToLeft,
        BidiClass::ArabicLetter,
        BidiClass::ArabicNumber,
        BidiClass::FirstStrongIsolate,
        BidiClass::PopDirectionalIsolate,
    ]
    .contains(&class)
        || is_embedding(letter)
}

/// Embeddings, overrides and isolates of a fixed direction: nothing of ours
/// makes them.
fn is_embedding(letter: char) -> bool {
    let class = CodePointMapData::<BidiClass>::new().get(letter);
    [
        BidiClass::LeftToRightEmbedding,
        BidiClass::LeftToRightOverride,
        BidiClass::RightToLeftEmbedding,
        BidiClass::RightToLeftOverride,
        BidiClass::PopDirectionalFormat,
        BidiClass::LeftToRightIsolate,
        BidiClass::RightToLeftIsolate,
    ]
    .contains(&class)
}

fn isolates_are_complete(text: &str) -> bool {
    let end = text
        .chars()
        .try_fold(0_usize, |depth, letter| match letter {
            FSI => Some(depth + 1),
            PDI => depth.checked_sub(1),
            letter if is_embedding(letter) => None,
            _ => Some(depth),
        });
    end == Some(0)
}

/// Whether a text with complete isolates is a single one.
fn is_one_isolate(text: &str) -> bool {
    let inner = text
        .strip_prefix(FSI)
        .and_then(|text| text.strip_suffix(PDI));
    inner.is_some_and(isolates_are_complete)
}

/// `#[serde(deserialize_with = …)]`: bounds words where they come in.
pub(crate) mod kept {
    use serde::{Deserialize, Deserializer};

    use super::{
        CUT, MAX_ADDRESS, MAX_DESCRIPTION, MAX_FOREIGN_ID, MAX_NAME, MAX_REASON, MAX_TITLE,
        MAX_URL, bounded, head,
    };

    /// A name, or the like.
    pub(crate) fn name<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
        String::deserialize(from).map(|raw| short(raw, MAX_NAME))
    }

    /// Several of them.
    pub(crate) fn names<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
        let raw = Vec::<String>::deserialize(from)?;
        Ok(raw.into_iter().map(|raw| short(raw, MAX_NAME)).collect())
    }

    /// The same, if there is one.
    pub(crate) fn a_name<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
        let raw = Option::<String>::deserialize(from)?;
        Ok(raw.map(|raw| short(raw, MAX_NAME)))
    }

    /// The name of a product.
    pub(crate) fn title<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
        String::deserialize(from).map(|raw| short(raw, MAX_TITLE))
    }

    /// What a product is.
    pub(crate) fn description<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
        String::deserialize(from).map(|raw| short(raw, MAX_DESCRIPTION))
    }

    /// An address, line by line.
    pub(crate) fn address<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
        String::deserialize(from).map(|raw| short(raw, MAX_ADDRESS))
    }

    /// The same, if there is one.
    pub(crate) fn an_address<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<String>, D::Error> {
        let raw = Option::<String>::deserialize(from)?;
        Ok(raw.map(|raw| short(raw, MAX_ADDRESS)))
    }

    /// Why.
    pub(crate) fn reason<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
        String::deserialize(from).map(|raw| short(raw, MAX_REASON))
    }

    /// Why, if that is said.
    pub(crate) fn a_reason<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
        let raw = Option::<String>::deserialize(from)?;
        Ok(raw.map(|raw| short(raw, MAX_REASON)))
    }

    /// A sentence of ours, with isolates around words of others.
    pub(crate) fn detail<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
        String::deserialize(from).map(super::detail)
    }

    /// The same, if there is one.
    pub(crate) fn a_detail<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
        Ok(Option::<String>::deserialize(from)?.map(super::detail))
    }

    /// Somebody else's id. Nothing is left out of it: that would be another id.
    pub(crate) fn id<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
        String::deserialize(from).map(cut_id)
    }

    /// The same, if there is one.
    pub(crate) fn an_id<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
        Ok(Option::<String>::deserialize(from)?.map(cut_id))
    }

    /// A page's address; none when it is too long, since a part of it leads
    /// elsewhere.
    pub(crate) fn url<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
        let url = String::deserialize(from)?;
        Ok(if url.len() <= MAX_URL {
            url
        } else {
            String::new()
        })
    }

    /// The same, if there is one.
    pub(crate) fn a_url<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
        let url = Option::<String>::deserialize(from)?;
        Ok(url.filter(|url| url.len() <= MAX_URL))
    }

    /// Nearly all words are short and of ASCII: they are not copied.
    fn short(raw: String, max: usize) -> String {
        let is_tame = raw.len() <= max
            && raw.bytes().all(|byte| (b' '..=b'~').contains(&byte))
            && raw.trim().len() == raw.len();
        if is_tame { raw } else { bounded(&raw, max) }
    }

    /// One that is cut can never be taken for a whole one: ids are ASCII.
    fn cut_id(raw: String) -> String {
        if raw.len() <= MAX_FOREIGN_ID {
            return raw;
        }
        format!("{}{}", head(&raw, MAX_FOREIGN_ID - 1), CUT)
    }
}

/// A whole number as people read it: `10,000`.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A sentence of ours with words of others in it, at most [`MAX_DETAIL`] long.
pub fn detail(sentence: String) -> String {
    if sentence.len() <= MAX_DETAIL || sentence.chars().count() <= MAX_DETAIL {
        return sentence;
    }
    // The isolate that was cut open is closed again.
    let cut = format!("{}{CUT}", head(&sentence, MAX_DETAIL - 3));
    let open = cut
        .matches(FSI)
        .count()
        .saturating_sub(cut.matches(PDI).count());
    cut + &PDI.to_string().repeat(open.min(2))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What the eye does not see, alone.
    const INVISIBLE: [&str; 27] = [
        "\u{200B}",
        "\u{2060}",
        "\u{FEFF}",
        "\u{00AD}",
        "\u{3164}",
        "\u{115F}",
        "\u{1160}",
        "\u{FFA0}",
        "\u{2800}",
        "\u{180E}",
        "\u{202A}",
        "\u{202E}",
        "\u{2066}",
        "\u{2069}",
        "\u{200E}",
        "\u{200F}",
        "\u{061C}",
        "\u{200C}",
        "\u{200D}",
        "\u{FE0F}",
        "\u{E0061}",
        "\u{E007F}",
        "\u{0301}",
        "\u{2028}",
        "\u{FFFF}",
        "\u{FFF9}",
        "\u{E000}",
    ];

    #[test]
    fn thousands_are_set_apart() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (10_000, "10,000"),
            (1_234_567, "1,234,567"),
            (u64::MAX, "18,446,744,073,709,551,615"),
        ] {
            assert_eq!(thousands(number), text);
        }
    }

    #[test]
    fn what_cannot_be_seen_is_nothing_to_see() {
        for invisible in INVISIBLE {
            assert!(!is_visible(invisible), "{invisible:?}");
            assert!(!is_visible(&invisible.repeat(40)), "{invisible:?}");
            assert!(is_visible(&format!("{invisible}a{invisible}")));
        }
        assert!(!is_visible(" \u{A0}\u{3000}\t\n"));
        assert!(!is_visible(
            "\u{1F3F4}\u{E0061}".strip_prefix('\u{1F3F4}').unwrap()
        ));
    }

    #[test]
    fn it_goes_from_between_what_can_be_seen() {
        for invisible in INVISIBLE {
            let kept = ["\u{2800}", "\u{0301}", "\u{E000}"];
            let expected = match invisible {
                "\u{2028}" => "1 Main\nStreet".to_owned(),
                // Signs and letters of their own, or marks on the letter before.
                invisible if kept.contains(&invisible) => format!("1 Main{invisible}Street"),
                // A letter's variant.
                "\u{FE0F}" => "1 Main\u{FE0F}Street".to_owned(),
                _ => "1 MainStreet".to_owned(),
            };
            assert_eq!(
                plain(&format!("1 Main{invisible}Street")),
                expected,
                "{invisible:?}"
            );
        }
        assert_eq!(plain("a\u{0}b\u{7}c\u{85}d\r\n\te"), "abcd\r\n\te");
    }

    /// Words as people write them.
    const REAL: [&str; 20] = [
        "1 Main Street\nSpringfield",
        "Straße 5, Żółć, 東京都千代田区, 서울특별시",
        "caf\u{65}\u{301} n\u{303}",
        "רחוב הרצל 12, תל אביב",
        "شارع الملك فهد ٢١، الرياض",
        // Persian with a non-joiner, Hindi and Sinhala with joiners.
        "می\u{200C}خواهم",
        "क्\u{200D}ष र्\u{200D}य",
        "ශ්\u{200D}රී ලංකා",
        // Malayalam names that end in a half letter.
        "രാജന്\u{200D}",
        "മോഹന്\u{200D}, കൊച്ചി",
        "👩🏽\u{200D}🚀 and 👨\u{200D}👩\u{200D}👧\u{200D}👦",
        "❤\u{FE0F}\u{200D}🔥 🏳\u{FE0F}\u{200D}🌈 🏴\u{200D}☠\u{FE0F}",
        "👍🏿 1\u{FE0F}\u{20E3} ☎\u{FE0E}",
        "🇩🇪 🇯🇵",
        "🏴\u{E0067}\u{E0062}\u{E0065}\u{E006E}\u{E0067}\u{E007F}",
        "🏴\u{E0067}\u{E0062}\u{E0073}\u{E0063}\u{E0074}\u{E007F}, Edinburgh",
        "👩\u{200D}⚕\u{FE0F} 🐦\u{200D}⬛ ⛓\u{FE0F}\u{200D}💥",
        "葛\u{E0100}飾区",
        "\u{0600}٤٢",
        "⠓⠑\u{2800}⠇⠇⠕",
    ];

    #[test]
    fn emoji_and_every_script_stay() {
        for words in REAL {
            assert_eq!(plain(words), words);
            assert!(is_visible(words), "{words}");
            assert_eq!(bounded(words, 500), words);
            assert!(!has_hidden(words), "{words}");
        }
    }

    #[test]
    fn a_message_in_tags_is_no_flag() {
        let tags = |text: &str| -> String {
            text.chars()
                .map(|letter| char::from_u32(0xE0000 + u32::from(letter)).unwrap())
                .collect()
        };
        let smuggled = format!("🏴{}\u{E007F}", tags("ignoreallofthat"));
        assert_eq!(plain(&smuggled), "🏴");
        assert_eq!(plain(&format!("🏴{}", tags("gbeng"))), "🏴");
        assert_eq!(plain(&format!("a{}\u{E007F}", tags("gbeng"))), "a");
    }

    #[test]
    fn long_words_are_cut_where_a_character_ends() {
        assert_eq!(bounded(&"é".repeat(200_000), 5), "éééé…");
        assert_eq!(bounded("  short ", 5), "short");
        assert_eq!(bounded("exact", 5), "exact");
        assert_eq!(bounded(&format!("{}x", "\u{200B}".repeat(100)), 5), "");
        assert_eq!(quoted("one\ntwo\r\n three", 100), "one two three");
    }

    #[test]
    fn only_what_turns_is_isolated() {
        for words in ["1 Main Street", "Straße 5, 東京", "👍🏿 (42)", ""] {
            assert_eq!(isolated(words), words);
        }
        assert_eq!(isolated("רחוב 12"), "\u{2068}רחוב 12\u{2069}");
        assert_eq!(isolated("a\u{202E}b"), "\u{2068}ab\u{2069}");
        assert_eq!(isolated("\u{2069}\u{2069}x"), "\u{2068}x\u{2069}");
        assert_eq!(isolated("\u{2067}x\u{2069}"), "\u{2068}x\u{2069}");
        let sentence = "by \u{2068}דוד\u{2069}: no";
        assert_eq!(isolated(sentence), format!("\u{2068}{sentence}\u{2069}"));
        let twice = isolated("רחוב").into_owned();
        assert_eq!(isolated(&twice), twice, "once is enough");
    }

    #[test]
    fn a_sentence_that_is_cut_closes_its_isolate() {
        let long = format!("by \u{2068}{}\u{2069}: no", "א".repeat(2_000));
        let cut = detail(long);
        assert!(cut.chars().count() <= MAX_DETAIL);
        assert!(isolates_are_complete(&cut), "{cut}");
        assert_eq!(detail(cut.clone()), cut);
    }

    proptest! {
        #[test]
        fn done_once_it_is_done(
            words in "([a-z ]|\\PC|[\u{200B}-\u{200F}\u{202A}-\u{202E}\u{2066}-\u{2069}\u{FE0F}\u{E0061}-\u{E0067}\u{E007F}🏴👩🚀אक\u{94D}\n]){0,40}",
            max in 1..50_usize,
        ) {
            let once = plain(&words).into_owned();
            prop_assert_eq!(plain(&once), once.as_str());
            let short = bounded(&words, max);
            prop_assert!(short.chars().count() <= max);
            prop_assert_eq!(&bounded(&short, max), &short);
            let alone = isolated(&words).into_owned();
            prop_assert_eq!(isolated(&alone), alone.as_str());
            prop_assert!(isolates_are_complete(&alone), "{:?}", alone);
            prop_assert_eq!(is_visible(&words), is_visible(&once));
        }
    }
}
