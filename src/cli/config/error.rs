//! What is wrong with a file of flags, where, and how to mend it.

use std::{io, path::PathBuf};

use super::LONGEST;

/// Why a file of flags cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("cannot read --config {}: {source}", path.display())]
    Io {
        /// As given.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It holds something else.
    #[error("--config {} is no text of at most {} KiB", .0.display(), LONGEST >> 10)]
    NotText(PathBuf),
    /// It is no TOML.
    #[error("{place}: {message}")]
    Syntax {
        /// File and line.
        place: String,
        /// What the parser says; never the line itself.
        message: String,
    },
    /// It holds, or would hold, a secret.
    #[error("{place}: a token may not stand in this file")]
    Secret {
        /// File and line.
        place: String,
    },
    /// No command has such a flag.
    #[error("{place}: there is no flag for the key {key}")]
    Unknown {
        /// File and line.
        place: String,
        /// As written.
        key: String,
        /// What may have been meant.
        similar: Option<String>,
        /// For whom the file is read.
        command: String,
    },
    /// A key has the wrong kind of value.
    #[error("{place}: {key} {wanted}")]
    Kind {
        /// File and line.
        place: String,
        /// As written.
        key: String,
        /// What it takes.
        wanted: &'static str,
        /// How to write it.
        example: String,
    },
    /// A flag does not take the value.
    #[error("{place}: {message}")]
    Value {
        /// File and line.
        place: String,
        /// As the flag itself would say it.
        message: String,
        /// What `clap` suggests, if anything.
        tip: Option<String>,
        /// Whose flag it is.
        command: String,
    },
}

impl ConfigError {
    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                "run this as a user who may read that file, or give this user access to it".to_owned()
            }
            Self::Io { .. } => "check the path; it is taken from the directory in which the command runs".to_owned(),
            Self::NotText(_) => "name a TOML file with a flag on each line, such as max-cost = 50".to_owned(),
            Self::Syntax { .. } => {
                "write a flag on each line, texts in quotes: max-cost = 50, out = \"out/audit\", sandbox = true"
                    .to_owned()
            }
            Self::Secret { .. } => {
                "remove it, put the token alone into a file of its own, and name that with token-file; or set \
                 AISA_API_KEY. A token that was shared with this file should be replaced"
                    .to_owned()
            }
            Self::Unknown { similar: Some(similar), .. } => format!("did you mean {similar}?"),
            Self::Unknown { command, .. } => {
                format!("keys are flags without their dashes: backlinks-export {command} --help shows them")
            }
            Self::Kind { example, .. } => format!("write it as {example}"),
            Self::Value { tip: Some(tip), .. } => tip.clone(),
            Self::Value { command, .. } => {
                format!("the value is that of the flag: see backlinks-export {command} --help")
            }
        }
    }
}
