//! Orders in the read model.

use serde::Serialize;
use sqlx::{FromRow, QueryBuilder, Sqlite};
use waybill_domain::ids::{OrderId, Username};
use waybill_domain::order::{OrderRecord, OrderStatus};

use super::db::Db;
use crate::http::pagination::Pagination;

/// An order as lists show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, FromRow)]
pub struct Summary {
    /// Full id.
    pub order_id: String,
    /// Whose.
    pub user_id: String,
    /// Where it stands.
    pub status: String,
    /// The end it is being undone towards, while it is.
    pub undoing: Option<String>,
    /// What is to be paid.
    pub total_cents: i64,
    /// Pieces in it.
    pub pieces: i64,
    /// Time of the first checkout, unix milliseconds.
    pub created_at: i64,
    /// Time of the last step, unix milliseconds.
    pub updated_at: i64,
    /// Since when it has this status, unix milliseconds.
    pub status_since: i64,
    /// When what it waits for runs out, unix milliseconds.
    pub wait_until: Option<i64>,
}

/// Which orders are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Filter {
    /// Whose; everybody's when unset.
    pub owner: Option<Username>,
    /// In which status.
    pub status: Option<OrderStatus>,
    /// Words, or beginnings of words, that all must occur: ids, customer,
    /// products, tracking number.
    pub q: Option<String>,
}

/// Orders are counted so far: nobody pages further, and counting costs as much as there
/// is to count.
const COUNTED: i64 = 10_000;
/// Letters of a word that its index knows (`prefix` in the migration). Of a longer
/// word the first so many have to match.
const LETTERS: usize = 12;

/// How many there are, as far as they are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Total {
    /// So many.
    pub total: i64,
    /// Whether these are all. If not, there are more than `total`.
    pub total_exact: bool,
}

impl Total {
    /// All of them.
    pub fn exactly(total: i64) -> Self {
        Self {
            total,
            total_exact: true,
        }
    }

    /// What a count says that ends one past [`COUNTED`].
    fn of(counted: i64) -> Self {
        Self {
            total: counted.min(COUNTED),
            total_exact: counted <= COUNTED,
        }
    }
}

const SUMMARY: &str = "SELECT order_id, user_id, status, undoing, total_cents, pieces, created_at, \
     updated_at, status_since, wait_until FROM orders";

/// One page of the orders that `filter` lets through, newest first, and how
/// many there are.
pub async fn orders(
    db: &Db,
    filter: &Filter,
    page: Pagination,
) -> sqlx::Result<(Vec<Summary>, Total)> {
    let (mut orders, mut count) = match &filter.q {
        Some(q) => match all_words(q) {
            Some(words) => {
                let search = matching(filter, &words);
                (found(&search, page), matches(&search))
            }
            // Nothing in it is a word.
            None => return Ok((Vec::new(), Total::exactly(0))),
        },
        None => (listed(filter, page), number(filter)),
    };
    let orders = orders.build_query_as().fetch_all(&db.read);
    let count = count.build_query_scalar::<i64>().fetch_one(&db.read);
    let (orders, count) = tokio::try_join!(orders, count)?;
    let is_sum = filter.q.is_none() && filter.owner.is_none();
    let total = if is_sum {
        Total::exactly(count)
    } else {
        Total::of(count)
    };
    Ok((orders, total))
}

/// Orders by their index.
fn listed(filter: &Filter, page: Pagination) -> QueryBuilder<Sqlite> {
    let mut query = QueryBuilder::new(SUMMARY);
    narrow(&mut query, filter);
    query
        .push(" ORDER BY id DESC LIMIT ")
        .push_bind(page.limit())
        .push(" OFFSET ")
        .push_bind(page.offset());
    query
}

/// How many of those there are: a customer's are counted, everybody's are known.
fn number(filter: &Filter) -> QueryBuilder<Sqlite> {
    let mut query;
    if filter.owner.is_some() {
        query = QueryBuilder::new("SELECT count(*) FROM (SELECT 1 FROM orders");
        narrow(&mut query, filter);
        query.push(" LIMIT ").push_bind(COUNTED + 1).push(")");
    } else {
        query = QueryBuilder::new("SELECT coalesce(sum(orders), 0) FROM order_totals");
        narrow(&mut query, filter);
    }
    query
}

