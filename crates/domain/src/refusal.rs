//! Every "no" a caller can get. A [`Refusal`] says that nothing was done, and
//! is not remembered: what stood in the way may have gone when it is asked
//! again. An outage is not here.
//!
//! Between services refusals travel as values; facing the ingress each becomes
//! a terminal error whose message is the refusal as JSON and whose code is
//! [`Refusal::code`]. The gateway turns that into `application/problem+json`.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::after_sales::status::ReturnStatus;
use crate::decision::verdict::Verdict;
use crate::ids::{OrderId, Sku, Username};
use crate::money::Cents;
use crate::order::status::OrderStatus;
use crate::words;

/// Why something was not done. The text says what to do instead.
#[derive(Debug, Clone, PartialEq, Eq, Error, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Refusal {
    /// Input that no rule accepts.
    #[error("{detail}")]
    Invalid {
        /// Which field.
        #[serde(deserialize_with = "words::kept::name")]
        field: String,
        /// What is accepted.
        #[serde(deserialize_with = "words::kept::detail")]
        detail: String,
    },
    /// Checkout of an empty cart.
    #[error("the cart is empty: add a product first")]
    EmptyCart,
    /// A change to a product that is not in the cart.
    #[error("{sku} is not in the cart: add it first")]
    NotInCart {
        /// Which product.
        sku: Sku,
    },
    /// Not enough pieces.
    #[error("not enough stock of {sku}: {available} left, so lower the quantity")]
    OutOfStock {
        /// Which product.
        sku: Sku,
        /// What is left.
        available: u64,
    },
    /// Nobody has told Inventory how many pieces there are.
    #[error("the stock of {sku} is not known yet: try again in a moment")]
    StockUnknown {
        /// Which product.
        sku: Sku,
    },
    /// The total is no longer what the caller saw.
    #[error(
        "prices have changed: {}the total is now {total_cents}, so check the cart and try again",
        in_lines(lines)
    )]
    PriceChanged {
        /// The total of now.
        total_cents: Cents,
        /// Lines of the cart that cost something else now.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        lines: Vec<ChangedLine>,
    },
    /// Something in the cart is no longer sold.
    #[error(
        "no longer sold: {}. Take it out of the cart and try again",
        named(products)
    )]
    NotSold {
        /// What.
        products: Vec<GoneProduct>,
    },
    /// A SKU that is taken, by a product that may be archived.
    #[error("there is a product {sku} already: choose another SKU, or edit or restore that one")]
    SkuTaken {
        /// Which.
        sku: Sku,
    },
    /// No such product.
    #[error("there is no product {sku}: check the SKU")]
    UnknownProduct {
        /// Which.
        sku: Sku,
    },
    /// A name of a zone that is taken.
    #[error(
        "there is a zone {} already: choose another name, or edit or restore that one",
        words::quoted(zone, words::MAX_NAME)
    )]
    ZoneTaken {
        /// Which.
        #[serde(deserialize_with = "words::kept::name")]
        zone: String,
    },
    /// No such zone.
    #[error(
        "there is no zone {}: check the name",
        words::quoted(zone, words::MAX_NAME)
    )]
    UnknownZone {
        /// Which.
        #[serde(deserialize_with = "words::kept::name")]
        zone: String,
    },
    /// Somebody else has changed it since it was looked at.
    #[error(
        "{} was changed by {by} meanwhile: {changes}. Nothing was saved: look at it again, then save",
        words::quoted(subject, words::MAX_NAME)
    )]
    EditedMeanwhile {
        /// What: a SKU, a zone.
        #[serde(deserialize_with = "words::kept::name")]
        subject: String,
        /// Who.
        #[serde(deserialize_with = "words::kept::name")]
        by: String,
        /// The version of now.
        version: u64,
        /// What is different from what was asked for.
        #[serde(deserialize_with = "words::kept::detail")]
        changes: String,
    },
    /// An import that is not staged whole.
    #[error("the import is not here whole: send its file again")]
    ImportLost,
    /// The cart changed while the checkout was on its way.
    #[error("the cart has changed meanwhile: look at it and try again")]
    CartChanged,
    /// No such order.
    #[error("there is no order {order_id}")]
    UnknownOrder {
        /// The id that was asked for.
        order_id: OrderId,
    },
    /// An order that waits for its payment on other terms than were asked for.
    #[error(
        "order {order_id} waits for its payment on other terms: {total_cents}, zone {}, to the address it was placed with. Pay it as it is, or cancel it and check out with another order_id",
        words::quoted(zone, words::MAX_NAME)
    )]
    OtherTerms {
        /// Which order.
        order_id: OrderId,
        /// Its zone.
        #[serde(deserialize_with = "words::kept::name")]
        zone: String,
        /// Where it goes.
        #[serde(deserialize_with = "words::kept::address")]
        shipping_address: String,
        /// What is to be paid.
        total_cents: Cents,
    },
    /// A user who has enough unpaid orders: each keeps pieces from others.
    #[error(
        "{most} of your orders wait for their payment, and no more may: pay or cancel one of them first"
    )]
    TooManyUnpaid {
        /// How many one may have.
        most: u32,
    },
    /// A key that was used for something else.
    #[error(
        "this Idempotency-Key was used for another request: nothing was done, so send a new key (in a browser: reload the page), or the same request again"
    )]
    IdempotencyKeyReused,
    /// An order that has ended, or gone too far, for what was asked.
    #[error("order {order_id} is {status} already: it is too late for this")]
    TooLate {
        /// Which order.
        order_id: OrderId,
        /// Where it stands.
        status: OrderStatus,
    },
    /// An order that nobody may decide yet.
    #[error("order {order_id} is not waiting for a decision yet: try again in a moment")]
    NotReady {
        /// Which order.
        order_id: OrderId,
    },
    /// Somebody else was first.
    #[error("order {order_id} was {} by {by} already", verdict.word())]
    AlreadyDecided {
        /// Which order.
        order_id: OrderId,
        /// The decision that stands.
        verdict: Verdict,
        /// Whose it is.
        #[serde(deserialize_with = "words::kept::name")]
        by: String,
    },
    /// What comes after a delivery, of an order that was not delivered.
    #[error("order {order_id} is {status}: this can be done once it is delivered")]
    NotDelivered {
        /// Which order.
        order_id: OrderId,
        /// Where it stands.
        status: OrderStatus,
    },
    /// What comes after a delivery, of an order that is not kept any more.
    #[error("order {order_id} is too old: its records are closed")]
    NothingKept {
        /// Which order.
        order_id: OrderId,
    },
    /// A return that is asked for too late.
    #[error(
        "pieces of {order_id} could be returned until {}: it is too late",
        until.strftime("%Y-%m-%d %H:%M UTC")
    )]
    ReturnWindowOver {
        /// Which order.
        order_id: OrderId,
        /// Until when.
        until: Timestamp,
    },
    /// A return while another is under way.
    #[error("return {number} of {order_id} is under way: wait until it has ended")]
    ReturnOpen {
        /// Which order.
        order_id: OrderId,
        /// Which return.
        number: u32,
    },
    /// More pieces than there are to come back.
    #[error("{left} pieces of {sku} can be named here: name no more")]
    NotReturnable {
        /// Which field.
        #[serde(deserialize_with = "words::kept::name")]
        field: String,
        /// Which product.
        sku: Sku,
        /// How many.
        left: u32,
    },
    /// No such return.
    #[error("there is no return {number} of {order_id}")]
    UnknownReturn {
        /// Which order.
        order_id: OrderId,
        /// Which return.
        number: u32,
    },
    /// A parcel of a return that nobody has decided.
    #[error("return {number} of {order_id} is not decided yet: accept it first")]
    ReturnUndecided {
        /// Which order.
        order_id: OrderId,
        /// Which return.
        number: u32,
    },
    /// A return that somebody else was faster with.
    #[error(
        "return {number} of {order_id} is {} already{}",
        status.word(),
        if by.is_empty() { String::new() } else { format!(" (by {})", words::quoted(by, words::MAX_NAME)) }
    )]
    ReturnDecided {
        /// Which order.
        order_id: OrderId,
        /// Which return.
        number: u32,
        /// Where it stands.
        status: ReturnStatus,
        /// Who has brought it there.
        #[serde(deserialize_with = "words::kept::name")]
        by: String,
    },
    /// More money than can go back.
    #[error("at most {left_cents} can go back: that is what was captured and has not gone back")]
    RefundTooMuch {
        /// Which field.
        #[serde(deserialize_with = "words::kept::name")]
        field: String,
        /// How much.
        left_cents: Cents,
    },
    /// A name that is taken.
    #[error("there is a user {user} already: choose another name")]
    UserExists {
        /// Who.
        user: Username,
    },
    /// A shop that has its first admin.
    #[error("this shop has an admin already, {user}: nothing was done")]
    ShopOpened {
        /// Who.
        user: Username,
    },
    /// Nobody of that name.
    #[error("there is no user {user}: check the name")]
    UnknownUser {
        /// Who.
        user: Username,
    },
    /// What was shown does not open this account (any more).
    #[error("user name or password is wrong: check both and try again")]
    NotSignedIn,
    /// Somebody of that name whom the identity provider has not signed in before.
    #[error(
        "the user {user} here is not bound to who your organisation says you are: ask an admin to bind it to you (`gateway user bind`), or to give you another name"
    )]
    OtherIdentity {
        /// Who.
        user: Username,
    },
    /// A link that was used, has expired, or never was.
    #[error("this link does not work any more: ask an admin for a new one")]
    LinkOver,
    /// The password is right, and the account has a second factor.
    #[error(
        "a code is needed, too: the one that your authenticator app shows now, or a recovery code"
    )]
    CodeNeeded,
    /// A code that is not right.
    #[error(
        "the code is wrong: use the one that your app shows now, and check that the clock of its device is right"
    )]
    WrongCode,
    /// A code that was right, and was used.
    #[error("this code was used already: wait for the next one, half a minute at most")]
    CodeUsed,
    /// Nobody looks at codes from there today.
    #[error(
        "too many wrong codes were tried for this account: use a recovery code, or a place where you have signed in before, or try again tomorrow"
    )]
    TooManyCodes,
    /// A second factor where there is one.
    #[error("there is a second factor already: switch it off first")]
    HasFactor,
    /// No second factor where one is needed.
    #[error("there is no second factor: set one up first")]
    NoFactor,
    /// No such payment attempt.
    #[error("no payment waits under this awakeable_id: use the one the checkout answered")]
    UnknownPayment,
    /// Money that pays, or was meant to pay, for something else.
    #[error(
        "transaction {} belongs to another payment: nothing was accepted, so name the transaction of this one",
        words::quoted(transaction_id, words::MAX_FOREIGN_ID)
    )]
    TransactionInUse {
        /// Which.
        #[serde(deserialize_with = "words::kept::id")]
        transaction_id: String,
    },
    /// A successful payment of a wrong amount.
    #[error("the amount must be {expected_cents} ({}): nothing was accepted", expected_cents.0)]
    WrongAmount {
        /// What is to be paid.
        expected_cents: Cents,
    },
}

