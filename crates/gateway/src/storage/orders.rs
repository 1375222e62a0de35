//! Orders in the read model.

use std::fmt;

use serde::Serialize;
use sqlx::{FromRow, QueryBuilder, Sqlite};
use waybill_domain::ids::{OrderId, Username};
use waybill_domain::money::Cents;
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

/// Where a list of orders goes on, newest first. It means the same in every gateway's
/// file, after a rebuild, and when an order that it names is forgotten: it is the time
/// at which the last order shown was placed, and the ids of that millisecond that were
/// shown. As text: `1795694408766~alice.order-1`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderCursor {
    placed_at: i64,
    shown: Vec<String>,
}

impl OrderCursor {
    /// Latest time that a number of an order can hold.
    const LATEST: i64 = i64::MAX >> 20;
    /// Ids of one millisecond that a cursor may name: never are so many placed.
    const MOST: usize = 256;

    /// From its text.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('~');
        let placed_at = parts.next()?;
        let is_number = !placed_at.is_empty() && placed_at.bytes().all(|c| c.is_ascii_digit());
        let placed_at = placed_at.parse().ok().filter(|_| is_number)?;
        let shown = parts
            .map(|id| OrderId::parse(id).ok().map(Into::into))
            .collect::<Option<Vec<String>>>()?;
        let is_one = (0..Self::LATEST).contains(&placed_at) && shown.len() <= Self::MOST;
        is_one.then_some(Self { placed_at, shown })
    }

    /// Where a list goes on after `page`, which came after `before`. `None` when nothing
    /// can follow.
    pub fn after(before: Option<&Self>, page: &[Summary], per_page: u32) -> Option<Self> {
        let last = page.last().filter(|_| page.len() >= per_page as usize)?;
        let placed_at = last.created_at;
        let earlier = before
            .filter(|before| before.placed_at == placed_at)
            .map(|before| before.shown.iter())
            .into_iter()
            .flatten();
        let here = page.iter().filter(|order| order.created_at == placed_at);
        let shown = earlier.chain(here.map(|order| &order.order_id)).cloned();
        Some(Self {
            placed_at,
            shown: shown.collect(),
        })
    }
}

impl fmt::Display for OrderCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.placed_at)?;
        self.shown.iter().try_for_each(|id| write!(f, "~{id}"))
    }
}

/// Which part of a list is read.
#[derive(Debug, Clone, Copy)]
struct Part {
    /// Only orders with a smaller number: those placed before.
    below: Option<i64>,
    limit: i64,
    offset: i64,
}

