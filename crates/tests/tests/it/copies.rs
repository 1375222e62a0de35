//! Two gateways over two services over one Restate: each holds the full truth,
//! whichever of them dies meanwhile.

use serde_json::Value;

use crate::shop::{Client, Order, SOON, Shop, text};
use crate::world::{Component, Setup, eventually, own};

/// Orders that begin before the second copies do, and after.
const EACH: usize = 6;

#[test]
fn each_gateway_holds_the_full_truth() {
    own(&Setup::default().hearing_both(), async |shop| {
        let mut orders = Vec::new();
        for n in 0..EACH {
            orders.push(begin(&shop.person(&format!("early{n}")), n).await);
        }
        shop.start_beside(Component::Services2).await;
        shop.start_beside(Component::Gateway2).await;
        for n in 0..EACH {
            // Half of them shop at the other gateway.
            let person = shop.person(&format!("later{n}"));
            let gateway = [Component::Gateway, Component::Gateway2][n % 2];
            orders.push(begin(&person.at(gateway), n).await);
        }

        // What one gateway is told, the other shows at once.
        let alice = orders[0].by.clone();
        let mut elsewhere = alice
            .clone()
            .at(Component::Gateway2)
            .stream("/stream/notifications")
            .await;
        orders[0].pay().await;
        elsewhere.until("Payment confirmed!").await;

        for (n, order) in orders.iter().enumerate().skip(1) {
            // One after the other dies in the middle of the payments.
            match n {
                2 => bounce(shop, Component::Services2).await,
                4 => bounce(shop, Component::Gateway2).await,
                6 => bounce(shop, Component::Services).await,
                _ => {}
            }
            order.pay().await;
        }
        for order in &orders {
            order.until("awaiting_approval").await;
        }
        // The first is away while everything is delivered; the second is not.
        shop.kill(Component::Gateway);
        let admin = shop.admin().at(Component::Gateway2);
        for order in &orders {
            admin.approve(order).await;
        }
        for order in &orders {
            at_gateway2(order).until("delivered").await;
        }
        shop.start_again(Component::Gateway).await;
        for order in &orders {
            order.until("delivered").await;
        }
        agree(shop, &orders).await;
    });
}

async fn bounce(shop: &Shop, part: Component) {
    shop.kill(part);
    shop.start_again(part).await;
}

async fn begin<'a>(person: &Client<'a>, n: usize) -> Order<'a> {
    let sku = ["P001", "P002", "P003"][n % 3];
    person.add(sku, 1).await;
    person.checkout("order").await
}

fn at_gateway2<'a>(order: &Order<'a>) -> Order<'a> {
    Order {
        by: order.by.clone().at(Component::Gateway2),
        ..order.clone()
    }
}

/// Both gateways show the same orders, events, notifications and stock.
async fn agree(shop: &Shop, orders: &[Order<'_>]) {
    for order in orders {
        let mut both = [order.json().await, at_gateway2(order).json().await];
        for shown in &mut both {
            // These two are of the moment, and not of the read model.
            shown["workflow"]["elapsed_ms"].take();
            shown["workflow"]["retry_count"].take();
        }
        assert_eq!(both[0], both[1]);
        let path = "/api/notifications?per_page=100";
        let told = async |person: &Client<'_>| {
            let mut list = person.get(path).await.expect(200);
            let Value::Array(list) = list["notifications"].take() else {
                panic!("{path} is no list");
            };
            let of_order = list
                .into_iter()
                .filter(|it| it["order_id"] == order.id.as_str());
            of_order
                .map(|it| text(&it["id"]).to_owned())
                .collect::<Vec<_>>()
        };
        let both = [
            told(&order.by).await,
            told(&order.by.clone().at(Component::Gateway2)).await,
        ];
        assert!(both[0].len() > 5, "{both:?}");
        assert_eq!(both[0], both[1]);
    }
    let stock = async |gateway: Component| {
        let admin = shop.admin().at(gateway);
        let mut list = admin.get("/api/products?per_page=100").await.expect(200);
        list["products"].take()
    };
    eventually("both show the same stock", SOON, async || {
        let both = [
            stock(Component::Gateway).await,
            stock(Component::Gateway2).await,
        ];
        if both[0] == both[1] {
            Ok(())
        } else {
            Err(format!("{both:?}"))
        }
    })
    .await;
}