/// A line of a cart that costs something else now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangedLine {
    /// Which product.
    pub sku: Sku,
    /// What it was called in the cart.
    #[serde(deserialize_with = "words::kept::title")]
    pub name: String,
    /// What a piece cost when it was put into the cart.
    pub was_cents: Cents,
    /// What a piece costs now.
    pub now_cents: Cents,
}

/// A product that is no longer sold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GoneProduct {
    /// Which.
    pub sku: Sku,
    /// What it was called.
    #[serde(deserialize_with = "words::kept::title")]
    pub name: String,
}

/// Products that a sentence names: the rest of them is a number.
const NAMED: usize = 5;

fn in_lines(lines: &[ChangedLine]) -> String {
    let said = lines.iter().take(NAMED).map(|line| {
        format!(
            "{} is {} now and was {}; ",
            words::quoted(&line.name, words::MAX_NAME),
            line.now_cents,
            line.was_cents
        )
    });
    said.chain(and_more(lines.len()).map(|more| format!("{more}; ")))
        .collect()
}

fn named(products: &[GoneProduct]) -> String {
    let said = products.iter().take(NAMED).map(|product| {
        format!(
            "{} ({})",
            words::quoted(&product.name, words::MAX_NAME),
            product.sku
        )
    });
    let said: Vec<_> = said.chain(and_more(products.len())).collect();
    said.join(", ")
}

