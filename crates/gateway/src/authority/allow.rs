//! The words of the table, and what each of them means.

use waybill_domain::ids::Username;

use crate::http::problem::Problem;
use crate::identity::caller::Caller;
use crate::settings::Settings;
use crate::shop::orders;

/// Who may call a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Allow {
    /// Everybody, signed in or not.
    Anybody,
    /// Everybody: the windows that share the stream are refused one by one.
    EachWindow,
    /// The payment provider. Its signature is of the body, which the handler reads.
    Provider,
    /// Who runs the shop: whoever shows `INTERNAL_TOKEN`, and admins. In a demo
    /// everybody.
    Operator,
    /// Whoever is signed in, also who must set up a second factor before anything else.
    SettingUp,
    /// Whoever is signed in. What they get is their own, and for staff everybody's.
    Customer,
    /// Of the order that the path names: its customer, and staff. To others it does
    /// not exist.
    OwnerOrStaff,
    /// Of the order that the path names: its customer, and admins. Other staff see
    /// it and may not, to others it does not exist.
    OwnerOrAdmin,
    /// Who works for the shop: support, approvers, admins.
    Staff,
    /// Approvers and admins; of their own orders only with `APPROVE_OWN_ORDERS`.
    Decider,
    /// Admins.
    Admin,
    /// Whoever is signed in to a demo. Outside of one the route does not exist.
    DemoVisitor,
    /// Admins of a demo. Outside of one the route does not exist.
    DemoAdmin,
}

impl Allow {
    /// Every word.
    pub const ALL: [Self; 13] = [
        Self::Anybody,
        Self::EachWindow,
        Self::Provider,
        Self::Operator,
        Self::SettingUp,
        Self::Customer,
        Self::OwnerOrStaff,
        Self::OwnerOrAdmin,
        Self::Staff,
        Self::Decider,
        Self::Admin,
        Self::DemoVisitor,
        Self::DemoAdmin,
    ];

    /// Its name, in the table and in the description of the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Anybody => "anybody",
            Self::EachWindow => "each_window",
            Self::Provider => "provider",
            Self::Operator => "operator",
            Self::SettingUp => "setting_up",
            Self::Customer => "customer",
            Self::OwnerOrStaff => "owner_or_staff",
            Self::OwnerOrAdmin => "owner_or_admin",
            Self::Staff => "staff",
            Self::Decider => "decider",
            Self::Admin => "admin",
            Self::DemoVisitor => "demo_visitor",
            Self::DemoAdmin => "demo_admin",
        }
    }

    /// The word of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|allow| allow.as_str() == name)
    }

    /// Whether nobody is asked who they are before the handler.
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Anybody | Self::EachWindow | Self::Provider)
    }

    /// Whether there is such a route in a demo only.
    pub const fn is_of_a_demo(self) -> bool {
        matches!(self, Self::DemoVisitor | Self::DemoAdmin)
    }

    /// Whether it depends on whose order the path names.
    pub const fn is_of_an_order(self) -> bool {
        matches!(
            self,
            Self::OwnerOrStaff | Self::OwnerOrAdmin | Self::Decider
        )
    }

    /// Whether `caller` may: 403 if not, and 404 for an order of which they may not
    /// even know. `order` is what the path names.
    pub fn check(
        self,
        settings: &Settings,
        caller: &Caller,
        order: Option<&str>,
    ) -> Result<(), Problem> {
        if caller.owes_factor && self != Self::SettingUp {
            return Err(Problem::factor_needed());
        }
        match self {
            Self::Anybody
            | Self::EachWindow
            | Self::Provider
            | Self::SettingUp
            | Self::Customer
            | Self::DemoVisitor => Ok(()),
            Self::OwnerOrStaff => owner(caller, order).map(drop),
            Self::OwnerOrAdmin => {
                let owner = owner(caller, order)?;
                only_if(
                    caller.may_cancel(&owner),
                    "only the customer of this order or an admin may do this: ask an admin",
                )
            }
            Self::Staff => only_if(
                caller.role.is_staff(),
                "this is for staff: sign in as support, approver or admin",
            ),
            Self::Decider => {
                only_if(
                    caller.role.decides(),
                    "only an approver or an admin may decide orders: sign in as one",
                )?;
                let owner = owner(caller, order)?;
                only_if(
                    caller.may_decide(&owner, settings.approves_own_orders()),
                    "this is your own order: another approver must decide it, and you may cancel it",
                )
            }
            Self::Admin | Self::DemoAdmin | Self::Operator => only_if(
                caller.is_admin(),
                "only an admin may do this: sign in as one",
            ),
        }
    }
}

/// Whose order the path names, if the caller may know of it.
fn owner(caller: &Caller, order: Option<&str>) -> Result<Username, Problem> {
    let order = order.ok_or_else(|| Problem::internal("the path of this route names no order"))?;
    Ok(orders::named(caller, order)?.owner())
}

fn only_if(may: bool, why_not: &str) -> Result<(), Problem> {
    if may {
        Ok(())
    } else {
        Err(Problem::forbidden(why_not))
    }
}
