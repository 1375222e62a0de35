//! What nearly every request asks SQLite for, and what changes rarely. Another
//! program's change (`gateway seed-demo`) is noticed within a quarter of a second.

use std::sync::Arc;

use waybill_domain::account::Fingerprint;
use waybill_domain::basket;
use waybill_domain::ids::{Sku, Username};

use super::Infra;
use crate::http::pagination::Pagination;
use crate::live::{Remembered, Subject};
use crate::storage::accounts::{self, Shown};
use crate::storage::catalog::{self, Filter, Product, ProductName, Zone};
use crate::storage::orders::{self, Summary, Total};
use crate::storage::users::{self, User};

/// Users, products and zones that are remembered.
#[derive(Debug)]
pub(super) struct Memory {
    users: Remembered<Username, Option<User>>,
    sessions: Remembered<Fingerprint, Option<Shown>>,
    tokens: Remembered<Fingerprint, Option<Shown>>,
    products: Remembered<ProductName, Option<basket::Product>>,
    pages: Remembered<(Filter, Pagination), ProductPage>,
    orders: Remembered<(orders::Filter, Pagination), OrderPage>,
    zones: Remembered<(), Arc<[Zone]>>,
    counted: Remembered<Sku, ()>,
}

/// Users and products of each kind that are remembered: more than look and buy at a
/// time.
const MOST: usize = 10_000;
/// Pages of lists: some ten KB each.
const PAGES: usize = 256;

/// One page of the product list, and how many products there are.
pub type ProductPage = Arc<(Vec<Product>, i64)>;
/// One page of orders, and how many there are.
pub type OrderPage = Arc<(Vec<Summary>, Total)>;

impl Default for Memory {
    fn default() -> Self {
        Self {
            users: Remembered::of(MOST),
            sessions: Remembered::of(MOST),
            tokens: Remembered::of(MOST),
            products: Remembered::of(MOST),
            pages: Remembered::of(PAGES),
            orders: Remembered::of(PAGES),
            zones: Remembered::of(1),
            counted: Remembered::of(MOST),
        }
    }
}

impl Infra {
    /// The user of that name.
    pub async fn user(&self, name: &Username) -> sqlx::Result<Option<User>> {
        let read = async |name: &Username| users::user(&self.db, name).await;
        let version = self.live.version(Subject::People);
        self.memory.users.at(version, name.clone(), read).await
    }

    /// Whose session that is, if it is one.
    pub async fn session(&self, session: &Fingerprint) -> sqlx::Result<Option<Shown>> {
        let read = async |session: &Fingerprint| accounts::session(&self.db, session).await;
        let version = self.live.version(Subject::People);
        self.memory
            .sessions
            .at(version, session.clone(), read)
            .await
    }

    /// Whose API token that is, if it is one.
    pub async fn token(&self, token: &Fingerprint) -> sqlx::Result<Option<Shown>> {
        let read = async |token: &Fingerprint| accounts::token(&self.db, token).await;
        let version = self.live.version(Subject::People);
        self.memory.tokens.at(version, token.clone(), read).await
    }

    /// The product of that name, as carts and checkouts know it.
    pub async fn product(&self, name: &ProductName) -> sqlx::Result<Option<basket::Product>> {
        let read = async |name: &ProductName| catalog::named(&self.db, name).await;
        let version = self.live.version(Subject::Catalog);
        self.memory.products.at(version, name.clone(), read).await
    }

    /// One page of the products that a filter lets through, with the stock of now.
    pub async fn products(&self, filter: Filter, page: Pagination) -> sqlx::Result<ProductPage> {
        let read = async |(filter, page): &(Filter, Pagination)| {
            catalog::products(&self.db, filter, *page)
                .await
                .map(Arc::new)
        };
        let version = self.live.version(Subject::Stock);
        self.memory.pages.at(version, (filter, page), read).await
    }

    /// One page of the orders that a filter lets through, newest first.
    pub async fn orders(
        &self,
        filter: orders::Filter,
        page: Pagination,
    ) -> sqlx::Result<OrderPage> {
        let read = async |(filter, page): &(orders::Filter, Pagination)| {
            orders::orders(&self.db, filter, *page).await.map(Arc::new)
        };
        let subject = filter
            .owner
            .as_ref()
            .map_or(Subject::Everything, Subject::User);
        let version = self.live.version(subject);
        self.memory.orders.at(version, (filter, page), read).await
    }

    /// Every zone, cheapest first.
    pub async fn zones(&self) -> sqlx::Result<Arc<[Zone]>> {
        let read = async |(): &()| Ok(catalog::zones(&self.db).await?.into());
        let version = self.live.version(Subject::Catalog);
        self.memory.zones.at(version, (), read).await
    }

    /// Those of `skus` that Inventory has said nothing about yet, with the pieces that
    /// they begin with. What it has spoken of, it has for good.
    pub async fn unannounced(&self, skus: &[&Sku]) -> sqlx::Result<Vec<(String, i64)>> {
        let mut unannounced = Vec::new();
        for sku in skus {
            let read = async |sku: &Sku| {
                let rows = catalog::unannounced(&self.db, Some(&[sku]))
                    .await
                    .map_err(Err)?;
                rows.into_iter().next().map_or(Ok(()), |row| Err(Ok(row)))
            };
            let version = self.live.version(Subject::Catalog);
            match self.memory.counted.at(version, (*sku).clone(), read).await {
                Ok(()) => {}
                Err(Ok(row)) => unannounced.push(row),
                Err(Err(error)) => return Err(error),
            }
        }
        Ok(unannounced)
    }
}
