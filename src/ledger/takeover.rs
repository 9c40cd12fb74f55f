//! Answers copied from another ledger: paid for once, stored twice.
//!
//! A body is copied in compressed form, once its checksum has been verified: a damaged one must not count as stored
//! here. Its line is written again as another kind of record, so that its cost is not counted twice. The other ledger
//! is only read.

use jiff::Timestamp;

use super::{
    Archive, Ledger, LedgerError, TargetEntry, members,
    record::{self, Record, TakenOver},
    writer::Purpose,
};

/// A final answer of another ledger, ready to be stored in this one.
#[derive(Debug)]
pub struct Copied {
    taken: TakenOver,
    /// The key of the body; `None` without a body.
    key: Option<&'static str>,
    /// The members of the body and the line's end.
    body: Vec<u8>,
}

impl Archive {
    /// Copies a target's answer, checking that it is complete; `None`: it has no final answer.
    pub fn copy(&self, entry: &TargetEntry, at: Timestamp) -> Result<Option<Copied>, LedgerError> {
        let Some((location, run)) = entry.last().filter(|_| entry.state.is_final()).zip(self.run()) else {
            return Ok(None);
        };
        let segment = self.segment(location.segment);
        let head = segment.head(&location)?;
        let mut taken = match segment.parse(&head, location.offset)? {
            // The run that paid for it is recorded, however often the answer has been copied since.
            Record::TakenOver(taken) => TakenOver { copied_at: at, ..*taken },
            Record::Answer(answer) => TakenOver { from_run_id: run.run_id.clone(), copied_at: at, answer: *answer },
            _ => return Err(segment.damaged(location.offset, &"the record is not an answer")),
        };
        taken.answer.date_to.get_or_insert(run.parameters.date_to);
        let body = if location.body > 0 { segment.verified_body_bytes(&location, &taken.answer)? } else { Vec::new() };
        Ok(Some(Copied { taken, key: record::body_key(&head), body }))
    }
}

impl TargetEntry {
    /// The approximate size of a copy of its answer, in bytes.
    pub fn size(&self) -> u64 {
        self.last().map_or(0, |last| u64::from(last.head) + u64::from(last.body))
    }

    /// Where its answer is in its ledger: adjacent answers are best read one after the other.
    pub fn location(&self) -> (u32, u64) {
        self.last().map_or((0, 0), |last| (last.segment, last.offset))
    }
}

impl Ledger {
    /// Stores an answer of another ledger durably.
    pub async fn take_over(&self, copied: Copied) -> Result<(), LedgerError> {
        let Copied { taken, key, body } = copied;
        let record = Record::TakenOver(Box::new(taken));
        let Some(key) = key else { return self.append(Purpose::BeforeCall, record).await };
        let mut bytes = members::stored(&record::answer_head(&record, key));
        bytes.extend_from_slice(&body);
        let location = self.appender.append(Purpose::BeforeCall, bytes, body.len()).await?;
        self.note(&record, location);
        Ok(())
    }
}
