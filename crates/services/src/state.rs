//! State, read so that what cannot be read stops nobody else.
//!
//! The SDK tries again for ever when a value does not have its shape, and the
//! invocation holds its object's key meanwhile: one spoilt order would close
//! its customer's cart. Here it is a terminal error, of that call alone.

use std::future::Future;

use restate_sdk::prelude::*;
use serde::de::DeserializeOwned;

/// Contexts that read state.
pub trait ReadState {
    /// The value of `key`, if there is one.
    ///
    /// # Errors
    /// 500 when the value does not have its shape; Restate's own cancellation.
    fn read<T: DeserializeOwned + Send>(
        &self,
        key: &str,
    ) -> impl Future<Output = Result<Option<T>, TerminalError>> + Send;
}

// One by one, as in `clock`.
macro_rules! read_state {
    ($($context:ident),*) => {$(
        impl ReadState for $context<'_> {
            async fn read<T: DeserializeOwned + Send>(
                &self,
                key: &str,
            ) -> Result<Option<T>, TerminalError> {
                let value = self.get::<Vec<u8>>(key).await?;
                value.map(|value| parse(key, &value)).transpose()
            }
        }
    )*};
}

read_state!(
    ObjectContext,
    SharedObjectContext,
    WorkflowContext,
    SharedWorkflowContext
);

fn parse<T: DeserializeOwned>(key: &str, value: &[u8]) -> Result<T, TerminalError> {
    serde_json::from_slice(value).map_err(|error| {
        tracing::error!(key, %error, "state cannot be read");
        TerminalError::new(format!("the state {key} cannot be read: {error}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_its_shape_is_read_and_anything_else_is_an_error() {
        assert_eq!(parse::<u32>("quantity", b"7").unwrap(), 7);
        let error = parse::<u32>("quantity", b"seven").unwrap_err();
        assert!(error.message().contains("quantity"), "{error:?}");
        assert_eq!(error.code(), 500);
    }
}