fn narrow(query: &mut QueryBuilder<Sqlite>, filter: &Filter) {
    let mut glue = " WHERE ";
    if let Some(owner) = &filter.owner {
        query
            .push(glue)
            .push("user_id = ")
            .push_bind(owner.to_string());
        glue = " AND ";
    }
    if let Some(status) = filter.status {
        query
            .push(glue)
            .push("status = ")
            .push_bind(status.as_str());
    }
}

/// Orders by the search, whose rows stand in the order of their numbers, too.
fn found(search: &str, page: Pagination) -> QueryBuilder<Sqlite> {
    let mut query = QueryBuilder::new(SUMMARY);
    query
        .push(" WHERE id IN (SELECT rowid FROM orders_search WHERE orders_search MATCH ")
        .push_bind(search.to_owned())
        .push(" ORDER BY rowid DESC LIMIT ")
        .push_bind(page.limit())
        .push(" OFFSET ")
        .push_bind(page.offset())
        .push(") ORDER BY id DESC");
    query
}

/// How many of those there are, as far as they are counted.
fn matches(search: &str) -> QueryBuilder<Sqlite> {
    let mut query = QueryBuilder::new(
        "SELECT count(*) FROM (SELECT 1 FROM orders_search WHERE orders_search MATCH ",
    );
    query
        .push_bind(search.to_owned())
        .push(" LIMIT ")
        .push_bind(COUNTED + 1)
        .push(")");
    query
}

/// The FTS5 query for orders with these words, of that owner and status. Owner and
/// status are one word each, as the migration makes them.
fn matching(filter: &Filter, words: &str) -> String {
    let text = format!("{{search_text}} : ({words})");
    let owner = filter.owner.as_ref().map(|owner| {
        let owner = hex::encode(owner.as_str());
        format!("{{search_owner}} : \"u{owner}\"")
    });
    let status = filter.status.map(|status| {
        let status = status.as_str().replace('_', "");
        format!("{{search_status}} : \"{status}\"")
    });
    let all: Vec<_> = [Some(text), owner, status].into_iter().flatten().collect();
    all.join(" AND ")
}

/// The FTS5 query for texts that have, for each word of `q`, a word that begins
/// so. Splits as the index does, so nothing in `q` is FTS5 syntax.
fn all_words(q: &str) -> Option<String> {
    let words: Vec<_> = q
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(|word| word.chars().take(LETTERS).collect::<String>())
        .map(|beginning| format!("\"{beginning}\"*"))
        .collect();
    (!words.is_empty()).then(|| words.join(" "))
}

/// The whole record of an order.
pub async fn record(db: &Db, id: &OrderId) -> sqlx::Result<Option<OrderRecord>> {
    let json: Option<String> = sqlx::query_scalar("SELECT record FROM orders WHERE order_id = ?")
        .bind(id.as_str())
        .fetch_optional(&db.read)
        .await?;
    json.map(|json| {
        serde_json::from_str(&json).map_err(|error| sqlx::Error::Decode(Box::new(error)))
    })
    .transpose()
}

/// A user's orders that wait for their payment, oldest first, but for one.
pub async fn unpaid(
    db: &Db,
    user: &Username,
    but: &OrderId,
    limit: usize,
) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar(
        "SELECT order_id FROM orders \
         WHERE user_id = ? AND status = ? AND order_id <> ? ORDER BY id LIMIT ?",
    )
    .bind(user.as_str())
    .bind(OrderStatus::AwaitingPayment.as_str())
    .bind(but.as_str())
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch_all(&db.read)
    .await
}

/// The order that waits, or waited, for that awakeable.
pub async fn order_of_awakeable(db: &Db, awakeable_id: &str) -> sqlx::Result<Option<OrderId>> {
    let id: Option<String> =
        sqlx::query_scalar("SELECT order_id FROM order_payments WHERE awakeable_id = ?")
            .bind(awakeable_id)
            .fetch_optional(&db.read)
            .await?;
    id.map(|id| OrderId::parse(&id).map_err(|refusal| sqlx::Error::Decode(Box::new(refusal))))
        .transpose()
}

/// How many orders have each status.
const COUNTS: &str = "SELECT status, orders FROM order_totals";

/// How many orders have each status; of one user, or of everybody.
pub async fn counts(db: &Db, owner: Option<&Username>) -> sqlx::Result<Vec<(String, i64)>> {
    let query = match owner {
        Some(owner) => {
            sqlx::query_as("SELECT status, count(*) FROM orders WHERE user_id = ? GROUP BY status")
                .bind(owner.as_str().to_owned())
        }
        None => sqlx::query_as(COUNTS),
    };
    query.fetch_all(&db.read).await
}

