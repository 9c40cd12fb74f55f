//! What is wrong with a configuration file, where, and how to fix it.

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
    #[error("--config {} is not a text file of at most {} KiB", .0.display(), LONGEST >> 10)]
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
    #[error("{place}: tokens are not allowed in this file")]
    Secret {
        /// File and line.
        place: String,
    },
    /// No command has such a flag.
    #[error("{place}: unknown key {key}")]
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
                "run as a user who can read that file, or give this user access to it".to_owned()
            }
            Self::Io { .. } => "check the path; relative paths start from the current directory".to_owned(),
            Self::NotText(_) => "use a TOML file with one flag per line, such as max-cost = 50".to_owned(),
            Self::Syntax { .. } => {
                "write one flag per line, text in quotes: max-cost = 50, out = \"out/audit\", sandbox = true".to_owned()
            }
            Self::Secret { .. } => {
                "move the token to its own file and set token-file to its path, or set AISA_API_KEY; replace the token \
                 if this file was shared"
                    .to_owned()
            }
            Self::Unknown { similar: Some(similar), .. } => format!("did you mean {similar}?"),
            Self::Unknown { command, .. } => {
                format!("keys are flags without the leading dashes; see backlinks-export {command} --help")
            }
            Self::Kind { example, .. } => format!("write it as {example}"),
            Self::Value { tip: Some(tip), .. } => tip.clone(),
            Self::Value { command, .. } => {
                format!("values are the same as for the flag; see backlinks-export {command} --help")
            }
        }
    }
}
