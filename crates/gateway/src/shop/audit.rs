//! What a gateway notes in the audit log itself: sign-ins that failed, and what an
//! operator has mended. All else is noted by who decides it.

use std::sync::Arc;
use std::time::Duration;

use services::client::{Body, Failure, Ingress, done};
use uuid::Uuid;
use waybill_domain::audit::{Act, AuditEntry, By, Origin};

use crate::clock;
use crate::http::client::ClientAddress;
use crate::identity::failed_sign_ins::FailedSignIns;
use crate::infra::Shared;

/// How often to look for what is to be told.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// How long a gateway that stops tries to tell the rest.
const LAST_WORDS_WITHIN: Duration = Duration::from_secs(2);

/// Notes an entry; the services keep it once, however often it is told.
pub async fn note(ingress: &Ingress, entry: AuditEntry) -> Result<(), Failure> {
    let log = ingress.audit_log(&entry.day());
    done(log.note(Body::from(entry)).call().await)
}

/// What `gateway reconcile --repair` has mended.
pub fn reconciled(subject: String, detail: String) -> AuditEntry {
    AuditEntry {
        id: format!("{}:{}", Act::Reconciled.as_str(), Uuid::now_v7()),
        at: clock::now(),
        what: Act::Reconciled,
        by: By::operator(),
        subject,
        detail,
        count: 1,
    }
}

/// Notes that somebody could not sign in. Nobody waits for it.
pub fn failed_sign_in(infra: &Shared, from: ClientAddress, origin: Origin, name: &str) {
    let failed = infra.auth.failed_sign_ins.clone();
    let now = clock::now();
    if let Some(entry) = failed.failed(from.caller(), name, origin, now) {
        let ingress = infra.ingress.clone();
        tokio::spawn(async move { tell(&ingress, &failed, entry).await });
    }
}

/// Answers whether it was told; what was not is told later.
async fn tell(ingress: &Ingress, failed: &FailedSignIns, entry: AuditEntry) -> bool {
    match note(ingress, entry.clone()).await {
        Ok(()) => true,
        Err(Failure::Unavailable(error)) => {
            tracing::debug!(error, "a failed sign-in is noted later");
            failed.not_told(entry);
            false
        }
        Err(error) => {
            tracing::error!(%error, "a failed sign-in could not be noted in the audit log");
            true
        }
    }
}

/// Notes what was gathered, for as long as the gateway runs.
pub async fn keep_noting(infra: Shared) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        note_due(&infra, false).await;
    }
}

async fn note_due(infra: &Shared, all: bool) {
    let failed = &infra.auth.failed_sign_ins;
    let mut due = failed.due(clock::now(), all).into_iter();
    for entry in due.by_ref() {
        if !tell(&infra.ingress, failed, entry).await {
            break;
        }
    }
    due.for_each(|entry| failed.not_told(entry));
}

/// Notes the rest before the gateway stops, if that is quick.
pub async fn note_rest(infra: &Shared) {
    let infra = Arc::clone(infra);
    if tokio::time::timeout(LAST_WORDS_WITHIN, note_due(&infra, true))
        .await
        .is_err()
    {
        tracing::warn!("some failed sign-ins are not in the audit log: Restate does not answer");
    }
}