/// Orders that wait for a decision, longest waiting first.
pub async fn awaiting_approval(db: &Db, page: Pagination) -> sqlx::Result<Vec<OrderRecord>> {
    let records: Vec<String> = sqlx::query_scalar(
        "SELECT record FROM orders
         WHERE ended_at IS NULL AND status = 'awaiting_approval' AND undoing IS NULL
         ORDER BY status_since LIMIT ? OFFSET ?",
    )
    .bind(page.limit())
    .bind(page.offset())
    .fetch_all(&db.read)
    .await?;
    let read = records.iter().map(|json| serde_json::from_str(json));
    read.collect::<Result<_, _>>()
        .map_err(|error| sqlx::Error::Decode(error.into()))
}

/// How many orders wait for a decision.
pub async fn count_awaiting_approval(db: &Db) -> sqlx::Result<i64> {
    sqlx::query_scalar(
        "SELECT count(*) FROM orders
         WHERE ended_at IS NULL AND status = 'awaiting_approval' AND undoing IS NULL",
    )
    .fetch_one(&db.read)
    .await
}

/// The newest order that is under way: a user's, or anybody's. It is found in an
/// index alone, however many orders there are.
pub async fn newest_open(db: &Db, whose: Option<&Username>) -> sqlx::Result<Option<OrderRecord>> {
    let open = "status IN ('awaiting_payment', 'awaiting_approval', 'shipping', 'in_transit')";
    let of = if whose.is_some() {
        "user_id = ? AND"
    } else {
        ""
    };
    let sql = format!(
        "SELECT record FROM orders WHERE id =
             (SELECT id FROM orders WHERE {of} {open} ORDER BY id DESC LIMIT 1)"
    );
    let mut query = sqlx::query_scalar::<_, String>(sqlx::AssertSqlSafe(sql));
    if let Some(user) = whose {
        query = query.bind(user.to_string());
    }
    let json = query.fetch_optional(&db.read).await?;
    json.map(|json| serde_json::from_str(&json))
        .transpose()
        .map_err(|error| sqlx::Error::Decode(error.into()))
}

#[cfg(test)]
mod tests {
    use sqlx::Row;

    use super::*;
    use crate::storage::db;

    /// `n` orders, every third of bob's, every fourth delivered.
    async fn with_orders(n: i64) -> (tempfile::TempDir, Db) {
        let (folder, db) = db::temporary().await;
        sqlx::query(
            "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?)
             INSERT INTO orders (id, order_id, user_id, version, status, created_at, updated_at,
                                 status_since, total_cents, pieces, search_text, record)
             SELECT n * 1000 << 20, iif(n % 3 = 0, 'bob', 'alice') || '.ord-' || n, iif(n % 3 = 0, 'bob', 'alice'), 1,
                    iif(n % 4 = 0, 'delivered', 'awaiting_approval'), n * 1000, 0, 0, 100, 1,
                    'ord-' || n || iif(n % 3 = 0, ' bob', ' alice') || ' P001 Widget A, déjà vu 50% txn-' || n, '{}'
             FROM numbers",
        )
        .bind(n)
        .execute(&db.write)
        .await
        .unwrap();
        (folder, db)
    }

    fn page(page: u32, per_page: u32) -> Pagination {
        Pagination { page, per_page }
    }

    fn searching(q: &str) -> Filter {
        Filter {
            q: Some(q.to_owned()),
            ..Filter::default()
        }
    }

    fn bobs() -> Filter {
        Filter {
            owner: Some(Username::parse("bob").unwrap()),
            ..Filter::default()
        }
    }

    async fn ids(db: &Db, filter: &Filter, page: Pagination) -> (Vec<String>, i64) {
        let (orders, total) = orders(db, filter, page).await.unwrap();
        assert!(total.total_exact);
        let ids = orders.into_iter().map(|order| order.order_id).collect();
        (ids, total.total)
    }

