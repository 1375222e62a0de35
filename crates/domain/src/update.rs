//! What the services say aloud: the lines of `GET /updates`, newline-delimited
//! JSON. Each carries its own version; older or equal ones can be ignored.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::account::Account;
use crate::after_sales::AfterSales;
use crate::audit::AuditEntry;
use crate::basket::Basket;
use crate::catalog::{CatalogProduct, CatalogZone};
use crate::ids::Username;
use crate::order::OrderRecord;
use crate::payment::LateMoney;
use crate::stock::StockLevel;

/// One line of the update stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "value", rename_all = "snake_case")]
pub enum Update {
    /// An order moved.
    Order(Box<OrderRecord>),
    /// Something happened to an order after its delivery.
    AfterSales(Box<AfterSales>),
    /// A basket changed.
    Basket(Basket),
    /// A stock level changed.
    Stock(StockLevel),
    /// Money came too late, or twice, and goes back.
    Late(LateMoney),
    /// A user has read their notifications.
    Read(ReadMark),
    /// Somebody's account changed.
    Account(Box<Account>),
    /// A product of the catalog changed.
    Product(Box<CatalogProduct>),
    /// A shipping zone changed.
    Zone(CatalogZone),
    /// Somebody did something that matters.
    Audit(Box<AuditEntry>),
    /// Nothing happened for a while; the stream is alive.
    Heartbeat,
}

/// How far a user has read their notifications.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadMark {
    /// Who.
    pub user_id: Username,
    /// Notifications up to this time are read.
    pub read_at: Timestamp,
}
