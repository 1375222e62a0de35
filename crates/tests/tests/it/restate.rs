//! Restate's own view: SQL over what it holds, its ingress, its state.

use std::collections::BTreeMap;

use launcher::plan::TOKEN;
use reqwest::Response;
use serde_json::{Value, json};
use services::signed::{self, Call, CallKey};

use crate::shop::SOON;
use crate::world::{World, eventually};

/// What the gateways of a world sign with.
pub fn call_key() -> CallKey {
    CallKey::of(TOKEN)
}

impl World {
    /// Rows of a query over Restate's admin API. Asked again while Restate
    /// cannot tell: it looks for its partitions for a while after a start.
    pub async fn sql(&self, query: &str) -> Vec<Value> {
        eventually(query, SOON, async || self.try_sql(query).await).await
    }

    /// Waits until no invocation is at work; what a timer will begin does not count.
    pub async fn nothing_is_under_way(&self) {
        const OPEN: &str =
            "SELECT target FROM sys_invocation WHERE status NOT IN ('completed', 'scheduled')";
        eventually("nothing is under way", SOON, async || {
            let open = self.try_sql(OPEN).await?;
            if open.is_empty() {
                Ok(())
            } else {
                Err(format!("{open:?}"))
            }
        })
        .await;
    }

    /// The rows, asked for once.
    pub async fn try_sql(&self, query: &str) -> Result<Vec<Value>, String> {
        let answer = self
            .http
            .post(format!("{}/query", self.admin))
            .header("accept", "application/json")
            .json(&json!({ "query": query }))
            .send()
            .await
            .map_err(|error| error.to_string())?;
        let status = answer.status();
        let text = answer.text().await.map_err(|error| error.to_string())?;
        if !status.is_success() {
            return Err(format!("{status} {text}"));
        }
        let mut body: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        match body["rows"].take() {
            Value::Array(rows) => Ok(rows),
            other => Err(format!("no rows but {other}")),
        }
    }

    /// The statuses of the invocations whose target is like this, oldest
    /// first. `%` stands for anything.
    pub async fn invocations(&self, target: &str) -> Vec<String> {
        let query = format!(
            "SELECT status FROM sys_invocation WHERE target LIKE '{target}' ORDER BY created_at"
        );
        let rows = self.sql(&query).await;
        rows.iter()
            .map(|row| row["status"].as_str().unwrap_or_default().to_owned())
            .collect()
    }

    /// Ids of the invocations of exactly this target that have not ended, and
    /// that `caller` has invoked, if it is given.
    pub async fn open_invocations(&self, target: &str, caller: Option<&str>) -> Vec<String> {
        let by = caller.map_or_else(String::new, |caller| {
            format!(" AND invoked_by_target = '{caller}'")
        });
        let query = format!(
            "SELECT id FROM sys_invocation \
             WHERE target = '{target}' AND status <> 'completed'{by}"
        );
        let rows = self.sql(&query).await;
        rows.iter()
            .filter_map(|row| row["id"].as_str())
            .map(str::to_owned)
            .collect()
    }

    /// Whether the journal of each of these invocations has a step of this
    /// type, such as `Command: Run`.
    pub async fn have_step(&self, invocations: &[String], entry_type: &str) -> bool {
        for id in invocations {
            let query = format!(
                "SELECT count(*) AS n FROM sys_journal \
                 WHERE id = '{id}' AND entry_type = '{entry_type}'"
            );
            if self.sql(&query).await[0]["n"] == 0 {
                return false;
            }
        }
        !invocations.is_empty()
    }

    /// Cancels an invocation as an operator would.
    pub async fn cancel_invocation(&self, id: &str) {
        let url = format!("{}/invocations/{id}/cancel", self.admin);
        let answer = self.http.patch(url).send().await.expect("Restate answers");
        // Or it has ended meanwhile.
        let told = answer.status().as_u16();
        assert!(matches!(told, 200 | 202 | 404 | 409), "{id}: {answer:?}");
    }

    /// One value of an object's or a workflow's state.
    pub async fn state(&self, service: &str, of: &str, key: &str) -> Option<Value> {
        let query = format!(
            "SELECT value_utf8 FROM state WHERE service_name = '{service}' \
             AND service_key = '{of}' AND key = '{key}'"
        );
        let rows = self.sql(&query).await;
        let text = rows.first()?["value_utf8"].as_str()?;
        Some(serde_json::from_str(text).expect("state is JSON"))
    }

    /// Gives an object or a workflow this state, and no other, as an operator can. It
    /// is there some time after.
    pub async fn put_state(&self, service: &str, of: &str, state: &BTreeMap<String, String>) {
        let bytes: BTreeMap<_, _> = state
            .iter()
            .map(|(key, value)| (key, value.as_bytes()))
            .collect();
        let answer = self
            .http
            .post(format!("{}/services/{service}/state", self.admin))
            .json(&json!({ "object_key": of, "new_state": bytes }))
            .send()
            .await
            .expect("Restate answers");
        assert!(answer.status().is_success(), "{answer:?}");
    }

    /// All of an object's or a workflow's state, as text.
    pub async fn states(&self, service: &str, of: &str) -> BTreeMap<String, String> {
        let query = format!(
            "SELECT key, value_utf8 FROM state \
             WHERE service_name = '{service}' AND service_key = '{of}'"
        );
        let text = |value: &Value| value.as_str().expect("state is text").to_owned();
        let rows = self.sql(&query).await;
        rows.iter()
            .map(|row| (text(&row["key"]), text(&row["value_utf8"])))
            .collect()
    }

    /// Calls a handler at Restate's ingress as a gateway would: `UserSession/alice/AddItem`.
    pub async fn call_signed(&self, target: &str, body: impl Into<Vec<u8>>) -> Response {
        self.call(target, body, |call| Some(call_key().sign(call)))
            .await
    }

    /// The same with whatever `sign` makes of it.
    pub async fn call(
        &self,
        target: &str,
        body: impl Into<Vec<u8>>,
        sign: impl FnOnce(Call<'_>) -> Option<String>,
    ) -> Response {
        let body = body.into();
        let parts: Vec<_> = target.split('/').collect();
        let (service, key, handler) = match parts[..] {
            [service, handler] => (service, "", handler),
            [service, key, handler] => (service, key, handler),
            _ => panic!("{target} is no handler"),
        };
        let signature = sign(Call {
            service,
            key,
            handler,
            once: None,
            body: &body,
        });
        let mut asked = self
            .http
            .post(format!("{}/restate/call/{target}", self.ingress));
        if let Some(signature) = signature {
            asked = asked.header(signed::HEADER, signature);
        }
        if !body.is_empty() {
            asked = asked.header("content-type", "application/json").body(body);
        }
        asked.send().await.expect("Restate's ingress answers")
    }

    /// Posts raw bytes to Restate's ingress.
    pub async fn ingress(
        &self,
        path: &str,
        content_type: &str,
        body: impl Into<Vec<u8>>,
    ) -> Response {
        self.http
            .post(format!("{}{path}", self.ingress))
            .header("content-type", content_type)
            .body(body.into())
            .send()
            .await
            .expect("Restate's ingress answers")
    }
}
