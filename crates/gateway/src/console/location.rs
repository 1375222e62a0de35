//! Where a browser is.

use waybill_domain::ids::{OrderId, Sku, Username};
use waybill_domain::order::OrderStatus;
use waybill_domain::words::{MAX_NAME, quoted};

use crate::authority::Allow;
use crate::http::input::Fields;
use crate::http::pagination::Pagination;
use crate::http::problem::Problem;
use crate::identity::caller::Caller;
use crate::settings::Settings;
use crate::shop::account;

/// Longest text to search for.
const MAX_Q: usize = 100;

/// Where a browser is.
#[derive(Debug, Clone)]
pub struct Location {
    /// Which page.
    pub kind: Kind,
    /// Its address without a query.
    pub(super) path: String,
    /// Its address with its query, but without the tab.
    pub(super) address: String,
    pub(super) query: Fields,
    /// Which tab is open.
    pub tab: &'static str,
}

/// The pages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// `/`
    Dashboard,
    /// `/products`
    Products,
    /// `/cart`
    Cart,
    /// `/orders`
    Orders,
    /// `/orders/{id}`
    Order(OrderId),
    /// `/admin`
    Admin,
    /// `/audit`
    Audit,
    /// `/catalog`
    Catalog,
    /// `/catalog/{sku}`
    Product(Sku),
    /// `/zones`
    Zones,
    /// `/import`
    Import,
    /// `/people`
    People,
    /// `/people/{user}`
    Person(Username),
    /// `/account`
    Account,
}

/// Where each page is, and who may see it, also as a part of a stream.
pub(super) const PAGES: [(&str, Allow); 14] = [
    ("/", Allow::Customer),
    ("/products", Allow::Customer),
    ("/cart", Allow::Customer),
    ("/orders", Allow::Customer),
    ("/orders/{id}", Allow::OwnerOrStaff),
    ("/admin", Allow::Staff),
    ("/audit", Allow::Admin),
    ("/catalog", Allow::Admin),
    ("/catalog/{sku}", Allow::Admin),
    ("/zones", Allow::Admin),
    ("/import", Allow::Admin),
    ("/people", Allow::Admin),
    ("/people/{user}", Allow::Admin),
    ("/account", Allow::Customer),
];

impl Kind {
    /// Its row in [`PAGES`].
    fn path(&self) -> &'static str {
        match self {
            Self::Dashboard => "/",
            Self::Products => "/products",
            Self::Cart => "/cart",
            Self::Orders => "/orders",
            Self::Order(_) => "/orders/{id}",
            Self::Admin => "/admin",
            Self::Audit => "/audit",
            Self::Catalog => "/catalog",
            Self::Product(_) => "/catalog/{sku}",
            Self::Zones => "/zones",
            Self::Import => "/import",
            Self::People => "/people",
            Self::Person(_) => "/people/{user}",
            Self::Account => "/account",
        }
    }

    /// Refuses a page to those who may not see it, as its route does.
    pub(super) fn check(&self, settings: &Settings, caller: &Caller) -> Result<(), Problem> {
        let order = match self {
            Self::Order(id) => Some(id.as_str()),
            _ => None,
        };
        let row = PAGES.iter().find(|(path, _)| *path == self.path());
        let (_, allow) = row.ok_or_else(|| Problem::internal("a page without a row"))?;
        allow.check(settings, caller, order)
    }

    fn of(path: &str) -> Result<Self, Problem> {
        Ok(match path {
            "/" => Self::Dashboard,
            "/products" => Self::Products,
            "/cart" => Self::Cart,
            "/orders" => Self::Orders,
            "/admin" => Self::Admin,
            "/audit" => Self::Audit,
            "/catalog" => Self::Catalog,
            "/zones" => Self::Zones,
            "/import" => Self::Import,
            other if other.starts_with("/catalog/") => {
                let sku = &other["/catalog/".len()..];
                Self::Product(Sku::parse(sku).map_err(|_| {
                    let sku = quoted(sku, MAX_NAME);
                    Problem::not_found(format!("there is no product {sku}: check the SKU"))
                })?)
            }
            "/people" => Self::People,
            "/account" => Self::Account,
            other if other.starts_with("/people/") => {
                Self::Person(account::named(&other["/people/".len()..])?)
            }
            other => match other.strip_prefix("/orders/").map(OrderId::parse) {
                Some(Ok(id)) => Self::Order(id),
                Some(Err(refusal)) => {
                    return Err(Problem::not_found(format!(
                        "there is no such order: {refusal}"
                    )));
                }
                None => {
                    let other = quoted(other, MAX_NAME);
                    return Err(Problem::not_found(format!("there is no page {other}")));
                }
            },
        })
    }

    /// The navigation's name for it.
    pub(super) fn nav(&self) -> &'static str {
        match self {
            Self::Dashboard => "dashboard",
            Self::Products => "products",
            Self::Cart => "cart",
            Self::Orders | Self::Order(_) => "orders",
            Self::Admin | Self::Audit => "admin",
            Self::Catalog | Self::Product(_) | Self::Zones | Self::Import => "catalog",
            Self::People | Self::Person(_) => "people",
            Self::Account => "user",
        }
    }
}

