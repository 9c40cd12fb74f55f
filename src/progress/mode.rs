//! Which display is used: one pure function.

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Requested {
    /// A bar on a terminal, otherwise lines.
    #[default]
    Auto,
    /// A bar; lines if the terminal cannot show one.
    Bar,
    /// A line every ten seconds.
    Plain,
    /// A JSON object every ten seconds, one a line.
    Json,
    None,
}

/// How progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A bar that is redrawn in place.
    Bar,
    Plain,
    Json,
    None,
}

/// The properties of the environment that the display depends on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TerminalTraits {
    /// Standard error is a terminal.
    pub terminal: bool,
    /// `CI` is set: some services provide a terminal whose log keeps every redraw of a bar.
    pub ci: bool,
    /// `TERM` is `dumb`: the cursor cannot be moved.
    pub dumb: bool,
}

pub fn mode(requested: Requested, environment: TerminalTraits) -> Mode {
    let TerminalTraits { terminal, ci, dumb } = environment;
    match requested {
        Requested::Auto if terminal && !dumb && !ci => Mode::Bar,
        Requested::Bar if terminal && !dumb => Mode::Bar,
        Requested::Auto | Requested::Bar | Requested::Plain => Mode::Plain,
        Requested::Json => Mode::Json,
        Requested::None => Mode::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_shown_on_a_terminal_outside_of_ci() {
        let check = |requested, (terminal, ci, dumb): (u8, u8, u8), expected| {
            let environment = TerminalTraits { terminal: terminal > 0, ci: ci > 0, dumb: dumb > 0 };
            assert_eq!(mode(requested, environment), expected, "{requested:?} in {environment:?}");
        };
        check(Requested::Auto, (1, 0, 0), Mode::Bar);
        check(Requested::Auto, (1, 1, 0), Mode::Plain);
        check(Requested::Auto, (1, 0, 1), Mode::Plain);
        check(Requested::Auto, (1, 1, 1), Mode::Plain);
        check(Requested::Auto, (0, 0, 0), Mode::Plain);
        check(Requested::Auto, (0, 1, 0), Mode::Plain);
        check(Requested::Bar, (1, 0, 0), Mode::Bar);
        check(Requested::Bar, (1, 1, 0), Mode::Bar);
        check(Requested::Bar, (1, 0, 1), Mode::Plain);
        check(Requested::Bar, (0, 0, 0), Mode::Plain);
        for place in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (1, 1, 0), (1, 0, 1), (1, 1, 1)] {
            check(Requested::Plain, place, Mode::Plain);
            check(Requested::Json, place, Mode::Json);
            check(Requested::None, place, Mode::None);
        }
    }
}
