//! The time limit of one exchange.

use std::{pin::pin, time::Duration};

use tokio::time::{Instant, timeout, timeout_at};

use crate::api::{ApiError, ErrorKind};

/// A timer that fires this late shows that this process was suspended.
const OVERDUE: Duration = Duration::from_millis(500);
/// The time that a resumed process gets to read what arrived while it was suspended: it is paid for.
const CATCH_UP: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(super) struct Deadline {
    at: Instant,
    timeout: Duration,
}

impl Deadline {
    pub(super) fn after(timeout: Duration) -> Self {
        Self { at: Instant::now() + timeout, timeout }
    }

    /// Waits until the deadline, and a little longer if its timer fired so late that this process must have been
    /// suspended.
    pub(super) async fn meet<T>(&self, future: impl Future<Output = T>) -> Result<T, ApiError> {
        let mut future = pin!(future);
        if let Ok(output) = timeout_at(self.at, &mut future).await {
            return Ok(output);
        }
        let late =
            || ApiError { kind: ErrorKind::Lost, message: format!("no complete answer within {:?}", self.timeout) };
        if self.at.elapsed() < OVERDUE {
            return Err(late());
        }
        timeout(CATCH_UP, future).await.map_err(|_| late())
    }
}
