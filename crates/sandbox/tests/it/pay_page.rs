//! The hosted payment page.

use crate::outside::Outside;

#[tokio::test]
async fn the_page_works_without_a_script() {
    let outside = Outside::start().await;
    let payment_id = outside.open_payment("o<1>").await;

    let page = outside.get(&format!("/pay/{payment_id}")).await;
    assert_eq!(page.status, 200);
    for part in [
        "Waybill",
        "o&lt;1&gt;",
        "$125.00",
        r#"<form method="post">"#,
        r#"name="action" value="pay""#,
        r#"name="action" value="decline""#,
        r#"href="/static/pay.css""#,
    ] {
        assert!(
            page.text.contains(part),
            "{part} is missing in {}",
            page.text
        );
    }
    for part in ["<script", "<style", "style="] {
        assert!(!page.text.contains(part), "{part} is in {}", page.text);
    }

    let response = reqwest::get(format!("{}/pay/{payment_id}", outside.base))
        .await
        .unwrap();
    let policy = response.headers()["content-security-policy"]
        .to_str()
        .unwrap();
    assert!(policy.contains("default-src 'none'") && policy.contains("style-src 'self'"));
    let css = reqwest::get(format!("{}/static/pay.css", outside.base))
        .await
        .unwrap();
    assert_eq!(css.headers()["content-type"], "text/css; charset=utf-8");
    assert!(
        css.text()
            .await
            .unwrap()
            .contains("prefers-color-scheme: dark")
    );
}

#[tokio::test]
async fn paying_twice_does_nothing_twice() {
    let outside = Outside::start().await;
    let payment_id = outside.open_payment("o1").await;
    let mut pages = Vec::new();
    for form in ["action=pay", "action=pay", "action=decline"] {
        pages.push(outside.pay(&payment_id, form).await);
    }
    for page in &pages {
        assert_eq!(page.status, 200);
        assert!(page.text.contains("Paid."), "{}", page.text);
        assert!(!page.text.contains("<form"));
    }
    outside.callbacks_settled("o1").await;
    assert_eq!(outside.journal("o1").await, ["authorize"]);
    assert_eq!(outside.shop.received().len(), 1);

    // The same card payment sent again is no second one either.
    let payment_id = outside.paid("o2").await;
    outside
        .pay(&payment_id, "action=pay&transaction_id=txn_1")
        .await;
    assert_eq!(outside.journal("o2").await, ["authorize"]);
}

#[tokio::test]
async fn declining_tells_the_shop_why() {
    let outside = Outside::start().await;
    let payment_id = outside.open_payment("o1").await;
    let page = outside.pay(&payment_id, "action=decline").await;
    assert!(page.text.contains("Declined: insufficient funds"));
    let body = outside.shop.receives(1).await[0].body.clone();
    assert!(body["transaction_id"].as_str().unwrap().starts_with("txn_"));
    assert_eq!(body["amount"], 0);
    assert_eq!(body["status"], "failed");
    assert_eq!(body["reason"], "insufficient funds");
    assert_eq!(outside.payment_of("o1").await["status"], "declined");

    // Another card, later: late money, which the shop has to send back.
    outside
        .pay(&payment_id, "action=pay&transaction_id=txn_late")
        .await;
    assert_eq!(outside.journal("o1").await, ["decline", "authorize"]);
    assert_eq!(
        outside.shop.receives(2).await[1].transaction_id(),
        "txn_late"
    );
}

#[tokio::test]
async fn the_way_back_leads_to_this_machine_only() {
    let outside = Outside::start().await;
    let payment_id = outside.paid("o1").await;
    let page = |url: &'static str| outside.get_page(&payment_id, url);

    let local = page("http%3A%2F%2Flocalhost%3A8080%2Forders%2Fo1").await;
    assert!(local.contains(r#"<a href="http:&#x2f;&#x2f;localhost:8080&#x2f;orders&#x2f;o1">go back to the shop</a>"#), "{local}");
    for elsewhere in ["http%3A%2F%2Fevil.example%2F", "javascript%3Aalert(1)"] {
        let page = page(elsewhere).await;
        assert!(!page.contains("<a "), "{page}");
        assert!(page.contains("close this page"));
    }
}

#[tokio::test]
async fn wrong_visits_are_answered_plainly() {
    let outside = Outside::start().await;
    let missing = outside.get("/pay/pay_none").await;
    assert_eq!(missing.status, 404);
    assert!(missing.text.contains("No such payment"));
    assert_eq!(outside.pay("pay_none", "action=pay").await.status, 404);

    let payment_id = outside.open_payment("o1").await;
    let odd = outside.pay(&payment_id, "action=steal").await;
    assert_eq!(odd.status, 422);
    assert_eq!(odd.body["error"], "action must be pay or decline");
}

impl Outside {
    async fn get_page(&self, payment_id: &str, return_url: &str) -> String {
        self.get(&format!("/pay/{payment_id}?return_url={return_url}"))
            .await
            .text
    }
}
