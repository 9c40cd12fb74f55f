//! The input lines as stored in the ledger: checked once, and read back without checking again.
//!
//! Many lines are stored in one gzip member. A set of members counts once its closing record is present, and the latest
//! closed set is used: a run with more domains than before writes a new set.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{LedgerError, Location, record::InputsEnd};
use crate::{
    sha256,
    targets::{InputLine, Inputs, InputsBuilder, LineStatus, RawLine, Target},
};

/// Bytes of lines in one member: enough to compress well, and few enough for memory.
const CHUNK: usize = 256 * 1024;

/// The beginning of every line of a chunk.
const PREFIX: &[u8] = b"{\"record\":\"input\",";

/// Whether a member contains input lines.
pub(super) fn is_chunk(content: &[u8]) -> bool {
    content.starts_with(PREFIX)
}

/// One input line as JSON.
#[derive(Serialize, Deserialize)]
struct InputRecord<'a> {
    record: &'a str,
    #[serde(borrow)]
    source: Cow<'a, str>,
    line: u64,
    #[serde(borrow)]
    input: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    target: Option<Target>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    rejected: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Vec::is_empty")]
    columns: Vec<Option<Cow<'a, str>>>,
}

impl<'a> InputRecord<'a> {
    fn of(line: InputLine<'a>, columns: usize) -> Self {
        let (target, rejected) = match line.status {
            LineStatus::Target(target) | LineStatus::Duplicate(target) => (Some(target.to_target()), None),
            LineStatus::Rejected(reason) => (None, Some(reason.into())),
        };
        let columns = (0..columns).map(|index| line.column(index).map(Cow::from)).collect();
        Self {
            record: "input",
            source: line.file.into(),
            line: line.number,
            input: line.input.into(),
            target,
            rejected,
            columns,
        }
    }
}

/// The lines of `inputs` in order, many to a chunk.
pub(super) fn chunks(inputs: &Inputs) -> impl Iterator<Item = Vec<u8>> {
    let mut lines = inputs.lines();
    std::iter::from_fn(move || {
        let mut chunk = Vec::new();
        for line in lines.by_ref() {
            let written = InputRecord::of(line, inputs.columns().len());
            serde_json::to_writer(&mut chunk, &written).expect("strings always serialize");
            chunk.push(b'\n');
            if chunk.len() >= CHUNK {
                break;
            }
        }
        (!chunk.is_empty()).then_some(chunk)
    })
}

/// A digest of a set of input lines, equal if and only if the sets are.
#[derive(Default)]
pub(super) struct Digest(Sha256);

impl Digest {
    pub(super) fn add(&mut self, chunk: &[u8]) {
        self.0.update(chunk);
    }

    pub(super) fn finish(mut self, inputs: &Inputs) -> String {
        self.0.update(serde_json::to_vec(inputs.columns()).expect("strings always serialize"));
        sha256::hex(&self.0.finalize())
    }
}

/// The digest under which `inputs` would be stored.
pub fn digest(inputs: &Inputs) -> String {
    let mut digest = Digest::default();
    chunks(inputs).for_each(|chunk| digest.add(&chunk));
    digest.finish(inputs)
}

/// Where the input lines are.
#[derive(Debug, Default)]
pub(super) struct Stored {
    /// Chunks of a set that is not closed yet.
    open: Vec<Location>,
    closed: Option<Closed>,
}

#[derive(Debug)]
struct Closed {
    chunks: Vec<Location>,
    end: InputsEnd,
}

impl Stored {
    pub(super) fn note_chunk(&mut self, location: Location) {
        self.open.push(location);
    }

    pub(super) fn close(&mut self, end: InputsEnd) -> Result<(), LedgerError> {
        let mut chunks = std::mem::take(&mut self.open);
        // Earlier chunks belong to a set that a crash left open.
        let others = usize::try_from(end.chunks).ok().and_then(|wanted| chunks.len().checked_sub(wanted));
        let others = others.ok_or_else(|| LedgerError::Inputs { reason: "some are missing".to_owned() })?;
        chunks.drain(..others);
        self.closed = Some(Closed { chunks, end });
        Ok(())
    }

