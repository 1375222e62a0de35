//! The read model row by row, for those who compare it. The one list of its
//! tables and columns; a test holds it against the schema.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use sqlx::SqliteConnection;
use waybill_domain::ids::OrderId;
use waybill_domain::order::{OrderRecord, OrderStatus};

use super::db::Db;

/// A table of the read model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Table {
    /// What it is called.
    pub name: &'static str,
    /// The column that says whose the row is.
    pub of: &'static str,
    /// What tells the rows of one owner apart.
    pub row: &'static str,
    /// Its other columns.
    pub cells: &'static [&'static str],
}

/// The table of orders.
pub const ORDERS: &str = "orders";
/// The table of what happens to orders after their delivery.
pub const AFTER_SALES: &str = "after_sales";
/// What is kept of that.
pub const OF_AFTER_SALES: [Table; 3] = [
    Table {
        name: AFTER_SALES,
        of: "order_id",
        row: "''",
        cells: &["user_id", "version", "record"],
    },
    Table {
        name: "returns",
        of: "order_id",
        row: "number",
        cells: &["status", "since", "asked_at", "send_until", "pieces"],
    },
    Table {
        name: "refunds",
        of: "order_id",
        row: "number",
        cells: &["status", "amount_cents", "of_return", "at"],
    },
];
/// What is kept of orders.
pub const OF_ORDERS: [Table; 7] = [
    Table {
        name: ORDERS,
        of: "order_id",
        row: "''",
        cells: &[
            "user_id",
            "version",
            "status",
            "undoing",
            "created_at",
            "updated_at",
            "status_since",
            "wait_until",
            "ended_at",
            "total_cents",
            "pieces",
            "search_text",
            "record",
        ],
    },
    Table {
        name: "order_payments",
        of: "order_id",
        row: "attempt",
        cells: &[
            "awakeable_id",
            "payment_id",
            "transaction_id",
            "status",
            "amount_cents",
        ],
    },
    Table {
        name: "notifications",
        of: "order_id",
        row: "id",
        cells: &["user_id", "kind", "text", "at"],
    },
    OF_AFTER_SALES[0],
    OF_AFTER_SALES[1],
    OF_AFTER_SALES[2],
    Table {
        name: "late_money",
        of: "order_id",
        row: "''",
        cells: &["user_id", "version", "record"],
    },
];
/// What is kept of stock.
pub const OF_STOCK: [Table; 1] = [Table {
    name: "stock_levels",
    of: "sku",
    row: "''",
    cells: &[
        "version",
        "updated_at",
        "initial",
        "restocked",
        "available",
        "reserved",
        "committed",
        "returned",
    ],
}];
/// The table of products.
pub const PRODUCTS: &str = "products";
/// What is kept of products. The stock comes from Inventory.
pub const OF_PRODUCTS: [Table; 1] = [Table {
    name: PRODUCTS,
    of: "sku",
    row: "''",
    cells: &[
        "id",
        "name",
        "description",
        "price_cents",
        "stock_qty",
        "category",
        "version",
        "archived_at",
        "record",
    ],
}];
/// The table of zones.
pub const ZONES: &str = "shipping_zones";
/// What is kept of zones.
pub const OF_ZONES: [Table; 1] = [Table {
    name: ZONES,
    of: "zone_name",
    row: "''",
    cells: &["base_cost_cents", "version", "archived_at", "record"],
}];
/// What is kept of what people have read.
pub const OF_USERS: [Table; 1] = [Table {
    name: "read_marks",
    of: "user_id",
    row: "''",
    cells: &["read_at"],
}];
/// The table of people.
pub const USERS: &str = "users";
/// What is kept of who people are.
pub const OF_ACCOUNTS: [Table; 3] = [
    Table {
        name: USERS,
        of: "username",
        row: "''",
        cells: &[
            "email",
            "address",
            "created_at",
            "role",
            "password_hash",
            "default_zone",
            "disabled_at",
            "version",
            "identity",
            "factor",
        ],
    },
    Table {
        name: "sessions",
        of: "username",
        row: "fingerprint",
        cells: &[
            "created_at",
            "seen_at",
            "expires_at",
            "address",
            "agent",
            "way",
        ],
    },
    Table {
        name: "tokens",
        of: "username",
        row: "fingerprint",
        cells: &["name", "scope", "created_at", "expires_at", "seen_at"],
    },
];

