//! Until when an exchange has to be over.

use std::{pin::pin, time::Duration};

use tokio::time::{Instant, timeout, timeout_at};

use crate::api::{ApiError, ErrorKind};

/// A time-out that comes so late shows that this process did not run meanwhile.
const OVERDUE: Duration = Duration::from_millis(500);
/// What such a process is given to read what has arrived while it did not run: it is paid for.
const CATCH_UP: Duration = Duration::from_secs(2);

/// The end of a call's time.
#[derive(Debug)]
pub(super) struct Deadline {
    at: Instant,
    timeout: Duration,
}

impl Deadline {
    pub(super) fn after(timeout: Duration) -> Self {
        Self { at: Instant::now() + timeout, timeout }
    }

    /// Waits until the deadline, and a little longer if that came so late that this process cannot have run meanwhile.
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