fn and_more(all: usize) -> Option<String> {
    (all > NAMED).then(|| format!("{} more", all - NAMED))
}

impl Refusal {
    /// Input that no rule accepts.
    pub fn invalid(field: &str, detail: impl Into<String>) -> Self {
        Self::Invalid {
            field: field.to_owned(),
            detail: detail.into(),
        }
    }

    /// The HTTP status that says the same.
    pub fn code(&self) -> u16 {
        match self {
            Self::Invalid { .. } | Self::EmptyCart => 400,
            Self::NotInCart { .. }
            | Self::UnknownOrder { .. }
            | Self::UnknownUser { .. }
            | Self::UnknownReturn { .. }
            | Self::UnknownProduct { .. }
            | Self::UnknownZone { .. }
            | Self::UnknownPayment => 404,
            Self::NotSignedIn | Self::CodeNeeded => 401,
            Self::WrongCode | Self::CodeUsed => 403,
            Self::TooManyCodes => 429,
            Self::LinkOver => 410,
            Self::WrongAmount { .. } | Self::IdempotencyKeyReused => 422,
            Self::StockUnknown { .. } => 503,
            Self::OutOfStock { .. }
            | Self::PriceChanged { .. }
            | Self::NotSold { .. }
            | Self::SkuTaken { .. }
            | Self::ZoneTaken { .. }
            | Self::EditedMeanwhile { .. }
            | Self::ImportLost
            | Self::OtherTerms { .. }
            | Self::TooManyUnpaid { .. }
            | Self::TransactionInUse { .. }
            | Self::CartChanged
            | Self::TooLate { .. }
            | Self::NotReady { .. }
            | Self::AlreadyDecided { .. }
            | Self::NotDelivered { .. }
            | Self::NothingKept { .. }
            | Self::ReturnWindowOver { .. }
            | Self::ReturnOpen { .. }
            | Self::NotReturnable { .. }
            | Self::ReturnUndecided { .. }
            | Self::ReturnDecided { .. }
            | Self::RefundTooMuch { .. }
            | Self::UserExists { .. }
            | Self::ShopOpened { .. }
            | Self::HasFactor
            | Self::NoFactor
            | Self::OtherIdentity { .. } => 409,
        }
    }

