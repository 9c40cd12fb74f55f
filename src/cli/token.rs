//! The API token, from a file or the environment. It is never a flag and never shown.

use std::{fs, io, path::PathBuf};

use secrecy::SecretString;

use super::CallArgs;
use crate::fs::io_hint;

const VARIABLE: &str = "AISA_API_KEY";

/// Maximum size in bytes: a longer file does not contain a token.
const MAX_FILE_BYTES: u64 = 64 * 1024;

#[derive(Debug)]
pub struct Token(pub SecretString);

/// Why the token cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error("no API token: {VARIABLE} is not set and --token-file is not given")]
    Missing,
    #[error("{VARIABLE} is not valid UTF-8")]
    NotText,
    #[error("cannot read the token from {}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    /// The file is empty or too long.
    #[error("{} does not contain a token", .0.display())]
    NoToken(PathBuf),
    /// `from` is the file or the variable.
    #[error("{from} is not a valid token: {what}")]
    NotAlone { from: String, what: &'static str },
}

impl TokenError {
    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Missing => format!("set {VARIABLE} or use --token-file FILE; --sandbox needs no token"),
            Self::NotText => "copy the token again".to_owned(),
            Self::File { source, .. } => {
                let check = || format!("check --token-file, or omit it and set {VARIABLE}");
                io_hint(source).map_or_else(check, str::to_owned)
            }
            Self::NoToken(_) => "the file must contain only the token, on one line".to_owned(),
            Self::NotAlone { .. } => "leave only the token there, on one line".to_owned(),
        }
    }
}

impl CallArgs {
    /// Reads the token. The simulated API accepts any.
    pub fn token(&self) -> Result<Token, TokenError> {
        if self.sandbox {
            return Ok(Token("sandbox".to_owned().into()));
        }
        if let Some(path) = &self.token_file {
            return from_file(path);
        }
        #[expect(clippy::disallowed_methods, reason = "this is the command line")]
        match std::env::var(VARIABLE) {
            Ok(token) if !token.trim().is_empty() => only_token(&token, || VARIABLE.to_owned()),
            Ok(_) | Err(std::env::VarError::NotPresent) => Err(TokenError::Missing),
            Err(std::env::VarError::NotUnicode(_)) => Err(TokenError::NotText),
        }
    }
}

fn from_file(path: &PathBuf) -> Result<Token, TokenError> {
    let fails = |source| TokenError::File { path: path.clone(), source };
    if fs::metadata(path).map_err(fails)?.len() > MAX_FILE_BYTES {
        return Err(TokenError::NoToken(path.clone()));
    }
    let text = fs::read_to_string(path).map_err(fails)?;
    // Some editors write a byte order mark.
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    if text.trim().is_empty() {
        return Err(TokenError::NoToken(path.clone()));
    }
    only_token(text, || path.display().to_string())
}

/// Checks that a text contains nothing but a token.
fn only_token(text: &str, from: impl Fn() -> String) -> Result<Token, TokenError> {
    let token = text.trim();
    let refused = |what| Err(TokenError::NotAlone { from: from(), what });
    if token.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("bearer ")) {
        return refused("it starts with the word Bearer");
    }
    if token.contains(['\n', '\r']) {
        return refused("it has more than one line");
    }
    if token.contains(char::is_whitespace) {
        return refused("it contains spaces");
    }
    if token.contains(['"', '\'']) {
        return refused("it contains quotation marks");
    }
    Ok(Token(token.to_owned().into()))
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn a_token_is_a_single_word() {
        let check = |text: &str, expected: Result<&str, &str>| {
            let found = only_token(text, || "token.txt".to_owned());
            let found = found.map(|token| token.0.expose_secret().to_owned()).map_err(|error| error.to_string());
            let expected = expected.map(str::to_owned);
            assert_eq!(found, expected.map_err(|what| format!("token.txt is not a valid token: {what}")), "{text}");
        };
        check("sk-0123\n", Ok("sk-0123"));
        check("  sk-0123\r\n", Ok("sk-0123"));
        check("Bearer sk-0123", Err("it starts with the word Bearer"));
        check("sk-0123\nsk-4567\n", Err("it has more than one line"));
        check("sk 0123", Err("it contains spaces"));
        check("\"sk-0123\"", Err("it contains quotation marks"));
    }
}
