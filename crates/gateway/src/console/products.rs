//! The catalog's page.

use serde::Serialize;

use super::lists::{self, Pages};
use super::location::Location;
use super::page::{PageContent, Viewer};
use super::painted::{Painted, Place, Shelf};
use super::shell::Output;
use super::status_style;
use super::views::Console;
use super::views::View;
use crate::http::pagination::Pagination;
use crate::http::problem::Problem;
use crate::live::Subject;
use crate::shop::products as shop;
use crate::storage::catalog as queries;
use crate::storage::catalog::{Filter, Product};
use crate::storage::orders::Total;

/// Products on a page.
const PER_PAGE: u32 = 24;

/// The product list with its search.
#[derive(Debug, Clone, Serialize)]
pub struct ProductsPage {
    /// Which tab is open.
    pub tab: &'static str,
    /// Every category.
    pub categories: Vec<Category>,
    /// The list without a category.
    pub all_href: String,
    /// The list itself.
    #[serde(flatten)]
    pub list: ProductList,
}

/// `#product-list`
#[derive(Debug, Clone, Serialize)]
pub struct ProductList {
    /// Beginning of the forms' idempotency keys.
    pub key: String,
    /// What is searched for.
    pub q: String,
    /// The category that is shown; empty for all.
    pub category: String,
    /// This page of them.
    pub products: Vec<ProductCard>,
    /// How many there are.
    pub total: i64,
    /// Where one is in the list.
    pub pages: Pages,
    /// Whether it is for those who look after the catalog.
    pub is_admin: bool,
}

/// A category to choose.
#[derive(Debug, Clone, Serialize)]
pub struct Category {
    /// Its name.
    pub name: String,
    /// How many products it has.
    pub count: Option<i64>,
    /// The list of them.
    pub href: String,
}

/// A product to buy.
#[derive(Debug, Clone, Serialize)]
pub struct ProductCard {
    /// The catalog's number.
    pub id: i64,
    /// Stock keeping unit.
    pub sku: String,
    /// Its name.
    pub name: String,
    /// What it is.
    pub description: String,
    /// Where it is found.
    pub category: String,
    /// Cents.
    pub price: i64,
    /// Pieces that can be sold.
    pub stock: i64,
    /// The same in words.
    pub stock_text: String,
    /// Which colour.
    pub family: &'static str,
    /// Which icon.
    pub icon: &'static str,
}

impl From<Product> for ProductCard {
    fn from(product: Product) -> Self {
        let (stock_text, family, icon) = status_style::of_stock(product.stock_qty);
        Self {
            id: product.id,
            sku: product.sku,
            name: product.name,
            description: product.description,
            category: product.category,
            price: product.price_cents,
            stock: product.stock_qty,
            stock_text,
            family,
            icon,
        }
    }
}

impl ProductsPage {
    /// The page with one page of the list.
    pub fn of(tab: &'static str, list: ProductList, categories: Vec<(String, i64)>) -> Self {
        let q = list.q.clone();
        let link = |category: &str| lists::href("/products", &[("q", &q), ("category", category)]);
        Self {
            tab,
            all_href: link(""),
            categories: categories
                .into_iter()
                .map(|(name, count)| Category {
                    href: link(&name),
                    // Without a search the count is what one will see.
                    count: q.is_empty().then_some(count),
                    name,
                })
                .collect(),
            list,
        }
    }
}

impl ProductList {
    /// One page of the products that `filter` lets through.
    pub fn of(
        key: String,
        filter: &Filter,
        page: Pagination,
        products: Vec<Product>,
        total: i64,
    ) -> Self {
        let q = filter.q.clone().unwrap_or_default();
        let category = filter.category.clone().unwrap_or_default();
        let pages = Pages::of(page, Total::exactly(total), |number| {
            lists::href(
                "/products",
                &[
                    ("q", &q),
                    ("category", &category),
                    ("page", &number.to_string()),
                ],
            )
        });
        Self {
            key,
            products: products.into_iter().map(ProductCard::from).collect(),
            total,
            pages,
            q,
            category,
            is_admin: false,
        }
    }
}

/// Loads and paints the page.
pub(super) async fn content(
    console: &Console,
    viewer: &Viewer,
    location: &Location,
) -> Result<PageContent, Problem> {
    let shelf = shelf(console, viewer, location).await?;
    Ok(PageContent::new(
        "Products",
        shelf.page.of(&viewer.seed),
        shelf.output.to_string(),
    ))
}

/// `#product-list`, as the viewer gets it.
pub(super) async fn list(
    console: &Console,
    viewer: &Viewer,
    location: &Location,
) -> Result<String, Problem> {
    let shelf = shelf(console, viewer, location).await?;
    Ok(shelf.list.of(&viewer.seed))
}

async fn shelf(console: &Console, viewer: &Viewer, location: &Location) -> Result<Shelf, Problem> {
    let place = Place {
        tab: location.tab,
        filter: Filter {
            q: location.q()?,
            category: location.word("category")?,
            archived: false,
        },
        page: location.number(PER_PAGE)?,
        is_admin: viewer.caller.is_admin(),
    };
    let version = console.version(Subject::Stock);
    let paint = async |place: &Place| paint(console, place).await;
    console.shelves.at(version, place, paint).await
}

async fn paint(console: &Console, place: &Place) -> Result<Shelf, Problem> {
    let Place {
        tab,
        filter,
        page,
        is_admin,
    } = place;
    let found = console.products(filter.clone(), *page).await?;
    let (products, total) = (&found.0, found.1);
    let categories = queries::categories(&console.db).await?;
    let document = shop::document(products, total);
    let list = |key: &str| {
        let list = ProductList::of(key.to_owned(), filter, *page, products.clone(), total);
        ProductList {
            is_admin: *is_admin,
            ..list
        }
    };
    let whole = |key: &str| ProductsPage::of(tab, list(key), categories.clone());
    Ok(Shelf {
        page: Painted::for_all(|key| console.views.render(&whole(key)))?,
        list: Painted::for_all(|key| console.views.render(&list(key)))?,
        output: console.views.render(&Output::of(tab, document))?.into(),
    })
}

impl View for ProductsPage {
    const TEMPLATE: &'static str = "products.html";
}
impl View for ProductList {
    const TEMPLATE: &'static str = "product_list.html";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::Sample;

    fn product(id: i64, stock_qty: i64) -> Product {
        Product {
            id,
            sku: format!("P00{id}"),
            name: "Kettle & <Co>".into(),
            description: "Boils water.".into(),
            category: "Kitchen".into(),
            price_cents: 4999,
            stock_qty,
        }
    }

    impl Sample for ProductList {
        fn samples() -> Vec<Self> {
            let page = Pagination {
                page: 1,
                per_page: 2,
            };
            let all = Filter::default();
            let some = Filter {
                q: Some("x".into()),
                category: Some("Kitchen".into()),
                archived: false,
            };
            vec![
                Self::of(
                    "seed".into(),
                    &all,
                    page,
                    vec![product(1, 0), product(2, 3), product(3, 90)],
                    5,
                ),
                Self::of("seed".into(), &some, page, vec![product(1, 20)], 1),
                Self::of("seed".into(), &some, page, vec![], 0),
                Self::of("seed".into(), &all, page, vec![], 0),
                Self {
                    is_admin: true,
                    ..Self::of("seed".into(), &all, page, vec![], 0)
                },
            ]
        }
    }
    impl Sample for ProductsPage {
        fn samples() -> Vec<Self> {
            ProductList::samples()
                .into_iter()
                .map(|list| Self::of("input", list, vec![("Kitchen".into(), 3)]))
                .collect()
        }
    }
}