    #[tokio::test]
    async fn pages_begin_with_the_newest_and_hold_everything_once() {
        let (_folder, db) = with_orders(25).await;
        let everything = Filter::default();
        let (first, total) = ids(&db, &everything, page(1, 10)).await;
        assert_eq!(
            (first[0].as_str(), first.len(), total),
            ("alice.ord-25", 10, 25)
        );
        let mut all = first;
        all.extend(ids(&db, &everything, page(2, 10)).await.0);
        all.extend(ids(&db, &everything, page(3, 10)).await.0);
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 25);
        assert!(ids(&db, &everything, page(4, 10)).await.0.is_empty());
    }

    #[tokio::test]
    async fn filters_narrow() {
        let (_folder, db) = with_orders(24).await;
        assert_eq!(ids(&db, &bobs(), page(1, 100)).await.1, 8);
        let delivered = Filter {
            status: Some(OrderStatus::Delivered),
            ..bobs()
        };
        let (found, total) = ids(&db, &delivered, page(1, 100)).await;
        assert_eq!(found, ["bob.ord-24", "bob.ord-12"]);
        assert_eq!(total, 2);
        let with_word = Filter {
            q: Some("ord-12".into()),
            ..delivered
        };
        assert_eq!(ids(&db, &with_word, page(1, 100)).await.0, ["bob.ord-12"]);
    }

    #[tokio::test]
    async fn search_finds_beginnings_of_words_in_any_order_and_case() {
        let (_folder, db) = with_orders(30).await;
        for (q, total) in [
            ("widget", 30),
            ("WID p001", 30),
            ("txn-7", 1),
            ("deja", 30),
            ("bob wid", 10),
            ("nothing", 0),
            ("idget", 0),
            ("", 0),
            ("%", 0),
            ("\" XOR *", 0),
            ("\" OR *", 30),
            ("widget)", 30),
            ("a AND b", 0),
        ] {
            assert_eq!(ids(&db, &searching(q), page(1, 5)).await.1, total, "{q}");
        }
    }

    #[tokio::test]
    async fn many_are_counted_so_far_and_shown_from_the_newest() {
        let (_folder, db) = with_orders(COUNTED * 2).await;
        for (filter, counted) in [
            (Filter::default(), Total::exactly(COUNTED * 2)),
            (searching("widget"), Total::of(COUNTED + 1)),
            (bobs(), Total::exactly(COUNTED * 2 / 3)),
            (
                Filter {
                    q: Some("widget".into()),
                    ..bobs()
                },
                Total::exactly(COUNTED * 2 / 3),
            ),
        ] {
            let (found, total) = orders(&db, &filter, page(2, 20)).await.unwrap();
            assert_eq!(total, counted, "{filter:?}");
            let everything = Filter { q: None, ..filter };
            let (all, _) = orders(&db, &everything, page(2, 20)).await.unwrap();
            assert_eq!(found, all);
        }
        let more = Total::of(COUNTED + 1);
        assert_eq!((more.total, more.total_exact), (COUNTED, false));
    }

    #[tokio::test]
    async fn search_keeps_to_one_customer_and_status() {
        let (_folder, db) = with_orders(24).await;
        sqlx::query(
            "INSERT INTO orders (id, order_id, user_id, version, status, created_at, updated_at,
                                 status_since, total_cents, pieces, search_text, record)
             SELECT id + 1, 'bob-b.1', 'bob-b', 1, status, created_at, 0, 0, 100, 1, search_text, '{}'
             FROM orders WHERE order_id = 'bob.ord-24'",
        )
        .execute(&db.write)
        .await
        .unwrap();
        let of = |owner: &str, status| Filter {
            owner: Some(Username::parse(owner).unwrap()),
            status: Some(status),
            q: Some("widget".into()),
        };
        let delivered = OrderStatus::Delivered;
        let found = ids(&db, &of("bob-b", delivered), page(1, 9)).await;
        assert_eq!(found, (vec!["bob-b.1".to_owned()], 1));
        let found = ids(&db, &of("bob", delivered), page(1, 9)).await;
        let bobs = ["bob.ord-24", "bob.ord-12"].map(str::to_owned);
        assert_eq!(found, (bobs.to_vec(), 2));
        sqlx::query("UPDATE orders SET status = 'in_transit' WHERE order_id = 'bob.ord-12'")
            .execute(&db.write)
            .await
            .unwrap();
        assert_eq!(ids(&db, &of("bob", delivered), page(1, 9)).await.1, 1);
        let moving = of("bob", OrderStatus::InTransit);
        assert_eq!(ids(&db, &moving, page(1, 9)).await.1, 1);
    }

    #[tokio::test]
    async fn of_a_long_word_the_first_letters_count() {
        let (_folder, db) = with_orders(1).await;
        let text = "UPDATE orders SET search_text = 'Internationally'";
        sqlx::query(text).execute(&db.write).await.unwrap();
        for (q, total) in [
            ("international", 1),
            ("internationally", 1),
            ("internationalized", 1),
            ("internet", 0),
        ] {
            assert_eq!(ids(&db, &searching(q), page(1, 5)).await.1, total, "{q}");
        }
    }

    #[tokio::test]
    async fn what_is_forgotten_is_not_found() {
        let (_folder, db) = with_orders(3).await;
        sqlx::query("UPDATE orders SET search_text = 'renamed' WHERE order_id = 'alice.ord-1'")
            .execute(&db.write)
            .await
            .unwrap();
        sqlx::query("DELETE FROM orders WHERE order_id = 'alice.ord-2'")
            .execute(&db.write)
            .await
            .unwrap();
        assert_eq!(ids(&db, &searching("widget"), page(1, 5)).await.1, 1);
        assert_eq!(ids(&db, &searching("renamed"), page(1, 5)).await.1, 1);
    }

    /// Lists must take the same time with a million orders: each way through them
    /// has its index, and nothing is ever sorted or read to its end.
    #[tokio::test]
    async fn no_list_scans_or_sorts_the_table() {
        let (_folder, db) = db::temporary().await;
        let delivered = |filter: Filter| Filter {
            status: Some(OrderStatus::Delivered),
            ..filter
        };
        let plan_of = async |query: &QueryBuilder<Sqlite>| {
            let explained = format!("EXPLAIN QUERY PLAN {}", query.sql().as_str());
            let plan: Vec<String> = sqlx::query(sqlx::AssertSqlSafe(explained))
                .fetch_all(&db.read)
                .await
                .unwrap()
                .iter()
                .map(|row| row.get("detail"))
                .collect();
            plan.join("\n")
        };
        for (filter, index) in [
            (Filter::default(), "SCAN orders"),
            (delivered(Filter::default()), "orders_by_status (status=?)"),
            (bobs(), "orders_by_user (user_id=?)"),
            (
                delivered(bobs()),
                "orders_by_user_and_status (user_id=? AND status=?)",
            ),
        ] {
            let plan = plan_of(&listed(&filter, page(1, 25))).await;
            assert!(plan.contains(index), "{filter:?}: {plan}");
            assert!(!plan.contains("TEMP B-TREE"), "{filter:?}: {plan}");
        }
        for (query, index) in [
            (number(&Filter::default()), "order_totals"),
            (number(&bobs()), "COVERING INDEX orders_by_user"),
            (matches("\"a\"*"), "orders_search VIRTUAL TABLE"),
            (found("\"a\"*", page(1, 25)), "INTEGER PRIMARY KEY"),
        ] {
            let plan = plan_of(&query).await;
            assert!(plan.contains(index), "{plan}");
        }
        // The matches come from the index in their order: only a page is put together.
        let plan = plan_of(&found("\"a\"*", page(1, 25))).await;
        assert!(!plan.contains("ORDER BY"), "{plan}");
    }

    #[tokio::test]
    async fn counts_are_by_status() {
        let (_folder, db) = with_orders(12).await;
        let mut all = counts(&db, None).await.unwrap();
        all.sort();
        assert_eq!(
            all,
            [
                ("awaiting_approval".to_owned(), 9),
                ("delivered".to_owned(), 3)
            ]
        );
        let bob = Username::parse("bob").unwrap();
        let of_bob: i64 = counts(&db, Some(&bob))
            .await
            .unwrap()
            .iter()
            .map(|(_, count)| count)
            .sum();
        assert_eq!(of_bob, 4);
    }

    #[tokio::test]
    async fn an_awakeable_leads_to_its_order() {
        let (_folder, db) = with_orders(1).await;
        sqlx::query(
            "INSERT INTO order_payments (order_id, attempt, awakeable_id, status, amount_cents)
             VALUES ('alice.ord-1', 1, 'sign_1', 'pending', 100)",
        )
        .execute(&db.write)
        .await
        .unwrap();
        let found = order_of_awakeable(&db, "sign_1").await.unwrap().unwrap();
        assert_eq!(found.as_str(), "alice.ord-1");
        assert_eq!(order_of_awakeable(&db, "sign_2").await.unwrap(), None);
    }
}