impl From<Pagination> for Part {
    fn from(page: Pagination) -> Self {
        Self {
            below: None,
            limit: page.limit(),
            offset: page.offset(),
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
    let Some(mut orders) = listed(SUMMARY, filter, page.into()) else {
        return Ok((Vec::new(), Total::exactly(0)));
    };
    let orders = orders.build_query_as().fetch_all(&db.read);
    let (orders, total) = tokio::try_join!(orders, count(db, filter))?;
    Ok((orders, total))
}

/// How many orders `filter` lets through, as far as they are counted.
pub async fn count(db: &Db, filter: &Filter) -> sqlx::Result<Total> {
    let mut count = match &filter.q {
        Some(q) => match all_words(q) {
            Some(words) => matches(&matching(filter, &words)),
            None => return Ok(Total::exactly(0)),
        },
        None => number(filter),
    };
    let count = count.build_query_scalar().fetch_one(&db.read).await?;
    let is_sum = filter.q.is_none() && filter.owner.is_none();
    Ok(if is_sum {
        Total::exactly(count)
    } else {
        Total::of(count)
    })
}

/// The orders that `filter` lets through and that follow a cursor, `limit` at most.
pub async fn orders_after(
    db: &Db,
    filter: &Filter,
    cursor: &OrderCursor,
    limit: u32,
) -> sqlx::Result<Vec<Summary>> {
    let shown = i64::try_from(cursor.shown.len()).unwrap_or(i64::MAX);
    let part = Part {
        below: Some((cursor.placed_at + 1) << 20),
        limit: i64::from(limit) + shown,
        offset: 0,
    };
    let Some(mut query) = listed(SUMMARY, filter, part) else {
        return Ok(Vec::new());
    };
    let mut orders: Vec<Summary> = query.build_query_as().fetch_all(&db.read).await?;
    orders.retain(|order| !cursor.shown.contains(&order.order_id));
    orders.truncate(limit as usize);
    Ok(orders)
}

/// An order, and what went back of its money after its delivery.
pub type Sale = (OrderRecord, Cents);

/// Orders that `filter` lets through, newest first, `limit` at most, and the number of
/// the last one: the next call takes it as `below` and goes on.
pub async fn sales(
    db: &Db,
    filter: &Filter,
    below: Option<i64>,
    limit: u32,
) -> sqlx::Result<(Vec<Sale>, Option<i64>)> {
    const SALE: &str = "SELECT id, record, (SELECT coalesce(sum(amount_cents), 0) FROM refunds
             WHERE refunds.order_id = orders.order_id AND refunds.status = 'refunded') FROM orders";
    let part = Part {
        below,
        limit: limit.into(),
        offset: 0,
    };
    let Some(mut query) = listed(SALE, filter, part) else {
        return Ok((Vec::new(), None));
    };
    let rows: Vec<(i64, String, i64)> = query.build_query_as().fetch_all(&db.read).await?;
    let last = rows.last().map(|(id, ..)| *id);
    let read = rows
        .iter()
        .map(|(_, json, refunded)| Ok((serde_json::from_str(json)?, Cents(*refunded))));
    let sales = read
        .collect::<Result<_, _>>()
        .map_err(|error: serde_json::Error| sqlx::Error::Decode(error.into()))?;
    Ok((sales, last))
}

/// The orders of a part, newest first. `None` when nothing in what is searched for is a
/// word, so that nothing can be found.
fn listed(columns: &str, filter: &Filter, part: Part) -> Option<QueryBuilder<Sqlite>> {
    Some(match &filter.q {
        Some(q) => found(columns, &matching(filter, &all_words(q)?), part),
        None => indexed(columns, filter, part),
    })
}

/// Orders by their index.
fn indexed(columns: &str, filter: &Filter, part: Part) -> QueryBuilder<Sqlite> {
    let mut query = QueryBuilder::new(columns);
    let glue = narrow(&mut query, filter);
    if let Some(below) = part.below {
        query.push(glue).push("id < ").push_bind(below);
    }
    query
        .push(" ORDER BY id DESC LIMIT ")
        .push_bind(part.limit)
        .push(" OFFSET ")
        .push_bind(part.offset);
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

/// Answers what stands before a further condition.
fn narrow(query: &mut QueryBuilder<Sqlite>, filter: &Filter) -> &'static str {
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
        glue = " AND ";
    }
    glue
}

/// What is searched for: the FTS5 query, and the status of those that are found, where
/// the search does not know it.
struct Search {
    query: String,
    open: Option<OrderStatus>,
}

/// What the search finds, one row each.
fn matching_rows(query: &mut QueryBuilder<Sqlite>, search: &Search) {
    query.push(" FROM orders_search");
    if search.open.is_some() {
        // In this order: the search leads, and each that it finds is looked at.
        query.push(" CROSS JOIN orders AS one ON one.id = orders_search.rowid");
    }
    query
        .push(" WHERE orders_search MATCH ")
        .push_bind(search.query.clone());
    if let Some(status) = search.open {
        query.push(" AND one.status = ").push_bind(status.as_str());
    }
}

/// Orders by the search, whose rows stand in the order of their numbers, too.
fn found(columns: &str, search: &Search, part: Part) -> QueryBuilder<Sqlite> {
    let mut query = QueryBuilder::new(columns);
    query.push(" WHERE id IN (SELECT orders_search.rowid");
    matching_rows(&mut query, search);
    if let Some(below) = part.below {
        query.push(" AND orders_search.rowid < ").push_bind(below);
    }
    query
        .push(" ORDER BY orders_search.rowid DESC LIMIT ")
        .push_bind(part.limit)
        .push(" OFFSET ")
        .push_bind(part.offset)
        .push(") ORDER BY id DESC");
    query
}

/// How many of those there are, as far as they are counted.
fn matches(search: &Search) -> QueryBuilder<Sqlite> {
    let mut query = QueryBuilder::new("SELECT count(*) FROM (SELECT 1");
    matching_rows(&mut query, search);
    query.push(" LIMIT ").push_bind(COUNTED + 1).push(")");
    query
}

