//! Lists of orders, and orders as a file.

use futures::StreamExt as _;
use waybill_domain::ids::OrderId;
use waybill_domain::order::OrderStatus;
use waybill_domain::update::Update;

use super::*;
use crate::console::samples;

const ADMIN: (&str, &str) = ("x-user-id", "admin");

impl Subject {
    /// So many orders, one a millisecond, every third of bob's, every fourth delivered.
    async fn with_orders(self, many: i64) -> Self {
        for n in 1..=many {
            let mut record = samples::awaiting_approval();
            let user = if n % 3 == 0 { "bob" } else { "alice" };
            record.user_id = Username::parse(user).unwrap();
            record.order_id = OrderId::of(&record.user_id, &format!("ord-{n}")).unwrap();
            record.created_at = Timestamp::from_millisecond(1_795_694_408_000 + n).unwrap();
            record.payments[0].awakeable_id = Some(format!("sign_1{n}"));
            if n % 4 == 0 {
                record.status = OrderStatus::Delivered;
            }
            let update = Update::Order(Box::new(record));
            assert!(self.infra.live.apply(update).await.unwrap());
        }
        self
    }
}

/// Every order of a list, read to its end by its cursor.
async fn read_to_the_end(gateway: &Subject, path: &str, who: (&str, &str)) -> Vec<String> {
    let mut all = Vec::new();
    let mut cursor = String::new();
    loop {
        let list = gateway.get(&format!("{path}{cursor}"), &[who]).await;
        assert_eq!(list.status, StatusCode::OK, "{}", list.text);
        let list = list.json();
        for order in list["orders"].as_array().unwrap() {
            all.push(order["order_id"].as_str().unwrap().to_owned());
        }
        match list["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return all,
        }
    }
}

#[tokio::test]
async fn a_list_of_orders_is_read_to_its_end_by_its_cursor() {
    let gateway = Subject::demo().await.with_orders(12).await;
    let newest_first = |wanted: &dyn Fn(i64) -> bool| -> Vec<String> {
        let named = |n: i64| format!("{}.ord-{n}", if n % 3 == 0 { "bob" } else { "alice" });
        let all = (1..=12).rev().filter(|n| wanted(*n));
        all.map(named).collect()
    };
    for (query, who, wanted) in [
        ("", ADMIN, newest_first(&|_| true)),
        ("&status=delivered", ADMIN, newest_first(&|n| n % 4 == 0)),
        ("&user=bob", ADMIN, newest_first(&|n| n % 3 == 0)),
        ("&user=alice&q=ord", ALICE, newest_first(&|n| n % 3 != 0)),
    ] {
        let path = format!("/api/orders?per_page=2{query}");
        assert_eq!(
            read_to_the_end(&gateway, &path, who).await,
            wanted,
            "{query}"
        );
    }
    for (query, field) in [
        ("cursor=x", "cursor"),
        ("cursor=-1", "cursor"),
        ("cursor=9999999999999999", "cursor"),
        ("cursor=5~no-owner", "cursor"),
        ("cursor=5&page=2", "page"),
        ("user=%40", "user"),
    ] {
        let refused = gateway.get(&format!("/api/orders?{query}"), &[ADMIN]).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{query}");
        assert_eq!(refused.json()["field"], field, "{query}");
    }
    let others = gateway.get("/api/orders?user=bob", &[ALICE]).await;
    assert_eq!(others.kind(403), "forbidden");
}

#[tokio::test]
async fn orders_are_a_file_that_keeps_the_filter() {
    // More than are held at a time.
    let gateway = Subject::demo().await.with_orders(450).await;
    let rows = async |query: &str, who| {
        let file = gateway
            .get(&format!("/api/orders.csv{query}"), &[who])
            .await;
        assert_eq!(file.status, StatusCode::OK, "{}", file.text);
        assert_eq!(file.header("content-type"), "text/csv; charset=utf-8");
        let name = file.header("content-disposition").to_owned();
        assert!(
            name.starts_with("attachment; filename=\"orders-20"),
            "{name}"
        );
        let lines = file.text.trim_end_matches("\r\n").split("\r\n");
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let all = rows("", ADMIN).await;
    assert_eq!(all.len(), 451);
    assert!(
        all[0].starts_with("order_id,customer,status,"),
        "{}",
        all[0]
    );
    let numbers: Vec<i64> = all[1..]
        .iter()
        .map(|row| row.split([',', '-']).nth(1).unwrap().parse().unwrap())
        .collect();
    assert_eq!(numbers, (1..=450).rev().collect::<Vec<_>>());
    for (query, who, number) in [
        ("?user=bob", ADMIN, 150),
        ("?status=delivered&user=bob", ADMIN, 37),
        ("?q=ord-449", ADMIN, 1),
        ("?q=%25", ADMIN, 0),
        ("", ALICE, 300),
    ] {
        assert_eq!(rows(query, who).await.len(), number + 1, "{query}");
    }
    let marked = rows("?bom=true&q=ord-450", ADMIN).await;
    assert!(marked[0].starts_with("\u{feff}order_id,"), "{}", marked[0]);
    let refused = gateway.get("/api/orders.csv?user=bob", &[ALICE]).await;
    assert_eq!(refused.kind(403), "forbidden");
}

/// However many orders there are, a file is read and sent in pieces, and the next piece
/// when the one before is taken.
#[tokio::test]
async fn a_file_of_orders_is_made_as_it_is_read() {
    let gateway = Subject::demo().await.with_orders(450).await;
    let ask = ask(
        "GET",
        "/api/orders.csv",
        &[ADMIN, ("accept-encoding", "identity")],
    );
    let answer = gateway
        .router
        .clone()
        .oneshot(ask.body(Body::empty()).unwrap());
    let mut pieces = answer.await.unwrap().into_body().into_data_stream();
    for lines in [201, 200] {
        let piece = pieces.next().await.unwrap().unwrap();
        let piece = String::from_utf8(piece.to_vec()).unwrap();
        assert_eq!(piece.lines().count(), lines);
    }
    // The file is gone before it is read to its end: it breaks off, and says so.
    sqlx::query("UPDATE orders SET record = '{}'")
        .execute(&gateway.infra.db.write)
        .await
        .unwrap();
    assert!(pieces.next().await.unwrap().is_err());
}