    pub(super) fn digest(&self) -> Option<&str> {
        self.closed.as_ref().map(|closed| closed.end.sha256.as_str())
    }

    /// Reads the latest closed set; `head` returns the content of a member.
    pub(super) fn read(
        &self,
        head: impl Fn(&Location) -> Result<Vec<u8>, LedgerError>,
    ) -> Result<Option<Inputs>, LedgerError> {
        let Some(Closed { chunks, end }) = &self.closed else { return Ok(None) };
        let mut builder = InputsBuilder::new();
        builder.set_columns(end.columns.clone());
        let mut digest = Digest::default();
        for location in chunks {
            let chunk = head(location)?;
            digest.add(&chunk);
            for line in chunk.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                let written: InputRecord<'_> =
                    serde_json::from_slice(line).map_err(|error| LedgerError::Inputs { reason: error.to_string() })?;
                push(&mut builder, &written)?;
            }
        }
        let inputs = builder.finish();
        if inputs.lines().len() as u64 != end.lines || digest.finish(&inputs) != end.sha256 {
            return Err(LedgerError::Inputs { reason: "their digest does not match".to_owned() });
        }
        Ok(Some(inputs))
    }
}

fn push(builder: &mut InputsBuilder, written: &InputRecord<'_>) -> Result<(), LedgerError> {
    let status = match (&written.target, &written.rejected) {
        (Some(target), _) => LineStatus::Target(target.view()),
        (None, Some(reason)) => LineStatus::Rejected(reason),
        (None, None) => return Err(LedgerError::Inputs { reason: "a line with neither target nor reason".to_owned() }),
    };
    let cells = written.columns.iter().enumerate();
    let columns: Vec<_> = cells.filter_map(|(index, cell)| cell.as_deref().map(|cell| (index, cell))).collect();
    builder.push(RawLine {
        input: &written.input,
        file: &written.source,
        number: written.line,
        status,
        columns: &columns,
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::targets::{Accept, clean};

    fn some_inputs(lines: u64) -> Inputs {
        let mut builder = InputsBuilder::new();
        builder.set_columns(vec!["client".into(), "since".into()]);
        for number in 1..=lines {
            let host = format!("site{}.com", number % 900);
            let target = clean(&host, Accept::DOMAINS).expect("a domain").target;
            let status =
                if number % 7 == 0 { LineStatus::Rejected("no \"host\"") } else { LineStatus::Target(target.view()) };
            let columns: &[(usize, &str)] = if number % 3 == 0 { &[(1, "Ünal\n")] } else { &[] };
            builder.push(RawLine { input: &host, file: "a.csv", number, status, columns });
        }
        builder.finish()
    }

    #[test]
    fn lines_are_read_back_with_their_status() {
        for lines in [0, 1, 5_000] {
            let inputs = some_inputs(lines);
            let kept: Vec<Vec<u8>> = chunks(&inputs).collect();
            assert!(kept.iter().all(|chunk| is_chunk(chunk)));
            let mut stored = Stored::default();
            for segment in 0..kept.len() {
                let segment = u32::try_from(segment).expect("few");
                stored.note_chunk(Location { segment, offset: 0, head: 1, body: 0 });
            }
            let columns = inputs.columns().to_vec();
            let end = InputsEnd { chunks: kept.len() as u64, lines, columns, sha256: digest(&inputs) };
            stored.close(end).expect("all chunks are there");
            let read = stored.read(|location| Ok(kept[location.segment as usize].clone()));
            let read = read.expect("readable").expect("a set");
            assert_eq!((read.counts(), read.columns()), (inputs.counts(), inputs.columns()));
            let show = |inputs: &Inputs| inputs.lines().map(|line| format!("{line:?}")).collect::<Vec<_>>();
            assert_eq!(show(&read), show(&inputs));
        }
    }
}
