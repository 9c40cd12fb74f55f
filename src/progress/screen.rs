//! The terminal below the bar: indicatif's drawing without two behaviors that garble a resized window.
//!
//! By default it pads every line with blanks up to the edge, and lets the terminal wrap to the next line. When the
//! window gets narrower, those lines wrap and leave garbage. Here, lines end where their text ends. Before each redraw,
//! the cursor moves up as many rows as the last drawing takes at the current width, and clears each row. Errors are
//! ignored: a closed terminal must not end a run that buys answers.

use std::{io, sync::Arc};

use console::Term;
use indicatif::TermLike;
use parking_lot::Mutex;

/// Narrower terminals are treated as having this width: nothing fits anyway.
const NARROWEST: u16 = 10;

/// Standard error, a terminal.
#[derive(Clone, Debug)]
pub(super) struct Screen {
    term: Term,
    drawn: Arc<Mutex<Drawn>>,
}

/// The lines on the screen.
#[derive(Debug, Default)]
struct Drawn {
    /// The width of each line, in columns.
    lines: Vec<usize>,
    /// The line of the cursor is complete; another one goes below it.
    complete: bool,
}

impl Screen {
    pub(super) fn stderr() -> Self {
        Self { term: Term::buffered_stderr(), drawn: Arc::default() }
    }

    pub(super) fn columns(&self) -> usize {
        self.width().into()
    }

    /// Writes a line while no bar is shown.
    pub(super) fn line(&self, line: &str) {
        let _ = self.term.write_line(line);
        let _ = self.term.flush();
    }
}

/// Rows that lines of these lengths take in addition to one each.
fn wrapped_rows(lines: &[usize], width: usize) -> usize {
    lines.iter().map(|length| length.saturating_sub(1) / width.max(1)).sum()
}

/// Moves up this many rows, and clears them and the one below, row by row: if everything from the first row down were
/// cleared at once, tmux would keep a copy of it in its scrollback, and a pane that got narrower has its cursor there.
fn emptied(rows: usize) -> String {
    const EMPTY: &str = "\x1b[2K";
    if rows == 0 {
        return format!("\r{EMPTY}");
    }
    let below = format!("\x1b[1B{EMPTY}").repeat(rows);
    format!("\r\x1b[{rows}A{EMPTY}{below}\x1b[{rows}A")
}

impl TermLike for Screen {
    fn width(&self) -> u16 {
        self.term.size().1.max(NARROWEST)
    }

    fn height(&self) -> u16 {
        self.term.size().0
    }

    /// Moves to the first of the last `n + 1` lines, which is how a redraw begins, and clears them.
    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        let mut drawn = self.drawn.lock();
        let last = drawn.lines.len().saturating_sub(n + 1);
        let rows = n + wrapped_rows(&drawn.lines[last..], self.columns());
        *drawn = Drawn::default();
        self.term.write_str(&emptied(rows))
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.term.move_cursor_down(n)
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        self.term.move_cursor_right(n)
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        self.term.move_cursor_left(n)
    }

    fn write_line(&self, line: &str) -> io::Result<()> {
        self.write_str(line)?;
        self.drawn.lock().complete = true;
        Ok(())
    }

    /// Writes the text of a line. The blanks after it mark its end.
    fn write_str(&self, text: &str) -> io::Result<()> {
        let mut drawn = self.drawn.lock();
        if text.chars().all(|character| character == ' ') {
            drawn.complete = true;
            return Ok(());
        }
        if text != "\r" {
            let below = if std::mem::take(&mut drawn.complete) { "\n" } else { "" };
            drawn.lines.push(console::measure_text_width(text));
            return self.term.write_str(&format!("{below}{text}"));
        }
        Ok(())
    }

    fn clear_line(&self) -> io::Result<()> {
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        self.term.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_emptied_one_by_one_and_the_cursor_ends_on_the_first() {
        assert_eq!(emptied(0), "\r\x1b[2K");
        assert_eq!(emptied(2), "\r\x1b[2A\x1b[2K\x1b[1B\x1b[2K\x1b[1B\x1b[2K\x1b[2A");
        // 79 columns take two rows of 40, and 80 do not take a third.
        assert_eq!(wrapped_rows(&[79, 80, 0], 40), 2);
    }
}