    /// The stable name of this kind of refusal, e.g. `out_of_stock`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Invalid { .. } => "invalid",
            Self::EmptyCart => "empty_cart",
            Self::NotInCart { .. } => "not_in_cart",
            Self::OutOfStock { .. } => "out_of_stock",
            Self::StockUnknown { .. } => "stock_unknown",
            Self::PriceChanged { .. } => "price_changed",
            Self::NotSold { .. } => "not_sold",
            Self::SkuTaken { .. } => "sku_taken",
            Self::UnknownProduct { .. } => "unknown_product",
            Self::ZoneTaken { .. } => "zone_taken",
            Self::UnknownZone { .. } => "unknown_zone",
            Self::EditedMeanwhile { .. } => "edited_meanwhile",
            Self::ImportLost => "import_lost",
            Self::OtherTerms { .. } => "other_terms",
            Self::TooManyUnpaid { .. } => "too_many_unpaid",
            Self::IdempotencyKeyReused => "idempotency_key_reused",
            Self::CartChanged => "cart_changed",
            Self::UnknownOrder { .. } => "unknown_order",
            Self::TooLate { .. } => "too_late",
            Self::NotReady { .. } => "not_ready",
            Self::AlreadyDecided { .. } => "already_decided",
            Self::NotDelivered { .. } => "not_delivered",
            Self::NothingKept { .. } => "nothing_kept",
            Self::ReturnWindowOver { .. } => "return_window_over",
            Self::ReturnOpen { .. } => "return_open",
            Self::NotReturnable { .. } => "not_returnable",
            Self::UnknownReturn { .. } => "unknown_return",
            Self::ReturnUndecided { .. } => "return_undecided",
            Self::ReturnDecided { .. } => "return_decided",
            Self::RefundTooMuch { .. } => "refund_too_much",
            Self::UserExists { .. } => "user_exists",
            Self::ShopOpened { .. } => "shop_opened",
            Self::UnknownUser { .. } => "unknown_user",
            Self::NotSignedIn => "not_signed_in",
            Self::OtherIdentity { .. } => "other_identity",
            Self::LinkOver => "link_over",
            Self::CodeNeeded => "code_needed",
            Self::WrongCode => "wrong_code",
            Self::CodeUsed => "code_used",
            Self::TooManyCodes => "too_many_codes",
            Self::HasFactor => "has_factor",
            Self::NoFactor => "no_factor",
            Self::UnknownPayment => "unknown_payment",
            Self::TransactionInUse { .. } => "transaction_in_use",
            Self::WrongAmount { .. } => "wrong_amount",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::too_many_lines, reason = "there is one of each")]
    fn the_kind_is_the_type_on_the_wire() {
        let order_id = OrderId::parse("alice.1").unwrap();
        let sku = Sku::parse("A").unwrap();
        for refusal in [
            Refusal::invalid("x", "y"),
            Refusal::EmptyCart,
            Refusal::NotInCart { sku: sku.clone() },
            Refusal::StockUnknown { sku: sku.clone() },
            Refusal::NotSold {
                products: vec![GoneProduct {
                    sku: sku.clone(),
                    name: "Kettle".into(),
                }],
            },
            Refusal::SkuTaken { sku: sku.clone() },
            Refusal::UnknownProduct { sku: sku.clone() },
            Refusal::ZoneTaken {
                zone: "Local".into(),
            },
            Refusal::UnknownZone {
                zone: "Local".into(),
            },
            Refusal::EditedMeanwhile {
                subject: "A".into(),
                by: "ann".into(),
                version: 2,
                changes: "price is $2.00 and not $1.00".into(),
            },
            Refusal::ImportLost,
            Refusal::PriceChanged {
                total_cents: Cents(1),
                lines: vec![ChangedLine {
                    sku: sku.clone(),
                    name: "Kettle".into(),
                    was_cents: Cents(1),
                    now_cents: Cents(2),
                }],
            },
            Refusal::OutOfStock { sku, available: 1 },
            Refusal::OtherTerms {
                order_id: order_id.clone(),
                zone: "Local".into(),
                shipping_address: "1 Old Street".into(),
                total_cents: Cents(1),
            },
            Refusal::TooManyUnpaid { most: 5 },
            Refusal::IdempotencyKeyReused,
            Refusal::TransactionInUse {
                transaction_id: "txn-1".into(),
            },
            Refusal::PriceChanged {
                total_cents: Cents(1),
                lines: vec![],
            },
            Refusal::CartChanged,
            Refusal::UnknownOrder {
                order_id: order_id.clone(),
            },
            Refusal::TooLate {
                order_id: order_id.clone(),
                status: OrderStatus::Shipping,
            },
            Refusal::NotReady {
                order_id: order_id.clone(),
            },
            Refusal::AlreadyDecided {
                order_id: order_id.clone(),
                verdict: Verdict::Approved,
                by: "admin".into(),
            },
            Refusal::NotDelivered {
                order_id: order_id.clone(),
                status: OrderStatus::Shipping,
            },
            Refusal::NothingKept {
                order_id: order_id.clone(),
            },
            Refusal::ReturnWindowOver {
                order_id: order_id.clone(),
                until: Timestamp::UNIX_EPOCH,
            },
            Refusal::ReturnOpen {
                order_id: order_id.clone(),
                number: 1,
            },
            Refusal::NotReturnable {
                field: "items".into(),
                sku: Sku::parse("A").unwrap(),
                left: 1,
            },
            Refusal::UnknownReturn {
                order_id: order_id.clone(),
                number: 1,
            },
            Refusal::ReturnUndecided {
                order_id: order_id.clone(),
                number: 1,
            },
            Refusal::ReturnDecided {
                order_id,
                number: 1,
                status: ReturnStatus::Refused,
                by: "admin".into(),
            },
            Refusal::RefundTooMuch {
                field: "amount".into(),
                left_cents: Cents(1),
            },
            Refusal::UserExists {
                user: Username::parse("alice").unwrap(),
            },
            Refusal::ShopOpened {
                user: Username::parse("alice").unwrap(),
            },
            Refusal::UnknownUser {
                user: Username::parse("alice").unwrap(),
            },
            Refusal::NotSignedIn,
            Refusal::OtherIdentity {
                user: Username::parse("alice").unwrap(),
            },
            Refusal::LinkOver,
            Refusal::CodeNeeded,
            Refusal::WrongCode,
            Refusal::CodeUsed,
            Refusal::TooManyCodes,
            Refusal::HasFactor,
            Refusal::NoFactor,
            Refusal::UnknownPayment,
            Refusal::WrongAmount {
                expected_cents: Cents(1),
            },
        ] {
            let wire = serde_json::to_value(&refusal).unwrap();
            assert_eq!(wire["type"], refusal.kind());
            assert_eq!(serde_json::from_value::<Refusal>(wire).unwrap(), refusal);
            let passes = matches!(refusal, Refusal::StockUnknown { .. });
            assert!(passes == (refusal.code() == 503) && (400..504).contains(&refusal.code()));
        }
    }

    #[test]
    fn refusals_say_what_to_do() {
        let refusal = Refusal::OutOfStock {
            sku: Sku::parse("P001").unwrap(),
            available: 3,
        };
        assert_eq!(
            refusal.to_string(),
            "not enough stock of P001: 3 left, so lower the quantity"
        );
        assert_eq!(
            Refusal::WrongAmount {
                expected_cents: Cents(12500)
            }
            .to_string(),
            "the amount must be $125.00 (12500): nothing was accepted"
        );
    }
}
