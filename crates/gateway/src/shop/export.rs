//! Orders as a file: read and written a few at a time, however many there are.

use std::{future, io};

use futures::stream::{self, Stream, StreamExt as _};

use crate::documents::csv;
use crate::http::problem::Problem;
use crate::infra::Infra;
use crate::storage::db::Db;
use crate::storage::orders::{self as queries, Filter};

/// Orders that are held at a time, some KB each.
const AT_A_TIME: u32 = 200;

/// A table of the orders that `filter` lets through, newest first, in pieces. Each order
/// of when it began is in it once, as it was when its piece was read. A file that cannot
/// be read to its end breaks off, so that nobody takes it for a whole one.
pub async fn orders(
    infra: &Infra,
    filter: Filter,
    for_spreadsheet: bool,
) -> Result<impl Stream<Item = io::Result<Vec<u8>>> + Send + use<>, Problem> {
    let mut head = Vec::new();
    if for_spreadsheet {
        head.extend_from_slice(csv::BYTE_ORDER_MARK.as_bytes());
    }
    head.extend(csv::head().map_err(Problem::internal)?);
    // Read before the answer begins: what cannot be read at all is a problem, and no file.
    let (first, next) = piece(&infra.db, &filter, None).await?;
    head.extend(first);
    let db = infra.db.clone();
    let rest = stream::try_unfold(next, move |below| {
        let (db, filter) = (db.clone(), filter.clone());
        async move {
            let Some(below) = below else {
                return Ok(None);
            };
            piece(&db, &filter, Some(below))
                .await
                .map(Some)
                .map_err(|problem| {
                    let cause = problem.cause();
                    tracing::error!(cause, "a table of orders breaks off: {}", problem.detail);
                    io::Error::other(problem.detail.clone())
                })
        }
    });
    Ok(stream::once(future::ready(Ok(head))).chain(rest))
}

/// The rows of the next orders, and where those after them begin.
async fn piece(
    db: &Db,
    filter: &Filter,
    below: Option<i64>,
) -> Result<(Vec<u8>, Option<i64>), Problem> {
    let (sales, last) = queries::sales(db, filter, below, AT_A_TIME).await?;
    let next = last.filter(|_| sales.len() >= AT_A_TIME as usize);
    Ok((csv::rows(&sales).map_err(Problem::internal)?, next))
}
