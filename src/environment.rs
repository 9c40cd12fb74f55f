//! Variables of the environment that no flag stands for.

/// The value of a variable; `None` if it is not set, empty, or not UTF-8.
#[expect(clippy::disallowed_methods, reason = "this is the place for them; clap reads those of flags")]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
