//! What is said to Restate in the background until it is said: when to say it again.

use std::time::Duration;

use crate::http::problem::Problem;

/// How often to look for more.
const LOOK_AGAIN: Duration = Duration::from_secs(15);
/// How long to wait after a failure, such as Restate not being up yet.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// Tries again after a failure, and complains once until it is over.
#[derive(Debug)]
pub(super) struct Patience {
    complaint: &'static str,
    has_complained: bool,
}

impl Patience {
    /// With what is said in the log of a failure.
    pub(super) const fn new(complaint: &'static str) -> Self {
        Self {
            complaint,
            has_complained: false,
        }
    }

    /// How long to wait after that.
    pub(super) fn after(&mut self, told: Result<(), Problem>) -> Duration {
        let Err(problem) = told else {
            self.has_complained = false;
            return LOOK_AGAIN;
        };
        if !self.has_complained {
            tracing::warn!(
                cause = problem.cause(),
                "{}, trying again: {}",
                self.complaint,
                problem.detail
            );
        }
        self.has_complained = true;
        TRY_AGAIN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_complains_once_until_it_is_over() {
        let mut patience = Patience::new("it is not known");
        let failed = || Err(Problem::unavailable("away"));
        assert_eq!(patience.after(failed()), TRY_AGAIN);
        assert!(patience.has_complained);
        assert_eq!(patience.after(failed()), TRY_AGAIN);
        assert_eq!(patience.after(Ok(())), LOOK_AGAIN);
        assert!(!patience.has_complained);
    }
}
