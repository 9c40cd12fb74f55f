//! Compares a file with its expected bytes as they are produced.

use std::{
    fs::File,
    io::{self, BufReader, Read, Write},
    path::Path,
};

use super::difference::{Differences, read_error};

/// Why writing to [`SameBytes`] is no reason for an error: what it cannot read, it reports at the end.
pub(super) const NEVER_FAILS: &str = "comparing never fails";

/// A writer that compares its input with a file: where they first differ, and the length of both.
pub(super) struct SameBytes {
    name: &'static str,
    file: io::Result<BufReader<File>>,
    /// Bytes that were written, and the line that they have reached.
    bytes: u64,
    line: u64,
    /// The first line that differs.
    differs: Option<u64>,
}

impl SameBytes {
    pub(super) fn open(dir: &Path, name: &'static str) -> Self {
        Self { name, file: File::open(dir.join(name)).map(BufReader::new), bytes: 0, line: 1, differs: None }
    }

    pub(super) fn finish(mut self, differences: &Differences) {
        let length = self.file.as_ref().map(|file| file.get_ref().metadata().map_or(0, |metadata| metadata.len()));
        let length = match length {
            Ok(length) => length,
            Err(error) => return differences.add(self.name, read_error(error)),
        };
        if length != self.bytes {
            self.differs.get_or_insert(self.line);
        }
        if let Some(line) = self.differs {
            let what = format!("differs from the ledger in line {line}");
            differences.add(self.name, format!("{what} ({length} bytes, expected {})", self.bytes));
        }
    }
}

impl Write for SameBytes {
    fn write(&mut self, expected: &[u8]) -> io::Result<usize> {
        self.bytes += expected.len() as u64;
        let Ok(file) = self.file.as_mut() else { return Ok(expected.len()) };
        let mut found = Vec::with_capacity(expected.len());
        if self.differs.is_none() {
            if let Err(error) = file.take(expected.len() as u64).read_to_end(&mut found) {
                self.file = Err(error);
                return Ok(expected.len());
            }
            let same = found.iter().zip(expected).take_while(|(one, other)| one == other).count();
            self.line += memchr::memchr_iter(b'\n', &expected[..same]).count() as u64;
            self.differs = (same < expected.len()).then_some(self.line);
        }
        Ok(expected.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
