//! gzip members of a ledger's file, read and created without the program's own code.

use std::io::{self, Read, Write};

use flate2::{Compression, GzBuilder, bufread::GzDecoder, read::MultiGzDecoder};

/// The members of a file, one after the other, each with its content.
pub(crate) fn members(mut bytes: &[u8]) -> Vec<(&[u8], Vec<u8>)> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let (mut decoder, mut content) = (GzDecoder::new(bytes), Vec::new());
        decoder.read_to_end(&mut content).expect("a member");
        let (member, rest) = bytes.split_at(bytes.len() - decoder.into_inner().len());
        found.push((member, content));
        bytes = rest;
    }
    found
}

/// What any gzip reader returns for a file.
pub(crate) fn gunzip(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    MultiGzDecoder::new(bytes).read_to_end(&mut content)?;
    Ok(content)
}

/// A member as any other program writes it.
pub(crate) fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzBuilder::new().write(Vec::new(), Compression::new(6));
    encoder.write_all(content).expect("room");
    encoder.finish().expect("room")
}

/// A member as the ledger's format describes it, with its own length in the extra field `BD`.
pub(crate) fn member(content: &[u8]) -> Vec<u8> {
    let extra = b"BD\x04\0\0\0\0\0".to_vec();
    let mut encoder = GzBuilder::new().extra(extra).write(Vec::new(), Compression::new(5));
    encoder.write_all(content).expect("room");
    let mut member = encoder.finish().expect("room");
    let length = u32::try_from(member.len()).expect("small").to_le_bytes();
    member[16..20].copy_from_slice(&length);
    member
}
