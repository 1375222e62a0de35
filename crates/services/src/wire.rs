//! Every name by which Restate knows the services: services, handlers, state
//! keys, the promise. Whoever asks Restate about them takes the names from here.
//!
//! The macros want the names of services and handlers as literals, too: a test of
//! [`functions`](crate::functions) compares them with what the endpoint says of
//! itself.

use std::fmt;

use waybill_domain::idempotency::Digest;
use waybill_domain::ids::{AttemptId, OrderId, Sku};

/// A user's cart, checkouts and payments: virtual object, key = user name.
pub const USER_SESSION: &str = "UserSession";
/// An order from approval to delivery, and back: workflow, key = order id.
pub const ORDER_FULFILLMENT_WORKFLOW: &str = "OrderFulfillmentWorkflow";
/// What happens to an order after its delivery: virtual object, key = order id.
pub const AFTER_SALES: &str = "AfterSales";
/// Who somebody is to the shop: virtual object, key = user name.
pub const ACCOUNT: &str = "Account";
/// Who has opened the shop: virtual object, key = [`SHOP_KEY`].
pub const SHOP: &str = "Shop";
/// The one key of [`SHOP`].
pub const SHOP_KEY: &str = "shop";
/// What is sold, and where it can be shipped: virtual object, key = [`CATALOG_KEY`].
pub const CATALOG: &str = "Catalog";
/// The one key of [`CATALOG`].
pub const CATALOG_KEY: &str = "shop";
/// Who has done what that matters: virtual object, key = a day in UTC.
pub const AUDIT_LOG: &str = "AuditLog";
/// Stock of one product: virtual object, key = SKU.
pub const INVENTORY: &str = "Inventory";
/// Whose a provider's transaction is: virtual object, key = its id.
pub const PAYMENT_TRANSACTION: &str = "PaymentTransaction";
/// The payment provider: service.
pub const PAYMENT_SERVICE: &str = "PaymentService";
/// The carrier: service.
pub const SHIPPING_SERVICE: &str = "ShippingService";
/// What the gateway mends: service.
pub const RECONCILE_SERVICE: &str = "ReconcileService";

/// State of an account: all of it.
pub const WHOLE_ACCOUNT: &str = "account";
/// State of the shop: who was its first admin.
pub const OPENED_BY: &str = "opened_by";
/// How the keys of the catalog's products begin: see [`product_key`].
pub const PRODUCT: &str = "product:";
/// How the keys of the catalog's zones begin: see [`zone_state_key`].
pub const ZONE: &str = "zone:";
/// State of the catalog: the number of the next product.
pub const NEXT_NUMBER: &str = "next_number";
/// State of the catalog: which imports are remembered.
pub const IMPORTS: &str = "imports";
/// State of the audit log: how many entries a day has.
pub const AUDIT_ENTRIES: &str = "entries";
/// How the keys of a day's entries begin: see [`audit_entry_key`].
pub const AUDIT_ENTRY: &str = "entry:";
/// State of a user's session: the basket.
pub const BASKET: &str = "basket";
/// State of a user's session: up to when notifications are read.
pub const READ_MARK: &str = "notifications_read_at";
/// How the keys of a session's orders begin: see [`marker_key`].
pub const MARKER: &str = "checkout:exec:";
/// How the keys of a session's late money begin: see [`late_key`].
pub const LATE: &str = "late:";
/// State of a workflow: the order's record.
pub const RECORD: &str = "record";
/// Durable promise of a workflow: the one decision.
pub const DECISION: &str = "admin_approval";
/// State of what happens after a delivery: all of it.
pub const WHOLE_AFTER_SALES: &str = "after_sales";
/// State of a product's stock: its level.
pub const LEVEL: &str = "level";
/// How the keys of reservations begin: see [`reservation_key`].
pub const RESERVATION: &str = "reservation:";
/// How the keys of returned pieces begin: see [`returned_key`].
pub const RETURNED: &str = "returned:";
/// State of a transaction: whose it is.
pub const OWNER: &str = "owner";

/// State of a user's session: the marker of an order.
pub fn marker_key(order: &OrderId) -> String {
    format!("{MARKER}{order}")
}

/// State of the catalog: a product.
pub fn product_key(sku: &Sku) -> String {
    format!("{PRODUCT}{sku}")
}

/// State of the catalog: a zone, by what tells it from others.
pub fn zone_state_key(key: &str) -> String {
    format!("{ZONE}{key}")
}

/// State of the catalog: whose a number is.
pub fn number_key(number: i64) -> String {
    format!("number:{number}")
}

/// State of the catalog: how far an import is.
pub fn import_key(import: &Digest) -> String {
    format!("import:{}", import.as_str())
}

/// State of the catalog: rows of an import that are not written yet.
pub fn chunk_key(import: &Digest, chunk: u32) -> String {
    format!("rows:{}:{chunk}", import.as_str())
}

/// State of the audit log: the entry of this id.
pub fn audit_entry_key(id: &str) -> String {
    format!("{AUDIT_ENTRY}{id}")
}

/// State of the audit log: how many entries somebody has caused at will.
pub fn audit_count_key(subject: &str) -> String {
    format!("at_will:{subject}")
}

/// State of a user's session: money that came too late for an order.
pub fn late_key(order: &OrderId) -> String {
    format!("{LATE}{order}")
}

/// State of a product's stock: pieces that came back with a return.
pub fn returned_key(order: &OrderId, number: u32) -> String {
    format!("{RETURNED}{order}#{number}")
}

