//! The demo's products, shipping zones and users. Loaded by `gateway seed-demo`,
//! and by `gateway serve` where `SEED_DEMO` is true; rows that are there already stay as they are.

use std::fmt;

use sha2::{Digest, Sha256};
use sqlx::SqliteConnection;

use crate::identity::password;
use crate::storage::catalog::{self, NewProduct};
use crate::storage::db::Db;
use crate::storage::users::{self, NewUser};

/// What was new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seeded {
    /// Products added.
    pub products: u64,
    /// Shipping zones added.
    pub zones: u64,
    /// Users added.
    pub users: u64,
}

impl fmt::Display for Seeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            products,
            zones,
            users,
        } = self;
        write!(
            f,
            "Demo data is loaded: {products} products, {zones} zones and {users} users are new. \
             Sign in as alice, bob or admin; the password is the name followed by -demo."
        )
    }
}

/// SKU, name, category, cents, pieces, description.
type Product = (
    &'static str,
    &'static str,
    &'static str,
    i64,
    i64,
    &'static str,
);

#[rustfmt::skip]
const PRODUCTS: &[Product] = &[
    ("P001", "Widget A", "Widgets", 2_500, 500, "The widget everybody starts with: anodized, 40 mm, fits every base."),
    ("P002", "Widget B", "Widgets", 2_500, 500, "Widget A's quieter sibling with a sealed bearing."),
    ("P003", "Widget C Pro", "Widgets", 4_900, 120, "Stainless, rated for ten years outdoors."),
    ("P004", "Widget Base", "Widgets", 1_200, 300, "Die-cast base with four M4 threads."),
    ("P005", "Widget Starter Set", "Widgets", 8_900, 40, "Two widgets, two bases and the key to join them."),
    ("P006", "Torque Screwdriver", "Tools", 6_450, 60, "0.5 to 5 Nm, clicks when it is enough."),
    ("P007", "Precision Bit Set", "Tools", 2_990, 150, "32 bits in a magnetic case."),
    ("P008", "Digital Caliper", "Tools", 3_800, 80, "150 mm, 0.01 mm, stainless, with a spare battery."),
    ("P009", "Soldering Station", "Tools", 11_900, 25, "80 W, heats up in eight seconds, sleeps by itself."),
    ("P010", "Helping Hands", "Tools", 1_950, 90, "Two clamps, one magnifier, one heavy foot."),
    ("P011", "Cable Tester", "Tools", 4_200, 45, "Finds the broken pair in RJ45 and coax."),
    ("P012", "Label Printer", "Packing", 9_900, 35, "Prints 4 by 6 inch shipping labels without ink."),
    ("P013", "Thermal Labels, 500", "Packing", 2_400, 400, "One roll of 4 by 6 inch labels."),
    ("P014", "Packing Tape, 6 rolls", "Packing", 1_350, 600, "Paper tape that goes into the paper bin."),
    ("P015", "Shipping Boxes M, 25", "Packing", 3_100, 200, "300 by 200 by 150 mm, double wall."),
    ("P016", "Paper Cushioning", "Packing", 1_890, 250, "Fills the gaps: 300 m of kraft paper."),
    ("P017", "Parcel Scale", "Packing", 5_600, 30, "Up to 35 kg in steps of 10 g."),
    ("P018", "Desk Lamp", "Office", 5_900, 70, "Warm to cold light, no flicker, one knob."),
    ("P019", "Mechanical Keyboard", "Office", 12_900, 50, "Tenkeyless, tactile, hot-swappable switches."),
    ("P020", "Vertical Mouse", "Office", 4_500, 85, "For hands that have typed for twenty years."),
    ("P021", "Monitor Arm", "Office", 8_400, 40, "Carries 9 kg and stays where it is put."),
    ("P022", "Notebook, dotted", "Office", 1_490, 500, "A5, 160 pages, lies flat."),
    ("P023", "Fountain Pen", "Office", 3_300, 75, "Steel nib M, fills from a bottle."),
    ("P024", "Rain Jacket", "Outdoor", 13_900, 30, "Three layers, 20,000 mm, packs into its pocket."),
    ("P025", "Trail Backpack 28 L", "Outdoor", 11_500, 35, "Carries close to the back, opens from all sides."),
    ("P026", "Insulated Bottle", "Outdoor", 2_750, 180, "0.75 l, hot for twelve hours, cold for a day."),
    ("P027", "Headlamp", "Outdoor", 4_990, 65, "400 lumens, red light, USB-C."),
    ("P028", "Last Chance Lantern", "Outdoor", 7_500, 3, "Out of production: these are the last ones."),
];

/// With International, two widgets A and one B make $125.00.
const ZONES: &[(&str, i64)] = &[
    ("Local", 500),
    ("Domestic", 1_000),
    ("Continental", 2_500),
    ("International", 5_000),
];

/// Name, email, role, address, zone.
type User = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
);

