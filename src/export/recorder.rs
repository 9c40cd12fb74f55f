//! Records what a fetch does: first in the ledger, then for the writer and on the display.

use std::sync::Arc;

use super::{ExportError, live::Feed, rows::AnswerRows};
use crate::{
    api::{
        call_events::{Answered, GaveUp, Sent, TargetState},
        status::Class,
    },
    fetch::{FetchState, Journal},
    ledger::Ledger,
    progress::Progress,
    sanitize,
};

/// The ledger and a display. What is displayed is already durable.
pub(super) struct Recorder {
    pub(super) ledger: Ledger,
    pub(super) feed: Arc<Feed>,
    pub(super) progress: Progress,
}

impl Journal for Recorder {
    type Error = ExportError;

    async fn sent(&self, sent: &Sent) -> Result<(), ExportError> {
        if self.feed.has_failed() {
            return Err(ExportError::WriterFailed);
        }
        self.ledger.sent(sent).await?;
        self.progress.called(sent.attempt > 1);
        Ok(())
    }

    async fn called_off(&self, sent: &Sent) -> Result<(), ExportError> {
        self.ledger.called_off(sent).await?;
        self.progress.called_off(sent.attempt > 1);
        Ok(())
    }

    async fn answered(&self, answered: &Answered, rows: Option<AnswerRows>) -> Result<(), ExportError> {
        self.ledger.answered(answered).await?;
        let assessment = &answered.assessment;
        tracing::debug!(
            target: "backlinks_export::call",
            domain = %answered.target,
            attempt = answered.attempt,
            class = assessment.class.as_str(),
            http_status = assessment.http_status,
            api_status_code = assessment.api_code,
            api_message = assessment.message.as_deref().map(sanitize::plain).as_deref(),
            latency_ms = u64::try_from(answered.latency.as_millis()).unwrap_or(u64::MAX),
            "answered"
        );
        match assessment.class {
            Class::Data => self.feed.mark_final(answered.target.view(), rows),
            Class::NoData => self.feed.mark_final(answered.target.view(), None),
            _ => {}
        }
        let (state, rows) = match assessment.class {
            Class::Data => (Some(TargetState::Ok), assessment.items),
            Class::NoData => (Some(TargetState::NoData), 0),
            _ => (None, 0),
        };
        self.progress.answered(state, rows, assessment.cost.reported());
        // The call stays in flight during the wait, so no other takes its place.
        self.feed.wait_for_writer().await;
        Ok(())
    }

    async fn gave_up(&self, gave_up: &GaveUp) -> Result<(), ExportError> {
        self.ledger.gave_up(gave_up).await?;
        self.feed.mark_final(gave_up.target.view(), None);
        tracing::info!(target: "backlinks_export::call", domain = %gave_up.target, class = gave_up.class.as_str(), "gave up");
        self.progress.failed();
        Ok(())
    }

    fn state(&self, state: &FetchState) {
        self.progress.state(state);
    }
}