/// State of a product's stock: pieces reserved for one payment attempt.
pub fn reservation_key(attempt: &AttemptId) -> String {
    format!("{RESERVATION}{attempt}")
}

/// State of what is written to: the book that a caller's key is in.
pub fn key_book_key(key: &Digest) -> String {
    format!("keys:{:02x}", key.bucket())
}

/// A handler of one of the services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handler {
    /// The service's name.
    pub service: &'static str,
    /// The handler's own.
    pub name: &'static str,
}

impl Handler {
    const fn new(service: &'static str, name: &'static str) -> Self {
        Self { service, name }
    }

    /// What is called, as Restate writes it: `UserSession/alice/Checkout`.
    pub fn of(self, key: impl fmt::Display) -> String {
        format!("{}/{key}/{}", self.service, self.name)
    }
}

/// `UserSession.Checkout`
impl fmt::Display for Handler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.service, self.name)
    }
}

macro_rules! handlers {
    ($(#[$about:meta] $module:ident of $service:ident { $($constant:ident = $name:literal,)* })*) => {$(
        #[$about]
        pub mod $module {
            use super::{$service, Handler};
            $(
                #[doc = concat!("`", $name, "`")]
                pub const $constant: Handler = Handler::new($service, $name);
            )*
        }
    )*};
}

handlers! {
    /// Handlers of [`USER_SESSION`].
    user_session of USER_SESSION {
        ADD_ITEM = "AddItem",
        UPDATE_ITEM = "UpdateItem",
        REMOVE_ITEM = "RemoveItem",
        CLEAR_BASKET = "ClearBasket",
        GET_BASKET = "GetBasket",
        GET_ORDER = "GetOrder",
        MARK_READ = "MarkRead",
        CHECKOUT = "Checkout",
        AWAIT_PAYMENT = "AwaitPayment",
        PAYMENT_OPENED = "PaymentOpened",
        PAYMENT_CALLBACK = "PaymentCallback",
        SETTLE = "Settle",
        CANCEL_ORDER = "CancelOrder",
        HANDED_OVER = "HandedOver",
        TAKE_BACK = "TakeBack",
        FORGET = "Forget",
    }
    /// Handlers of [`ORDER_FULFILLMENT_WORKFLOW`].
    order_fulfillment of ORDER_FULFILLMENT_WORKFLOW {
        RUN = "Run",
        APPROVE = "Approve",
        CANCEL = "Cancel",
        GET_RECORD = "GetRecord",
        IS_REMEMBERED = "IsRemembered",
        SOLD = "Sold",
    }
    /// Handlers of [`AFTER_SALES`].
    after_sales of AFTER_SALES {
        ASK = "Ask",
        DECIDE = "Decide",
        WITHDRAW = "Withdraw",
        RECEIVE = "Receive",
        REFUND_GOODWILL = "RefundGoodwill",
        ASK_AGAIN = "AskAgain",
        REFUNDED = "Refunded",
        PARCEL_OVERDUE = "ParcelOverdue",
        FORGET = "Forget",
    }
    /// Handlers of [`ACCOUNT`].
    account of ACCOUNT {
        CREATE = "Create",
        ADOPT = "Adopt",
        SIGN_IN = "SignIn",
        CHANGE = "Change",
        APPOINT = "Appoint",
        IS_ADMIN = "IsAdmin",
    }
    /// Handlers of [`SHOP`].
    shop of SHOP {
        OPEN = "Open",
    }
    /// Handlers of [`CATALOG`].
    catalog of CATALOG {
        CHANGE_PRODUCT = "ChangeProduct",
        CHANGE_ZONE = "ChangeZone",
        ADOPT = "Adopt",
        STAGE = "Stage",
        IMPORT = "Import",
        CONTINUE_IMPORT = "ContinueImport",
        PROGRESS = "Progress",
    }
    /// Handlers of [`AUDIT_LOG`].
    audit_log of AUDIT_LOG {
        KEEP = "Keep",
        NOTE = "Note",
        FORGET = "Forget",
    }
    /// Handlers of [`INVENTORY`].
    inventory of INVENTORY {
        STOCK = "Stock",
        BEGIN = "Begin",
        RESERVE = "Reserve",
        RELEASE = "Release",
        COMMIT = "Commit",
        RESTOCK = "Restock",
        RETURNED = "Returned",
        FORGET_RETURN = "ForgetReturn",
        RECOUNT = "Recount",
        AVAILABLE = "Available",
    }
    /// Handlers of [`PAYMENT_TRANSACTION`].
    transaction of PAYMENT_TRANSACTION {
        CLAIM = "Claim",
    }
    /// Handlers of [`PAYMENT_SERVICE`].
    payment of PAYMENT_SERVICE {
        REQUEST_PAYMENT = "RequestPayment",
        CAPTURE = "Capture",
        VOID = "Void",
        REFUND = "Refund",
        REFUND_PART = "RefundPart",
        CLOSE = "Close",
    }
    /// Handlers of [`SHIPPING_SERVICE`].
    shipping of SHIPPING_SERVICE {
        INITIATE_SHIPMENT = "InitiateShipment",
        CANCEL_SHIPMENT = "CancelShipment",
    }
    /// Handlers of [`RECONCILE_SERVICE`].
    reconcile of RECONCILE_SERVICE {
        REPAIR = "Repair",
    }
}
