//! Keeps the token and paid answers from leaking when the program fails: no core dumps, no access for other processes,
//! and panics in the format of other errors.
//!
//! Inside the program, [`secrecy`] and sensitive headers redact the token. Best effort: no failure here stops a run.

use std::{
    io::{self, Write},
    panic::{self, PanicHookInfo},
};

use rustix::process::{Resource, Rlimit, setrlimit};

use crate::sanitize;

/// Called first in the program.
pub(super) fn set_up() {
    let nothing = Rlimit { current: Some(0), maximum: Some(0) };
    let _ = setrlimit(Resource::Core, nothing);
    // Other processes of the same user may neither trace this one nor read its memory and environment.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
    panic::set_hook(Box::new(|panic| {
        let _ = io::stderr().write_all(format_panic(panic).as_bytes());
    }));
}

/// A panic as an error message.
fn format_panic(panic: &PanicHookInfo<'_>) -> String {
    let place = panic.location().map(|place| format!(" at {}:{}", place.file(), place.line())).unwrap_or_default();
    let why = panic.payload_as_str().unwrap_or("no reason given");
    format!(
        "error: internal error{place}: {}\nhint: stored answers are kept; please report this bug\n",
        sanitize::plain(why)
    )
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn a_panic_is_one_line_that_cannot_control_a_terminal() {
        let heard = Arc::new(Mutex::new(String::new()));
        let hears = Arc::clone(&heard);
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            // Other tests of this process may panic at the same time.
            if panic.payload_as_str().is_some_and(|text| text.ends_with("news")) {
                *hears.lock().unwrap() = format_panic(panic);
            }
        }));
        let caught = panic::catch_unwind(|| panic!("{}", "bad\u{1b}[31m\nnews".to_owned()));
        panic::set_hook(before);
        assert!(caught.is_err());
        let heard = heard.lock().unwrap();
        assert!(heard.starts_with("error: internal error at src/commands/hardening.rs:"), "{heard}");
        assert!(heard.contains(": bad news\nhint: "), "{heard}");
    }
}
