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
    #[error("no API token: {VARIABLE} is not set and --token-file is not given")]
    Missing,
    /// The environment's is unusable.
    #[error("{VARIABLE} is not valid UTF-8")]
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
    #[error("{} does not contain a token", .0.display())]
    NoToken(PathBuf),
    /// It holds more than a token, or something around it.
    #[error("{from} is not a valid token: {what}")]
    NotAlone {
        /// The file, or the variable.
        from: String,
        /// What stands there.
        what: &'static str,
    },
}

impl TokenError {
    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Missing => format!("set {VARIABLE} or use --token-file FILE; --sandbox needs no token"),
            Self::NotText => "copy the token again".to_owned(),
            Self::File { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                format!("run as a user who can read that file, or omit --token-file and set {VARIABLE}")
            }
            Self::File { .. } => format!("check --token-file, or omit it and set {VARIABLE}"),
            Self::NoToken(_) => "the file must contain only the token, on one line".to_owned(),
            Self::NotAlone { .. } => "leave only the token there, on one line".to_owned(),
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
            Ok(token) if !token.trim().is_empty() => alone(&token, || VARIABLE.to_owned()),
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
    // Some editors put this in front of every text.
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    if text.trim().is_empty() {
        return Err(TokenError::NoToken(path.clone()));
    }
    alone(text, || path.display().to_string())
}

/// The token in a text that should hold nothing else.
fn alone(text: &str, from: impl Fn() -> String) -> Result<Token, TokenError> {
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
    fn a_token_stands_alone() {
        let check = |text: &str, expected: Result<&str, &str>| {
            let found = alone(text, || "token.txt".to_owned());
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
