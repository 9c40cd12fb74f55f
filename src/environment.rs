//! Environment variables that have no flag.

/// The value of a variable; `None` if it is not set, empty, or not UTF-8.
#[expect(clippy::disallowed_methods, reason = "the only place that reads them; clap reads those with a flag")]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
