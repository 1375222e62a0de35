//! The upper bound of the benchmark: what Restate can do with the operations of an
//! order and none of the shop's rules. [`Bare`] is the least that it can do for a key;
//! the other components do, handler for handler, what an order of one line does: as
//! many invocations, journal entries and `run`s (`budget.rs`), with values as long as
//! the shop's. No gateway, no provider, no SQLite: whoever drives them asks Restate's
//! ingress, and hears how far they are through a channel.

use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use restate_sdk::prelude::*;
use tokio::sync::mpsc;

/// How far an order is.
#[derive(Debug, PartialEq, Eq)]
pub enum Reached {
    /// Its awakeable is known.
    Opened(String),
    /// It waits for an admin.
    Approvable(String),
    /// It has ended.
    Delivered(String),
}

type Told = mpsc::UnboundedSender<Reached>;
static TOLD: LazyLock<Mutex<Option<Told>>> = LazyLock::new(Mutex::default);

/// Whoever drives hears it from now on.
pub fn hear() -> mpsc::UnboundedReceiver<Reached> {
    let (tell, told) = mpsc::unbounded_channel();
    *TOLD.lock().unwrap_or_else(PoisonError::into_inner) = Some(tell);
    told
}

fn tell(reached: Reached) {
    let told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
    // Nobody may be listening.
    let _ = told.as_ref().map(|told| told.send(reached));
}

/// The key of a session and of its order, which says what is bought.
pub fn key(sku: &str, name: &str, n: usize) -> String {
    format!("{sku}.{name}{n}")
}

fn sku_of(key: &str) -> &str {
    key.split('.').next().unwrap_or_default()
}

/// As long as an order's record half way.
fn record(what: &str) -> String {
    format!("{what}{}", "-".repeat(1_800))
}

/// The least that Restate can do for a key: read, add, write.
pub struct Bare;

#[restate_sdk::object]
impl Bare {
    #[handler(name = "Add")]
    async fn add(&self, ctx: ObjectContext<'_>, pieces: u64) -> HandlerResult<u64> {
        let sum = ctx.get::<u64>("sum").await?.unwrap_or_default() + pieces;
        ctx.set("sum", sum);
        Ok(sum)
    }
}

/// `UserSession`.
pub struct BareSession;

#[restate_sdk::object]
impl BareSession {
    #[handler(name = "AddItem")]
    async fn add_item(&self, ctx: ObjectContext<'_>) -> HandlerResult<()> {
        ctx.get::<String>("basket").await?;
        ctx.set(
            "basket",
            "one piece of something, with its name and price".to_owned(),
        );
        Ok(())
    }

    #[handler(name = "Checkout")]
    async fn checkout(&self, ctx: ObjectContext<'_>) -> HandlerResult<()> {
        ctx.get::<String>("order").await?;
        ctx.get::<String>("basket").await?;
        let stock = ctx.object_client::<BareStockClient>(sku_of(ctx.key()));
        stock.reserve(ctx.key().to_owned()).call().await?;
        ctx.set("order", record("placed"));
        session(&ctx).await_payment().send();
        Ok(())
    }

    #[handler(name = "AwaitPayment", lazy_state)]
    async fn await_payment(&self, ctx: SharedObjectContext<'_>) -> HandlerResult<()> {
        let (awakeable, receipt) = ctx.awakeable::<String>();
        let asked = format!("{} {awakeable}", ctx.key());
        ctx.service_client::<BareProviderClient>()
            .request(asked)
            .send();
        restate_sdk::select! {
            _ = receipt => {},
            _ = ctx.sleep(Duration::from_mins(15)) => {},
            on_cancel => {}
        }
        ctx.get::<String>("order").await?;
        Ok(())
    }

    #[handler(name = "PaymentOpened")]
    async fn payment_opened(&self, ctx: ObjectContext<'_>, awakeable: String) -> HandlerResult<()> {
        ctx.get::<String>("order").await?;
        ctx.set("order", record(&format!("{awakeable} ")));
        tell(Reached::Opened(ctx.key().to_owned()));
        Ok(())
    }

