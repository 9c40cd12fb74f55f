//! The terminal under the bar: indicatif's drawing without its two habits that spoil a resized window.
//!
//! Left alone it fills every line with blanks up to the edge and leaves it to the terminal to go on below; when the
//! window gets narrower, those lines wrap and stay behind as litter. Here lines end where their text ends, and before
//! a drawing the cursor goes up as many rows as the last one takes at the width of now. Errors are ignored: a
//! terminal that is gone must not end a run that buys answers.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use console::Term;
use indicatif::TermLike;

/// A terminal narrower than this is taken for one of this width: nothing fits anyway.
const NARROWEST: u16 = 10;

/// Standard error, a terminal.
#[derive(Clone, Debug)]
pub(super) struct Screen {
    term: Term,
    drawn: Arc<Mutex<Drawn>>,
}

/// The lines that stand on the screen.
#[derive(Debug, Default)]
struct Drawn {
    /// Columns that each line takes.
    lines: Vec<usize>,
    /// The line of the cursor is complete; another one goes below it.
    complete: bool,
}

impl Screen {
    pub(super) fn stderr() -> Self {
        Self { term: Term::buffered_stderr(), drawn: Arc::default() }
    }

    /// The present width.
    pub(super) fn columns(&self) -> usize {
        self.width().into()
    }

    /// Writes a line where no bar stands.
    pub(super) fn line(&self, line: &str) {
        let _ = self.term.write_line(line);
        let _ = self.term.flush();
    }

    fn drawn(&self) -> MutexGuard<'_, Drawn> {
        self.drawn.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Rows that lines of these lengths take beyond one each.
fn wrapped_rows(lines: &[usize], width: usize) -> usize {
    lines.iter().map(|length| length.saturating_sub(1) / width.max(1)).sum()
}

impl TermLike for Screen {
    fn width(&self) -> u16 {
        self.term.size().1.max(NARROWEST)
    }

    fn height(&self) -> u16 {
        self.term.size().0
    }

    /// Goes up to the first of the last `n + 1` lines, which is how a drawing begins.
    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        let mut drawn = self.drawn();
        let last = drawn.lines.len().saturating_sub(n + 1);
        let rows = n + wrapped_rows(&drawn.lines[last..], self.columns());
        *drawn = Drawn::default();
        let up = if rows > 0 { format!("\x1b[{rows}A") } else { String::new() };
        self.term.write_str(&format!("\r{up}\x1b[J"))
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
        self.drawn().complete = true;
        Ok(())
    }

    /// Writes a line's text, or takes the blanks behind it for its end.
    fn write_str(&self, text: &str) -> io::Result<()> {
        let mut drawn = self.drawn();
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
