//! Names that lead here and are not ours (DNS rebinding), and cookies that another
//! site has set.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::shop::Shop;
use crate::world::{Setup, own, shared};

/// The status that a request with these lines of a head gets.
async fn status(shop: &Shop, path: &str, lines: &[&str]) -> u16 {
    let address = shop.gateway.strip_prefix("http://").unwrap();
    let mut line = TcpStream::connect(address).await.unwrap();
    let lines = lines.join("\r\n");
    let head = format!("GET {path} HTTP/1.1\r\n{lines}\r\nConnection: close\r\n\r\n");
    line.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    line.read_to_string(&mut answer).await.unwrap();
    let status = answer.split(' ').nth(1).unwrap_or_default();
    status
        .parse()
        .unwrap_or_else(|_| panic!("{path}: {answer}"))
}

#[test]
fn a_page_that_calls_us_by_its_own_name_gets_nothing() {
    shared(async |shop| {
        let admin = "X-User-Id: admin";
        for path in [
            "/",
            "/api/orders",
            "/api/dashboard",
            "/login",
            "/static/app.js",
        ] {
            for host in [
                "Host: evil.example",
                "Host: evil.example:8080",
                "Host: 127.0.0.1.evil.example",
            ] {
                assert_eq!(
                    status(shop, path, &[host, admin]).await,
                    421,
                    "{host}{path}"
                );
            }
        }
        let ask = async |lines: &[&str]| status(shop, "/api/orders", lines).await;
        assert_eq!(ask(&["Host: localhost", admin]).await, 200);
        assert_eq!(ask(&["Host: 127.0.0.1:1", admin]).await, 200);
        assert_eq!(ask(&[admin]).await, 400);
        assert_eq!(
            ask(&["Host: localhost", "Host: localhost", admin]).await,
            400
        );
        assert_eq!(
            ask(&["Host: localhost", "Host: evil.example", admin]).await,
            400
        );
        let absolute = "http://evil.example/api/orders";
        assert_eq!(
            status(shop, absolute, &["Host: localhost", admin]).await,
            400
        );
    });
}

#[test]
fn a_cookie_of_another_site_never_wins() {
    own(&Setup::with_sessions(), async |shop| {
        let mallory = super::sign_ins::cookie_of(shop, "bob").await;
        let alice = super::sign_ins::cookie_of(shop, "alice").await;
        let ask = async |cookies: &str| {
            let cookies = format!("Cookie: {cookies}");
            status(shop, "/api/cart", &["Host: localhost", &cookies]).await
        };
        assert_eq!(ask(&alice).await, 200);
        assert_eq!(ask(&format!("{mallory}; {alice}")).await, 401);
        assert_eq!(ask(&format!("{alice}; {mallory}")).await, 401);
        assert_eq!(ask(&format!("{alice}; {alice}")).await, 200);
    });
}