/// Whose row it is, in which table, which of those.
pub type Address = (String, &'static str, String);
/// Rows by their address, with their cells.
pub type Rows = BTreeMap<Address, Map<String, Value>>;

impl Table {
    /// The query for its rows: whose, which, and the cells as JSON.
    fn select(&self) -> String {
        let cells: Vec<_> = self
            .cells
            .iter()
            .map(|cell| format!("'{cell}', {cell}"))
            .collect();
        format!(
            "SELECT {}, CAST({} AS TEXT), json_object({}) FROM {}",
            self.of,
            self.row,
            cells.join(", "),
            self.name
        )
    }
}

/// An order that the read model shows.
#[derive(Debug)]
pub struct Shown {
    /// Which.
    pub order_id: OrderId,
    /// As what.
    pub status: OrderStatus,
}

/// Every order that is shown, or the one.
pub async fn shown(db: &Db, only: Option<&OrderId>) -> anyhow::Result<Vec<Shown>> {
    let rows: Vec<(String, String)> =
        sqlx::query_as("SELECT order_id, status FROM orders WHERE ?1 IS NULL OR order_id = ?1")
            .bind(only.map(OrderId::as_str))
            .fetch_all(&db.read)
            .await?;
    // What is no order id or no status is a difference of its row.
    let read = rows.into_iter().filter_map(|(order, status)| {
        Some(Shown {
            order_id: OrderId::parse(&order).ok()?,
            status: OrderStatus::parse(&status)?,
        })
    });
    Ok(read.collect())
}

/// The records of these orders, those that can be read.
pub async fn records(db: &Db, ids: &[&str]) -> anyhow::Result<Vec<OrderRecord>> {
    let rows: Vec<String> = sqlx::query_scalar(
        "SELECT record FROM orders WHERE order_id IN (SELECT value FROM json_each(?))",
    )
    .bind(serde_json::to_string(ids)?)
    .fetch_all(&db.read)
    .await?;
    let records = rows.iter().filter_map(|row| serde_json::from_str(row).ok());
    Ok(records.collect())
}

/// The version of each stock level that is shown, by SKU.
pub async fn stock_versions(db: &Db) -> sqlx::Result<Vec<(String, i64)>> {
    sqlx::query_as("SELECT sku, version FROM stock_levels")
        .fetch_all(&db.read)
        .await
}

/// The rows of these owners as they are at one moment.
pub async fn in_one_moment(
    db: &Db,
    tables: &'static [Table],
    owners: &[String],
) -> anyhow::Result<Rows> {
    let mut snapshot = db.read.begin().await?;
    let rows = rows(&mut snapshot, tables, owners).await?;
    snapshot.rollback().await?;
    Ok(rows)
}

/// The rows of these owners.
pub async fn rows(
    db: &mut SqliteConnection,
    tables: &'static [Table],
    owners: &[String],
) -> anyhow::Result<Rows> {
    let owners = serde_json::to_string(owners)?;
    let mut all = Rows::new();
    for table in tables {
        let sql = format!(
            "{} WHERE {} IN (SELECT value FROM json_each(?))",
            table.select(),
            table.of
        );
        let rows: Vec<(String, String, String)> = sqlx::query_as(sqlx::AssertSqlSafe(sql))
            .bind(&owners)
            .fetch_all(&mut *db)
            .await?;
        for (of, row, cells) in rows {
            all.insert((of, table.name, row), serde_json::from_str(&cells)?);
        }
    }
    Ok(all)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The copy's tables: all that the read model has.
    fn tables() -> impl Iterator<Item = &'static Table> {
        let of_people = OF_USERS.iter().chain(&OF_ACCOUNTS);
        let of_catalog = OF_PRODUCTS.iter().chain(&OF_ZONES);
        let of_orders = OF_ORDERS.iter().chain(&OF_STOCK);
        of_orders.chain(of_people).chain(of_catalog)
    }

    /// Every row of the read model, without what numbers the rows.
    pub(crate) async fn dump(db: &Db) -> Vec<String> {
        let mut rows = Vec::new();
        for table in tables() {
            let found: Vec<(Option<String>, String, String)> =
                sqlx::query_as(sqlx::AssertSqlSafe(table.select()))
                    .fetch_all(&db.read)
                    .await
                    .unwrap();
            let name = table.name;
            assert!(
                !found.is_empty(),
                "{name} is empty: the run does not touch it"
            );
            let mut lines: Vec<_> = found
                .into_iter()
                .map(|(of, row, cells)| format!("{name} {of:?} {row} {cells}"))
                .collect();
            lines.sort();
            rows.extend(lines);
        }
        rows
    }

    #[tokio::test]
    async fn every_column_is_listed() {
        let (_folder, db) = crate::storage::db::temporary().await;
        for table in tables() {
            // What numbers the rows is nobody's fact.
            let columns: Vec<String> = sqlx::query_scalar(
                "SELECT name FROM pragma_table_info(?1)
                 WHERE NOT (pk = 1 AND type = 'INTEGER') OR ?1 = ?2",
            )
            .bind(table.name)
            // But of products: carts name them by it.
            .bind(PRODUCTS)
            .fetch_all(&db.read)
            .await
            .unwrap();
            let columns: BTreeSet<_> = columns.iter().map(String::as_str).collect();
            let listed = [table.of, table.row];
            let listed: BTreeSet<_> = listed
                .into_iter()
                .filter(|column| *column != "''")
                .chain(table.cells.iter().copied())
                .collect();
            assert_eq!(listed, columns, "{}", table.name);
        }
    }
}
