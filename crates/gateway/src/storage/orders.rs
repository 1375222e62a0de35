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
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Whose; everybody's when unset.
    pub owner: Option<Username>,
    /// In which status.
    pub status: Option<OrderStatus>,
    /// Words, or beginnings of words, that all must occur: ids, customer,
    /// products, tracking number.
    pub q: Option<String>,
}

/// Matches of a search that are looked up and sorted one by one. When there are
/// more it is cheaper to walk the newest orders and ask of each whether it is
/// one of them (at 100,000 orders and 50,000 matches: 20 times).
const FEW_MATCHES: i64 = 1_000;

/// One page of the orders that `filter` lets through, newest first, and how
/// many there are.
pub async fn orders(
    db: &Db,
    filter: &Filter,
    page: Pagination,
) -> sqlx::Result<(Vec<Summary>, i64)> {
    let search = match &filter.q {
        Some(q) => match Search::new(db, q).await? {
            Some(search) => Some(search),
            None => return Ok((Vec::new(), 0)),
        },
        None => None,
    };
    let total = match &search {
        Some(search) if filter.owner.is_none() && filter.status.is_none() => search.matches,
        _ => {
            narrowed("SELECT count(*) FROM orders", filter, search.as_ref())
                .build_query_scalar()
                .fetch_one(&db.read)
                .await?
        }
    };
    let orders = selected(filter, search.as_ref(), page)
        .build_query_as()
        .fetch_all(&db.read)
        .await?;
    Ok((orders, total))
}

/// Words to search for, and how many orders have them all.
struct Search {
    words: String,
    matches: i64,
}

impl Search {
    /// `None` when there is nothing to find: no word in `q`, or no match.
    async fn new(db: &Db, q: &str) -> sqlx::Result<Option<Self>> {
        let Some(words) = all_words(q) else {
            return Ok(None);
        };
        let matches: i64 =
            sqlx::query_scalar("SELECT count(*) FROM orders_search WHERE orders_search MATCH ?")
                .bind(&words)
                .fetch_one(&db.read)
                .await?;
        Ok((matches > 0).then_some(Self { words, matches }))
    }
}

fn selected(filter: &Filter, search: Option<&Search>, page: Pagination) -> QueryBuilder<Sqlite> {
    let mut query = narrowed(
        "SELECT order_id, user_id, status, undoing, total_cents, pieces, created_at, updated_at,
                status_since, wait_until FROM orders",
        filter,
        search,
    );
    query
        .push(" ORDER BY created_at DESC, id DESC LIMIT ")
        .push_bind(page.limit())
        .push(" OFFSET ")
        .push_bind(page.offset());
    query
}

/// `select` with what `filter` asks for. A `+` keeps the planner, which knows
/// nothing of how many match, from taking the index of that column.
fn narrowed(
    select: &'static str,
    filter: &Filter,
    search: Option<&Search>,
) -> QueryBuilder<Sqlite> {
    let few = search.is_some_and(|search| search.matches <= FEW_MATCHES);
    let mut query = QueryBuilder::new(select);
    let mut glue = " WHERE ";
    if let Some(owner) = &filter.owner {
        query
            .push(glue)
            .push(if few { "+user_id = " } else { "user_id = " })
            .push_bind(owner.as_str().to_owned());
        glue = " AND ";
    }
    if let Some(status) = filter.status {
        query
            .push(glue)
            .push(if few { "+status = " } else { "status = " })
            .push_bind(status.as_str());
        glue = " AND ";
    }
    if let Some(search) = search {
        query
            .push(glue)
            .push(if few { "id" } else { "+id" })
            .push(" IN (SELECT rowid FROM orders_search WHERE orders_search MATCH ")
            .push_bind(search.words.clone())
            .push(")");
    }
    query
}

/// The FTS5 query for texts that have, for each word of `q`, a word that begins
/// so. Splits as the index does, so nothing in `q` is FTS5 syntax.
fn all_words(q: &str) -> Option<String> {
    let words: Vec<_> = q
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(|word| format!("\"{word}\"*"))
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
pub(super) const COUNTS: &str = "SELECT status, count(*) FROM orders GROUP BY status";

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
             (SELECT id FROM orders WHERE {of} {open} ORDER BY created_at DESC LIMIT 1)"
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
             INSERT INTO orders (order_id, user_id, version, status, created_at, updated_at,
                                 status_since, total_cents, pieces, search_text, record)
             SELECT iif(n % 3 = 0, 'bob', 'alice') || '.ord-' || n, iif(n % 3 = 0, 'bob', 'alice'), 1,
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
        let ids = orders.into_iter().map(|order| order.order_id).collect();
        (ids, total)
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
    async fn many_matches_and_few_give_the_same_orders() {
        let (_folder, db) = with_orders(FEW_MATCHES + 500).await;
        let (many, total) = ids(&db, &searching("widget"), page(1, 20)).await;
        assert_eq!(total, FEW_MATCHES + 500);
        assert_eq!(many, ids(&db, &Filter::default(), page(1, 20)).await.0);
        let (few, total) = ids(&db, &searching("bob"), page(1, 20)).await;
        assert_eq!(total, 500);
        assert_eq!(few, ids(&db, &bobs(), page(1, 20)).await.0);
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

    /// Lists must stay fast at 100,000 orders: each way through them has its
    /// index, and only few rows are ever sorted.
    #[tokio::test]
    async fn no_list_scans_or_sorts_the_table() {
        let (_folder, db) = db::temporary().await;
        let many = Search {
            words: "\"a\"*".into(),
            matches: FEW_MATCHES + 1,
        };
        let few = Search {
            words: "\"a\"*".into(),
            matches: 1,
        };
        let delivered = |filter: Filter| Filter {
            status: Some(OrderStatus::Delivered),
            ..filter
        };
        for (filter, search, index, sorts) in [
            (Filter::default(), None, "orders_by_created", false),
            (
                delivered(Filter::default()),
                None,
                "orders_by_status",
                false,
            ),
            (bobs(), None, "orders_by_user", false),
            (delivered(bobs()), None, "orders_by_user_and_status", false),
            (Filter::default(), Some(&many), "orders_by_created", false),
            (
                delivered(bobs()),
                Some(&many),
                "orders_by_user_and_status",
                false,
            ),
            (Filter::default(), Some(&few), "INTEGER PRIMARY KEY", true),
            (delivered(bobs()), Some(&few), "INTEGER PRIMARY KEY", true),
        ] {
            let query = selected(&filter, search, page(1, 25));
            let explained = format!("EXPLAIN QUERY PLAN {}", query.sql().as_str());
            let plan: Vec<String> = sqlx::query(sqlx::AssertSqlSafe(explained))
                .fetch_all(&db.read)
                .await
                .unwrap()
                .iter()
                .map(|row| row.get("detail"))
                .collect();
            let plan = plan.join("\n");
            assert!(plan.contains(index), "{filter:?}: {plan}");
            assert_eq!(plan.contains("TEMP B-TREE"), sorts, "{filter:?}: {plan}");
        }
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