/// The search for orders with these words, of that owner and status. Owner and status are
/// one word each, as the migration makes them; all that have not ended have one together.
fn matching(filter: &Filter, words: &str) -> Search {
    let text = format!("{{search_text}} : ({words})");
    let owner = filter.owner.as_ref().map(|owner| {
        let owner = hex::encode(owner.as_str());
        format!("{{search_owner}} : \"u{owner}\"")
    });
    let status = filter.status.map(|status| {
        let word = if status.is_terminal() {
            status.as_str().replace('_', "")
        } else {
            "open".to_owned()
        };
        format!("{{search_status}} : \"{word}\"")
    });
    let all: Vec<_> = [Some(text), owner, status].into_iter().flatten().collect();
    Search {
        query: all.join(" AND "),
        open: filter.status.filter(|status| !status.is_terminal()),
    }
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
                                 status_since, ended_at, total_cents, pieces, search_text, record)
             SELECT n * 1000 << 20, iif(n % 3 = 0, 'bob', 'alice') || '.ord-' || n, iif(n % 3 = 0, 'bob', 'alice'), 1,
                    iif(n % 4 = 0, 'delivered', 'awaiting_approval'), n * 1000, 0, 0, iif(n % 4 = 0, n * 1000, NULL), 100, 1,
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
                                 status_since, ended_at, total_cents, pieces, search_text, record)
             SELECT id + 1, 'bob-b.1', 'bob-b', 1, status, created_at, 0, 0, ended_at, 100, 1, search_text, '{}'
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
        let back = "UPDATE orders SET status = 'in_transit', ended_at = NULL WHERE order_id = 'bob.ord-12'";
        sqlx::query(back).execute(&db.write).await.unwrap();
        assert_eq!(ids(&db, &of("bob", delivered), page(1, 9)).await.1, 1);
        let moving = of("bob", OrderStatus::InTransit);
        assert_eq!(ids(&db, &moving, page(1, 9)).await.1, 1);
        let waiting = of("bob", OrderStatus::AwaitingApproval);
        let found = ids(&db, &waiting, page(1, 2)).await;
        let first = ["bob.ord-21", "bob.ord-18"].map(str::to_owned);
        assert_eq!(found, (first.to_vec(), 6), "all but those that moved on");
        let found = ids(&db, &waiting, page(3, 2)).await;
        let last = ["bob.ord-6", "bob.ord-3"].map(str::to_owned);
        assert_eq!(found, (last.to_vec(), 6));
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
        let below = Part {
            below: Some(5 << 20),
            limit: 25,
            offset: 0,
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
            for part in [page(1, 25).into(), below] {
                let plan = plan_of(&indexed(SUMMARY, &filter, part)).await;
                let index = match part.below {
                    Some(_) => index.replace("SCAN orders", "INTEGER PRIMARY KEY (rowid<?)"),
                    None => index.to_owned(),
                };
                let index = index.trim_end_matches(')');
                assert!(plan.contains(index), "{filter:?}: {plan}");
                assert!(!plan.contains("TEMP B-TREE"), "{filter:?}: {plan}");
            }
        }
        let a = |status| Filter {
            status: Some(status),
            ..searching("a")
        };
        let ended = matching(&a(OrderStatus::Delivered), "\"a\"*");
        let open = matching(&a(OrderStatus::Shipping), "\"a\"*");
        for (query, index) in [
            (number(&Filter::default()), "order_totals"),
            (number(&bobs()), "COVERING INDEX orders_by_user"),
            (matches(&ended), "orders_search VIRTUAL TABLE"),
            (matches(&open), "orders_search VIRTUAL TABLE"),
            (
                found(SUMMARY, &ended, page(1, 25).into()),
                "INTEGER PRIMARY KEY",
            ),
        ] {
            let plan = plan_of(&query).await;
            assert!(plan.contains(index), "{plan}");
        }
        // The matches come from the index in their order: only a page is put together.
        for part in [page(1, 25).into(), below] {
            for search in [&ended, &open] {
                let plan = plan_of(&found(SUMMARY, search, part)).await;
                assert!(!plan.contains("ORDER BY"), "{plan}");
            }
        }
    }

    /// Everything that follows, page by page, as a client reads it.
    async fn walk(db: &Db, filter: &Filter, per_page: u32) -> Vec<String> {
        let (first, _) = orders(db, filter, page(1, per_page)).await.unwrap();
        let mut cursor = OrderCursor::after(None, &first, per_page);
        let mut all: Vec<_> = first.into_iter().map(|order| order.order_id).collect();
        while let Some(at) = cursor {
            // As the client sends it.
            let at = OrderCursor::parse(&at.to_string()).unwrap();
            let next = orders_after(db, filter, &at, per_page).await.unwrap();
            cursor = OrderCursor::after(Some(&at), &next, per_page);
            all.extend(next.into_iter().map(|order| order.order_id));
        }
        all
    }

    #[tokio::test]
    async fn a_cursor_leads_past_every_order_once() {
        let (_folder, db) = with_orders(25).await;
        for filter in [Filter::default(), bobs(), searching("widget")] {
            let (all, total) = ids(&db, &filter, page(1, 100)).await;
            for per_page in [1, 3, 5, 24, 25, 26] {
                let walked = walk(&db, &filter, per_page).await;
                assert_eq!(walked, all, "{filter:?} by {per_page}");
                assert_eq!(i64::try_from(walked.len()).unwrap(), total);
            }
        }
        assert!(walk(&db, &searching("%"), 5).await.is_empty());
    }

    /// Two files number the orders of one millisecond each in their own order.
    #[tokio::test]
    async fn a_cursor_of_one_gateway_goes_on_at_another() {
        let mut files = Vec::new();
        for newest_first in ["ASC", "DESC"] {
            let (folder, db) = with_orders(9).await;
            let sql = format!(
                "UPDATE orders SET created_at = 5000, id = -numbered.nr FROM
                     (SELECT order_id, row_number() OVER (ORDER BY order_id {newest_first}) AS nr
                      FROM orders WHERE created_at BETWEEN 3000 AND 7000) AS numbered
                 WHERE orders.order_id = numbered.order_id"
            );
            let sql = sqlx::AssertSqlSafe(sql);
            sqlx::query(sql).execute(&db.write).await.unwrap();
            sqlx::query("UPDATE orders SET id = (5000 << 20) - id WHERE id < 0")
                .execute(&db.write)
                .await
                .unwrap();
            files.push((folder, db));
        }
        for per_page in 1..=9 {
            let mut all = Vec::new();
            let mut cursor: Option<OrderCursor> = None;
            for turn in 0.. {
                let db = &files[turn % 2].1;
                let next = match &cursor {
                    Some(at) => orders_after(db, &Filter::default(), at, per_page).await,
                    None => orders(db, &Filter::default(), page(1, per_page))
                        .await
                        .map(|(orders, _)| orders),
                }
                .unwrap();
                cursor = OrderCursor::after(cursor.as_ref(), &next, per_page);
                all.extend(next.into_iter().map(|order| order.order_id));
                if cursor.is_none() {
                    break;
                }
            }
            assert_eq!(all.len(), 9, "by {per_page}: {all:?}");
            all.sort();
            all.dedup();
            assert_eq!(all.len(), 9, "by {per_page}: {all:?}");
        }
    }

    #[tokio::test]
    async fn what_is_placed_or_forgotten_meanwhile_moves_no_page() {
        let (_folder, db) = with_orders(6).await;
        let (first, _) = orders(&db, &Filter::default(), page(1, 2)).await.unwrap();
        let cursor = OrderCursor::after(None, &first, 2).unwrap();
        assert_eq!(cursor.to_string(), "5000~alice.ord-5");
        sqlx::query("DELETE FROM orders WHERE order_id = 'alice.ord-5'")
            .execute(&db.write)
            .await
            .unwrap();
        sqlx::query(
            "INSERT INTO orders (id, order_id, user_id, version, status, created_at, updated_at,
                                 status_since, total_cents, pieces, search_text, record)
             VALUES (9000 << 20, 'alice.new', 'alice', 1, 'delivered', 9000, 0, 0, 1, 1, '', '{}')",
        )
        .execute(&db.write)
        .await
        .unwrap();
        let next = orders_after(&db, &Filter::default(), &cursor, 2)
            .await
            .unwrap();
        let next: Vec<_> = next.into_iter().map(|order| order.order_id).collect();
        assert_eq!(next, ["alice.ord-4", "bob.ord-3"]);
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
