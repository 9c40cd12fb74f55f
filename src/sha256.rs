//! SHA-256 digests in hexadecimal, as `_run.json` and the ledger contain them.

use std::io::{self, Read};

use sha2::{Digest, Sha256};

/// The digest of a slice of bytes.
pub fn of(bytes: impl AsRef<[u8]>) -> String {
    hex(&Sha256::digest(bytes))
}

/// The digest of all bytes from a reader.
pub fn of_reader(mut source: impl Read) -> io::Result<String> {
    const READ: usize = 256 * 1024;
    let (mut digest, mut buffer) = (Sha256::new(), vec![0; READ]);
    loop {
        match source.read(&mut buffer)? {
            0 => return Ok(hex(&digest.finalize())),
            read => digest.update(&buffer[..read]),
        }
    }
}

/// A finished digest in hexadecimal.
pub fn hex(digest: &[u8]) -> String {
    digest
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}
