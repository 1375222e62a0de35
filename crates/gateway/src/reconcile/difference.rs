//! A difference: what differs from what, and what mends it.

use std::fmt;

use waybill_domain::ids::{AttemptId, OrderId, Sku, Username};
use waybill_domain::order::{OrderRecord, OrderStatus};
use waybill_domain::payment::PaymentOrder;
use waybill_domain::shipment::ShipmentRequest;

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) side: Side,
    /// Which order or product.
    pub(super) about: About,
    /// What kind of difference: with side and subject it tells one from another
    /// whatever the numbers in the words are by then.
    pub(super) kind: String,
    /// Both values, in words.
    pub(super) words: String,
    /// What mends it, if anything of ours can.
    pub(super) repair: Option<Repair>,
}

/// Where the difference is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Side {
    Restate,
    Ledger,
    ReadModel,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum About {
    Order(String),
    Stock(Sku),
    Product(Sku),
    Zone(String),
    User(Username),
    /// All of it.
    Shop,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Repair {
    /// Writes what Restate holds over what the read model says.
    Rewrite,
    /// Takes an order out of the read model that never was.
    Forget(OrderId),
    /// Undoes what a killed workflow has done.
    TakeBack(Box<OrderRecord>),
    /// Ends a payment whose invocation was killed.
    Settle(OrderId),
    /// Gives reserved pieces back, or books them as sold.
    Release(Sku, AttemptId),
    Commit(Sku, AttemptId),
    /// Makes a level fit its reservations.
    Recount(Sku),
    /// Gives money or a parcel back.
    Return(Return),
    /// Sends again what a killed invocation of its after-sales has left.
    RefundAgain(OrderId),
}

/// What is given back, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Return {
    Void(PaymentOrder),
    Refund(PaymentOrder),
    CallBack(ShipmentRequest),
}

impl Difference {
    pub(super) fn identity(&self) -> (Side, About, String) {
        (self.side, self.about.clone(), self.kind.clone())
    }
}

/// `Restate: order alice.o1 is in_transit, but no invocation works on it`
impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = match self.side {
            Side::Restate => "Restate",
            Side::Ledger => "ledger",
            Side::ReadModel => "read model",
        };
        write!(f, "{side}: {} {}", self.about, self.words)
    }
}

impl fmt::Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Order(order) => write!(f, "order {order}"),
            Self::Stock(sku) => write!(f, "stock of {sku}"),
            Self::Product(sku) => write!(f, "product {sku}"),
            Self::Zone(zone) => write!(f, "zone {zone}"),
            Self::User(user) => write!(f, "user {user}"),
            Self::Shop => f.write_str("this gateway"),
        }
    }
}

/// What `--repair` does.
impl fmt::Display for Repair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rewrite => f.write_str("writes it anew"),
            Self::Forget(_) => f.write_str("takes it out of the read model"),
            Self::TakeBack(_) => {
                f.write_str("undoes what was done and ends the order as cancelled")
            }
            Self::Settle(_) => f.write_str("settles its payment"),
            Self::Release(..) => f.write_str("gives the pieces back"),
            Self::Commit(..) => f.write_str("books the pieces as sold"),
            Self::Recount(_) => f.write_str("counts again"),
            Self::RefundAgain(_) => f.write_str("asks the provider again"),
            Self::Return(_) => f.write_str("gives it back"),
        }
    }
}

/// Whether an order has come to what its customer wanted.
pub(super) fn is_good_end(status: OrderStatus) -> bool {
    status == OrderStatus::Delivered
}