impl Location {
    /// From path and query, e.g. `/orders?status=delivered&tab=output`.
    pub fn parse(address: &str) -> Result<Self, Problem> {
        let (path, query) = address.split_once('?').unwrap_or((address, ""));
        let fields = Fields::from_form(query.as_bytes());
        let mut kept = form_urlencoded::Serializer::new(String::new());
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            if name != "tab" && name != "journal" {
                kept.append_pair(&name, &value);
            }
        }
        let kept = kept.finish();
        let tab = match fields.word("tab", 16)?.as_deref() {
            Some("output") => "output",
            _ => "input",
        };
        Ok(Self {
            kind: Kind::of(path)?,
            path: path.to_owned(),
            address: if kept.is_empty() {
                path.to_owned()
            } else {
                format!("{path}?{kept}")
            },
            query: fields,
            tab,
        })
    }

    /// The product list that a query asks for.
    pub(super) fn of_products(query: Fields) -> Self {
        let path = "/products".to_owned();
        Self {
            kind: Kind::Products,
            address: path.clone(),
            path,
            query,
            tab: "input",
        }
    }

    pub(super) fn with_tab(&self, tab: &str) -> String {
        let joint = if self.address.contains('?') { '&' } else { '?' };
        format!("{}{joint}tab={tab}", self.address)
    }

    /// The page's stream.
    pub(super) fn stream(&self) -> String {
        let at = if self.tab == "output" {
            self.with_tab("output")
        } else {
            self.address.clone()
        };
        let at: String = form_urlencoded::byte_serialize(at.as_bytes()).collect();
        format!("/stream/page?at={at}")
    }

    /// What is searched for.
    pub(super) fn q(&self) -> Result<Option<String>, Problem> {
        self.word("q")
    }

    /// A short text of the query.
    pub(super) fn word(&self, name: &str) -> Result<Option<String>, Problem> {
        self.query.text(name, MAX_Q)
    }

    /// The page of a list.
    pub(super) fn number(&self, per_page: u32) -> Result<Pagination, Problem> {
        let mut page = Pagination::from_fields(&self.query, per_page)?;
        // Pages have one length; only the API chooses.
        page.per_page = per_page;
        Ok(page)
    }

    /// The status that is shown.
    pub(super) fn status(&self) -> Result<Option<OrderStatus>, Problem> {
        let name = self.query.word("status", 32)?;
        name.map(|name| {
            OrderStatus::parse(&name).ok_or_else(|| {
                let name = quoted(&name, MAX_NAME);
                Problem::invalid(
                    "status",
                    format!("there is no status '{name}': choose one of the list"),
                )
            })
        })
        .transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_location() {
        let location = Location::parse("/orders?status=delivered&tab=output&q=a+b").unwrap();
        assert_eq!(location.kind, Kind::Orders);
        assert_eq!(location.tab, "output");
        assert_eq!(location.address, "/orders?status=delivered&q=a+b");
        assert_eq!(location.status().unwrap(), Some(OrderStatus::Delivered));
        assert_eq!(
            location.stream(),
            "/stream/page?at=%2Forders%3Fstatus%3Ddelivered%26q%3Da%2Bb%26tab%3Doutput"
        );
        let location = Location::parse("/orders/alice.order-1").unwrap();
        assert_eq!(location.kind.nav(), "orders");
        assert_eq!(
            location.stream(),
            "/stream/page?at=%2Forders%2Falice.order-1"
        );
    }

    #[test]
    fn no_page_is_a_404_and_a_wrong_filter_a_400() {
        for address in [
            "/nothing",
            "//evil",
            "/orders/no-owner",
            "/people/",
            "/people/a/b",
            "",
        ] {
            assert_eq!(
                Location::parse(address).err().unwrap().status,
                404,
                "{address}"
            );
        }
        let location = Location::parse("/orders?status=lost&page=0").unwrap();
        assert_eq!(
            location.status().err().unwrap().field.as_deref(),
            Some("status")
        );
        assert_eq!(
            location.number(25).err().unwrap().field.as_deref(),
            Some("page")
        );
    }
}
