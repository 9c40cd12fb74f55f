//! The API token: from a file or the environment, never from a flag, and never shown.

use std::{fs, io, path::PathBuf};

use secrecy::SecretString;

use super::CallArgs;

/// The environment's variable for the token.
const VARIABLE: &str = "AISA_API_KEY";

/// A longer file is no token.
const LONGEST: u64 = 64 * 1024;

/// The token, and where it is from.
#[derive(Debug)]
pub struct Token(pub SecretString);

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// Neither the environment nor a file has one.
    #[error("no API token: {VARIABLE} is not set, and there is no --token-file")]
    Missing,
    /// The environment's is unusable.
    #[error("{VARIABLE} is not text")]
    NotText,
    /// The file cannot be read.
    #[error("cannot read the token from {}: {source}", path.display())]
    File {
        /// As given.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file holds nothing, or far too much.
    #[error("{} holds no token", .0.display())]
    NoToken(PathBuf),
}

impl TokenError {
    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Missing => format!("set {VARIABLE} or name a file with --token-file; --sandbox needs no token"),
            Self::NotText => "copy the token anew".to_owned(),
            Self::File { .. } => format!("check --token-file, or leave it out and set {VARIABLE}"),
            Self::NoToken(_) => "the file should hold the token alone, on one line".to_owned(),
        }
    }
}

impl CallArgs {
    /// Reads the token. The simulated API in the same process takes any.
    pub fn token(&self) -> Result<Token, TokenError> {
        if self.sandbox {
            return Ok(Token("sandbox".to_owned().into()));
        }
        if let Some(path) = &self.token_file {
            return from_file(path);
        }
        #[expect(clippy::disallowed_methods, reason = "this is the command line")]
        match std::env::var(VARIABLE) {
            Ok(token) if !token.trim().is_empty() => Ok(Token(token.trim().to_owned().into())),
            Ok(_) | Err(std::env::VarError::NotPresent) => Err(TokenError::Missing),
            Err(std::env::VarError::NotUnicode(_)) => Err(TokenError::NotText),
        }
    }
}

fn from_file(path: &PathBuf) -> Result<Token, TokenError> {
    let fails = |source| TokenError::File { path: path.clone(), source };
    if fs::metadata(path).map_err(fails)?.len() > LONGEST {
        return Err(TokenError::NoToken(path.clone()));
    }
    let text = fs::read_to_string(path).map_err(fails)?;
    let token = text.trim();
    if token.is_empty() || token.contains(char::is_whitespace) {
        return Err(TokenError::NoToken(path.clone()));
    }
    Ok(Token(token.to_owned().into()))
}