    #[handler(name = "PaymentCallback")]
    async fn payment_callback(&self, ctx: ObjectContext<'_>) -> HandlerResult<()> {
        let order = ctx.get::<String>("order").await?.unwrap_or_default();
        let awakeable = order.split(' ').next().unwrap_or_default().to_owned();
        let transaction = ctx.object_client::<BareTransactionClient>(&awakeable);
        transaction.claim().call().await?;
        ctx.get::<String>("basket").await?;
        ctx.set("order", "paid, and the ids of its attempts".repeat(8));
        ctx.set("basket", String::new());
        ctx.workflow_client::<BareOrderClient>(ctx.key())
            .run(record("paid"))
            .send();
        ctx.resolve_awakeable(&awakeable, "a receipt with its transaction".to_owned());
        Ok(())
    }
}

fn session<'ctx>(ctx: &ObjectContext<'ctx>) -> BareSessionClient<'ctx> {
    ctx.object_client::<BareSessionClient>(ctx.key())
}

/// `OrderFulfillmentWorkflow`.
pub struct BareOrder;

#[restate_sdk::workflow]
impl BareOrder {
    #[handler(name = "Run")]
    async fn run(&self, ctx: WorkflowContext<'_>, order: String) -> HandlerResult<String> {
        ctx.set("record", order);
        tell(Reached::Approvable(ctx.key().to_owned()));
        restate_sdk::select! {
            _ = ctx.promise::<String>("decision") => {},
            _ = ctx.sleep(Duration::from_hours(24)) => {},
            on_cancel => {}
        }
        ctx.set("record", record("approved"));
        let provider = || ctx.service_client::<BareProviderClient>();
        provider().ask(record("book")).call().await?;
        ctx.set("record", record("booked"));
        provider().ask("capture".to_owned()).call().await?;
        ctx.set("record", record("in transit"));
        ctx.sleep(Duration::from_millis(100)).await?;
        ctx.set("record", record("delivered"));
        let stock = ctx.object_client::<BareStockClient>(sku_of(ctx.key()));
        stock.commit(ctx.key().to_owned()).send();
        tell(Reached::Delivered(ctx.key().to_owned()));
        Ok(record("delivered"))
    }

    #[handler(name = "Approve")]
    async fn approve(&self, ctx: SharedWorkflowContext<'_>) -> HandlerResult<String> {
        ctx.get::<String>("record").await?;
        ctx.resolve_promise("decision", "approved by an admin".to_owned());
        Ok(ctx.promise::<String>("decision").await?)
    }
}

/// `PaymentService` and `ShippingService`, without anybody outside.
pub struct BareProvider;

#[restate_sdk::service]
impl BareProvider {
    #[handler(name = "Request")]
    async fn request(&self, ctx: Context<'_>, asked: String) -> HandlerResult<String> {
        let (user, awakeable) = asked.split_once(' ').unwrap_or_default();
        let said = ctx.run(|| async { Ok("a page".to_owned()) }).await?;
        ctx.object_client::<BareSessionClient>(user)
            .payment_opened(awakeable.to_owned())
            .send();
        Ok(said)
    }

    #[handler(name = "Ask")]
    async fn ask(&self, ctx: Context<'_>, _asked: String) -> HandlerResult<String> {
        Ok(ctx.run(|| async { Ok("yes".to_owned()) }).await?)
    }
}

/// `PaymentTransaction`.
pub struct BareTransaction;

#[restate_sdk::object]
impl BareTransaction {
    #[handler(name = "Claim")]
    async fn claim(&self, ctx: ObjectContext<'_>) -> HandlerResult<bool> {
        ctx.get::<String>("owner").await?;
        ctx.set("owner", "an attempt and its awakeable".to_owned());
        Ok(true)
    }
}

/// `Inventory`.
pub struct BareStock;

#[restate_sdk::object]
impl BareStock {
    #[handler(name = "Reserve")]
    async fn reserve(&self, ctx: ObjectContext<'_>, of: String) -> HandlerResult<()> {
        let key = format!("reservation:{of}");
        ctx.get::<u32>(&key).await?;
        let level = ctx.get::<u64>("level").await?.unwrap_or_default();
        ctx.set(&key, 1_u32);
        ctx.set("level", level + 1);
        Ok(())
    }

    #[handler(name = "Commit")]
    async fn commit(&self, ctx: ObjectContext<'_>, of: String) -> HandlerResult<()> {
        let key = format!("reservation:{of}");
        ctx.get::<u32>(&key).await?;
        let level = ctx.get::<u64>("level").await?.unwrap_or_default();
        ctx.clear(&key);
        ctx.set("level", level.saturating_sub(1));
        Ok(())
    }
}