#[rustfmt::skip]
const USERS: &[User] = &[
    ("alice", "alice@example.com", "customer", "Alice Liddell\n8 Folly Bridge\nOxford OX1 4LB\nUnited Kingdom", "International"),
    ("bob", "bob@example.com", "customer", "Bob Builder\n742 Evergreen Terrace\nSpringfield, OR 97477\nUSA", "Domestic"),
    ("admin", "admin@example.com", "admin", "Waybill Inc.\n1 Depot Road\nPortland, OR 97201\nUSA", "Local"),
];

/// Adds what is missing of the demo's data, all of it or nothing.
pub async fn demo(db: &Db) -> anyhow::Result<Seeded> {
    let mut transaction = db.begin().await?;
    let seeded = Seeded {
        products: add_products(&mut transaction).await?,
        zones: add_zones(&mut transaction).await?,
        users: add_users(&mut transaction).await?,
    };
    transaction.commit().await?;
    Ok(seeded)
}

async fn add_products(db: &mut SqliteConnection) -> sqlx::Result<u64> {
    let mut added = 0;
    for (id, (sku, name, category, cents, pieces, description)) in (1..).zip(PRODUCTS) {
        let product = NewProduct {
            id,
            sku,
            name,
            category,
            price_cents: *cents,
            stock_qty: *pieces,
            description,
        };
        added += u64::from(catalog::add_product(db, &product).await?);
    }
    Ok(added)
}

async fn add_zones(db: &mut SqliteConnection) -> sqlx::Result<u64> {
    let mut added = 0;
    for (name, cents) in ZONES {
        added += u64::from(catalog::add_zone(db, name, *cents).await?);
    }
    Ok(added)
}

async fn add_users(db: &mut SqliteConnection) -> anyhow::Result<u64> {
    let mut added = 0;
    for (username, email, role, address, default_zone) in USERS {
        let user = NewUser {
            username,
            email,
            role,
            address,
            default_zone,
            password_hash: &demo_password_hash(username)?,
        };
        added += u64::from(users::add(db, &user).await?);
    }
    Ok(added)
}

/// Salted with the name, so that a catalog that is loaded again does not sign
/// everybody out: sessions are bound to the password's hash.
fn demo_password_hash(name: &str) -> anyhow::Result<String> {
    let salt = Sha256::digest(format!("waybill demo {name}"));
    password::hash(&format!("{name}-demo"), Some(&salt[..16]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::db;

    #[tokio::test]
    async fn seeding_twice_adds_nothing_and_changes_nothing() {
        let (_folder, db) = db::temporary().await;
        let first = demo(&db).await.unwrap();
        assert_eq!(
            first,
            Seeded {
                products: 28,
                zones: 4,
                users: 3
            }
        );
        sqlx::query("UPDATE products SET price_cents = 1 WHERE sku = 'P001'")
            .execute(&db.write)
            .await
            .unwrap();
        let again = demo(&db).await.unwrap();
        assert_eq!((again.products, again.zones, again.users), (0, 0, 0));
        let price: i64 = sqlx::query_scalar("SELECT price_cents FROM products WHERE sku = 'P001'")
            .fetch_one(&db.read)
            .await
            .unwrap();
        assert_eq!(price, 1);
    }

    #[test]
    fn the_proposals_example_costs_what_it_says() {
        let price = |sku| PRODUCTS.iter().find(|product| product.0 == sku).unwrap().3;
        assert_eq!(2 * price("P001"), 5_000);
        assert_eq!(price("P002"), 2_500);
        let alice = USERS.iter().find(|user| user.0 == "alice").unwrap();
        let zone = ZONES.iter().find(|zone| zone.0 == alice.4).unwrap();
        assert_eq!(2 * price("P001") + price("P002") + zone.1, 12_500);
    }

    #[tokio::test]
    async fn the_demo_passwords_open_and_stay_the_same() {
        let hash = demo_password_hash("alice").unwrap();
        assert_eq!(hash, demo_password_hash("alice").unwrap());
        let here = std::net::Ipv4Addr::LOCALHOST.into();
        let queue = crate::identity::hash_queue::HashQueue::default();
        let turn = queue.turn(here, false).await.unwrap();
        assert!(
            password::verify(turn, "alice-demo".into(), Some(hash))
                .await
                .unwrap()
        );
    }

    #[tokio::test]
    async fn stock_that_is_known_already_counts() {
        let (_folder, db) = db::temporary().await;
        sqlx::query(
            "INSERT INTO stock_levels (sku, version, updated_at, initial, restocked, available, reserved, committed)
             VALUES ('P001', 7, 0, 500, 0, 497, 2, 1)",
        )
        .execute(&db.write)
        .await
        .unwrap();
        demo(&db).await.unwrap();
        let stock: i64 = sqlx::query_scalar("SELECT stock_qty FROM products WHERE sku = 'P001'")
            .fetch_one(&db.read)
            .await
            .unwrap();
        assert_eq!(stock, 497);
    }
}
