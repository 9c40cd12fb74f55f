//! Checks `_run.json` itself: whether it is unchanged, and whether this version can read it.

use std::{fs, io, path::Path};

use super::difference::{Differences, NEWER_VERSION, NO_RUN, UNPUBLISHED, read_error};
use crate::{dataset::RUN, decode, export::RunManifest, ledger, sha256};

/// Reads `_run.json` and checks its own digest; `None`: it cannot be used, and the reason has been reported.
pub(super) fn read(dir: &Path, differences: &Differences) -> Option<RunManifest> {
    let text = match fs::read(dir.join(RUN)) {
        Ok(text) => text,
        Err(error) => {
            let is_missing = error.kind() == io::ErrorKind::NotFound;
            let missing = if ledger::is_begun(dir).unwrap_or(true) { UNPUBLISHED } else { NO_RUN };
            differences.add(RUN, if is_missing { missing.to_owned() } else { read_error(&error) });
            return None;
        }
    };
    if !is_its_own(&text) {
        differences.add(RUN, "was changed after it was written: its digest in the last line does not match");
    }
    let manifest: RunManifest = match serde_json::from_slice(&text) {
        Ok(manifest) => manifest,
        Err(error) => {
            differences.add(RUN, format!("cannot be read, so only the ledger was checked: {error}"));
            return None;
        }
    };
    let provenance = &manifest.provenance;
    if provenance.schema_version != decode::schema::VERSION {
        let (theirs, ours) = (provenance.schema_version, decode::schema::VERSION);
        let older = format!("has schema version {theirs}, but this program only supports version {ours}");
        differences.add(RUN, if theirs > ours { NEWER_VERSION.to_owned() } else { older });
        return None;
    }
    if provenance.version != env!("CARGO_PKG_VERSION") {
        differences.note(format!("the dataset was built by version {} of this program", provenance.version));
    }
    Some(manifest)
}

/// Whether the last entry, `"sha256"`, is the digest of the document without it.
fn is_its_own(text: &[u8]) -> bool {
    const KEY: &[u8] = b",\n  \"sha256\": \"";
    const END: &[u8] = b"\"\n}\n";
    const DIGITS: usize = 64;
    let Some(rest) = text.strip_suffix(END) else { return false };
    let Some((rest, digits)) = rest.len().checked_sub(DIGITS).map(|place| rest.split_at(place)) else { return false };
    let Some(rest) = rest.strip_suffix(KEY) else { return false };
    sha256::of([rest, b"\n}\n"].concat()).as_bytes() == digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_changed_byte_of_the_record_is_noticed() {
        let dir = tempfile::tempdir().expect("a folder");
        crate::dataset::write_run(dir.path(), &serde_json::json!({"rows": 1, "z": ["a"]})).expect("written");
        let written = fs::read(dir.path().join(RUN)).expect("a file");
        assert!(is_its_own(&written));
        let value: serde_json::Value = serde_json::from_slice(&written).expect("JSON");
        assert_eq!(value["rows"], 1);
        for place in 0..written.len() {
            for bit in 0..8 {
                let mut changed = written.clone();
                changed[place] ^= 1 << bit;
                assert!(!is_its_own(&changed), "bit {bit} of byte {place}");
            }
        }
        assert!(!is_its_own(b"") && !is_its_own(b"{}\n"));
    }
}
