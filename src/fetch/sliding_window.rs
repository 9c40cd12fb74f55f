//! The calls of the last period: at most N, each counted from the time at which it was actually sent.

use std::{
    collections::VecDeque,
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// The last N calls, oldest first: when each was sent, or `None` if it is about to be.
#[derive(Debug)]
pub(super) struct SlidingWindow {
    calls: Arc<Mutex<SentCalls>>,
    max_calls: usize,
    length: Duration,
}

#[derive(Debug, Default)]
struct SentCalls {
    sent_at: VecDeque<Option<Instant>>,
    /// How many were removed from the front; slots are numbered from the first call of all.
    gone: u64,
}

impl SlidingWindow {
    /// A window of at most `max_calls` in `length`, `earlier` ones included.
    pub(super) fn new(max_calls: NonZeroU32, length: Duration, earlier: impl IntoIterator<Item = Instant>) -> Self {
        let max_calls = usize::try_from(max_calls.get()).unwrap_or(usize::MAX);
        let mut sent_at: Vec<_> = earlier.into_iter().map(Some).collect();
        sent_at.sort();
        let calls = SentCalls { sent_at: sent_at.into(), gone: 0 };
        Self { calls: Arc::new(Mutex::new(calls)), max_calls, length }
    }

    pub(super) fn check_room(&self, now: Instant) -> Result<(), Instant> {
        /// When to check again while the oldest call is about to be sent.
        const SOON: Duration = Duration::from_millis(1);
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(Some(left)) = calls.sent_at.front() {
            if *left + self.length > now {
                break;
            }
            calls.sent_at.pop_front();
            calls.gone += 1;
        }
        if calls.sent_at.len() < self.max_calls {
            return Ok(());
        }
        Err(calls.sent_at.front().copied().flatten().map_or(now + SOON, |left| left + self.length))
    }

    pub(super) fn grant(&self) -> CallSlot {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls.sent_at.push_back(None);
        let number = calls.gone + calls.sent_at.len() as u64 - 1;
        CallSlot { calls: Arc::clone(&self.calls), number, left: false }
    }
}

/// An allowed call. It counts against the window from when it was allowed until one period after it was sent or
/// dropped.
#[derive(Debug)]
pub(super) struct CallSlot {
    calls: Arc<Mutex<SentCalls>>,
    number: u64,
    left: bool,
}

impl CallSlot {
    /// Its place in the order of all calls.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// The call is sent now.
    pub(super) fn mark_sent(&mut self) {
        self.left = true;
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        let index = self.number.checked_sub(calls.gone).and_then(|index| usize::try_from(index).ok());
        if let Some(moment) = index.and_then(|index| calls.sent_at.get_mut(index)) {
            *moment = Some(Instant::now());
        }
    }
}

impl Drop for CallSlot {
    fn drop(&mut self) {
        if !self.left {
            self.mark_sent();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_window_has_room_a_period_after_its_oldest_call_was_sent() {
        let start = Instant::now();
        let at = |milliseconds: u64| start + Duration::from_millis(milliseconds);
        // Calls of an earlier process, in any order
        let max_calls = NonZeroU32::new(2).expect("not zero");
        let window = SlidingWindow::new(max_calls, Duration::from_millis(10_100), [at(1_000), at(0)]);
        assert_eq!(window.check_room(at(1_000)), Err(at(10_100)));
        assert_eq!(window.check_room(at(10_100) - Duration::from_nanos(1)), Err(at(10_100)));
        assert_eq!(window.check_room(at(10_100)), Ok(()));
        let mut slot = window.grant();
        assert_eq!(window.check_room(at(10_100)), Err(at(11_100)));
        // The oldest is about to be sent: the end of its period is not known yet.
        assert_eq!(window.check_room(at(11_100)), Ok(()));
        let unused = window.grant();
        assert_eq!(window.check_room(at(11_100)), Err(at(11_101)));
        tokio::time::advance(Duration::from_secs(12)).await;
        slot.mark_sent();
        tokio::time::advance(Duration::from_secs(1)).await;
        // A call that was sent keeps its time; one that is dropped counts from then on.
        drop(slot);
        drop(unused);
        assert_eq!(window.check_room(at(13_000)), Err(at(22_100)));
        assert_eq!(window.check_room(at(22_100)), Ok(()));
        let third = window.grant();
        assert_eq!(window.check_room(at(22_100)), Err(at(23_100)));
        drop(third);
    }
}
