//! An answer's text straight into columns, in one pass.
//!
//! Items repeat their keys in the same order, so each key is first compared with the one that followed last time, and
//! looked up only if it is another. What answers usually hold, and the surprises that may come with every answer once
//! the API changes (keys missing, unknown, null, in another order, of another type, under an old name), are dealt with
//! here. At what is stranger than that (a key twice, half a surrogate pair, broken JSON) this way gives up, and the
//! answer is read by [`super::plain`] instead: it never guesses, and tests hold it to the plain way row by row.

use super::scan::{Scan, Scanner, Unfamiliar};
use super::{
    columns::{Columns, Row, bit},
    drift::SchemaDrift,
    keys::{KeyPredictor, Slot},
    schema, value,
};

/// One pass over one answer.
pub(super) struct Reading<'a> {
    pub(super) scanner: Scanner<'a>,
    pub(super) target: &'a str,
    pub(super) columns: &'a mut Columns,
    pub(super) habits: &'a mut KeyPredictor,
    pub(super) drift: &'a mut SchemaDrift,
    /// Items without a row.
    pub(super) skipped: u64,
    /// Items with a row.
    pub(super) rows: u64,
    /// Items after the last that may have one.
    pub(super) beyond: u64,
}

impl Reading<'_> {
    /// Appends a row for each item of the first task. After an error, some of them may have been.
    pub(super) fn answer(&mut self) -> Scan<()> {
        if self.scanner.blanks() != b'{' {
            return Err(Unfamiliar);
        }
        self.find("tasks", Self::tasks)?;
        self.scanner.blanks();
        if self.scanner.is_at_end() { Ok(()) } else { Err(Unfamiliar) }
    }

    /// Goes through an object for one key and skips the others.
    fn find(&mut self, name: &'static str, found: impl Fn(&mut Self) -> Scan<()>) -> Scan<()> {
        let mut seen = false;
        let mut more = self.scanner.open(b'}');
        while more {
            let key = self.scanner.key()?;
            if key.contains('\\') {
                return Err(Unfamiliar);
            }
            if key != name {
                self.scanner.skip()?;
            } else if seen {
                return Err(Unfamiliar);
            } else {
                seen = true;
                found(self)?;
            }
            more = self.scanner.more(b'}')?;
        }
        Ok(())
    }

    fn tasks(&mut self) -> Scan<()> {
        let mut has_task = false;
        self.list("tasks", |reading| {
            if has_task || reading.scanner.peek() == b'n' {
                return reading.scanner.skip();
            }
            has_task = true;
            reading.object("tasks[]", |reading| reading.find("result", Self::results))
        })
    }

    fn results(&mut self) -> Scan<()> {
        self.list("result", |reading| {
            if reading.scanner.peek() == b'n' {
                return reading.scanner.skip();
            }
            reading.object("result[]", |reading| reading.find("items", Self::items))
        })
    }

    fn items(&mut self) -> Scan<()> {
        self.list("items", |reading| {
            if reading.scanner.peek() == b'{' {
                if reading.rows == super::MOST_ROWS {
                    return reading.one_too_many();
                }
                reading.rows += 1;
                return reading.item();
            }
            reading.skipped += 1;
            reading.wrong_type("items[]", "object")
        })
    }

    #[cold]
    fn one_too_many(&mut self) -> Scan<()> {
        self.scanner.skip()?;
        self.beyond += 1;
        self.drift.note(super::UnexpectedField::TooManyItems, self.target);
        Ok(())
    }

    /// Goes through a list; null is an empty one.
    fn list(&mut self, place: &'static str, mut each: impl FnMut(&mut Self) -> Scan<()>) -> Scan<()> {
        match self.scanner.peek() {
            b'n' => self.scanner.literal(b"null"),
            b'[' => {
                let mut more = self.scanner.open(b']');
                while more {
                    each(self)?;
                    more = self.scanner.more(b']')?;
                }
                Ok(())
            }
            _ => self.wrong_type(place, "list"),
        }
    }

    fn object(&mut self, place: &'static str, inside: impl FnOnce(&mut Self) -> Scan<()>) -> Scan<()> {
        if self.scanner.peek() == b'{' { inside(self) } else { self.wrong_type(place, "object") }
    }

    /// Skips a value of the wrong type.
    #[cold]
    fn wrong_type(&mut self, place: &'static str, expected: &'static str) -> Scan<()> {
        let found = value::type_name(self.scanner.peek());
        self.scanner.skip()?;
        self.drift.wrong_type(place, expected, found, self.target);
        Ok(())
    }

    fn item(&mut self) -> Scan<()> {
        let mut row = Row::default();
        // The keys seen, those seen with a value, and where the value of an alias stands
        let (mut seen, mut given) = (0u64, 0u64);
        let mut aliases: [Option<(usize, usize)>; schema::ALIASES.len()] = Default::default();
        let mut more = self.scanner.open(b'}');
        let mut before = self.habits.item.known.len();
        while more {
            if let Some(key) = self.habits.item.take(&mut self.scanner, before, &mut self.habits.scratch)? {
                self.scanner.colon()?;
                once(&mut seen, key)?;
                let (name, slot) = self.habits.item.known[key];
                if self.scanner.peek() == b'n' {
                    self.scanner.literal(b"null")?;
                } else if let Slot::Alias(right) = slot {
                    let free = aliases.iter_mut().find(|place| place.is_none()).ok_or(Unfamiliar)?;
                    *free = Some((right, self.scanner.at));
                    self.scanner.skip()?;
                } else {
                    given |= 1 << key;
                    self.cell(name, slot, &mut row)?;
                }
                before = key;
            } else {
                self.unknown("")?;
            }
            more = self.scanner.more(b'}')?;
        }
        let end = self.scanner.at;
        for (right, at) in aliases.into_iter().flatten() {
            if given & 1 << right == 0 {
                self.scanner.at = at;
                let (name, slot) = self.habits.item.known[right];
                self.cell(name, slot, &mut row)?;
            }
        }
        self.scanner.at = end;
        self.columns.end_row(&row);
        Ok(())
    }

    #[cold]
    fn unknown(&mut self, prefix: &str) -> Scan<()> {
        let key = std::str::from_utf8(&self.habits.scratch).map_err(|_| Unfamiliar)?;
        self.drift.unknown_key(prefix, key, self.target);
        self.scanner.colon()?;
        self.scanner.skip()
    }

    /// A value that is not null.
    #[inline]
    fn cell(&mut self, name: &'static str, slot: Slot, row: &mut Row) -> Scan<()> {
        match slot {
            Slot::Integer(index) => self.integer(name, index, row),
            Slot::Map(index) => self.map(name, index, row),
            Slot::Type => self.text(name, 0, row),
            Slot::Date => self.date(row),
            Slot::Info => self.info(row),
            Slot::Alias(_) | Slot::Text(_) | Slot::IsIp | Slot::PlatformType => Err(Unfamiliar),
        }
    }

    #[inline]
    fn integer(&mut self, name: &'static str, index: usize, row: &mut Row) -> Scan<()> {
        let found = match self.scanner.peek() {
            b'-' | b'0'..=b'9' => self.scanner.integer()?.or_else(value::integer),
            b'"' => self.integer_in_text(name)?,
            _ => return self.wrong_type(name, "integer"),
        };
        match found {
            Ok(value) => {
                row.integers[index] = value;
                row.present |= bit::integer(index);
            }
            Err(found) => self.drift.wrong_type(name, "integer", found, self.target),
        }
        Ok(())
    }

    /// Takes a string; the inner error is what it is if it is not an integer.
    #[cold]
    fn integer_in_text(&mut self, name: &'static str) -> Scan<Result<i64, &'static str>> {
        let written = self.scanner.value()?;
        if written.contains('\\') {
            return Err(Unfamiliar);
        }
        let value = value::integer_in_text(written.trim_matches('"'));
        if value.is_some() {
            self.drift.note(super::UnexpectedField::IntegerInText(name), self.target);
        }
        Ok(value.ok_or("string"))
    }

    fn text(&mut self, name: &'static str, index: usize, row: &mut Row) -> Scan<()> {
        if self.scanner.peek() != b'"' {
            return self.wrong_type(name, "string");
        }
        row.present |= bit::text(index);
        self.scanner.string(&mut self.columns.texts[index].bytes)
    }

    fn date(&mut self, row: &mut Row) -> Scan<()> {
        if let Some([b'"', date @ .., b'"']) = self.scanner.ahead::<28>()
            && let Some(date) = date.first_chunk::<26>().and_then(value::date_as_served)
        {
            self.scanner.at += 28;
            row.date = date;
            row.present |= bit::DATE;
            return Ok(());
        }
        if self.scanner.peek() != b'"' {
            return self.wrong_type(schema::DATE, "string");
        }
        let scratch = &mut self.habits.scratch;
        scratch.clear();
        self.scanner.string(scratch)?;
        if let Some(date) = std::str::from_utf8(scratch).ok().and_then(value::date) {
            row.date = date;
            row.present |= bit::DATE;
        } else {
            self.drift.note(super::UnexpectedField::UnusableDate, self.target);
        }
        Ok(())
    }

    fn info(&mut self, row: &mut Row) -> Scan<()> {
        if self.scanner.peek() != b'{' {
            return self.wrong_type("info", "object");
        }
        let mut seen = 0;
        let mut more = self.scanner.open(b'}');
        let mut before = self.habits.info.known.len();
        while more {
            if let Some(key) = self.habits.info.take(&mut self.scanner, before, &mut self.habits.scratch)? {
                self.scanner.colon()?;
                once(&mut seen, key)?;
                if self.scanner.peek() == b'n' {
                    self.scanner.literal(b"null")?;
                } else {
                    self.info_cell(self.habits.info.known[key].1, row)?;
                }
                before = key;
            } else {
                self.unknown("info.")?;
            }
            more = self.scanner.more(b'}')?;
        }
        Ok(())
    }

    fn info_cell(&mut self, slot: Slot, row: &mut Row) -> Scan<()> {
        match slot {
            Slot::Text(index) => self.text(schema::INFO_TEXT_COLUMNS[index - 1], index, row),
            Slot::IsIp => match self.scanner.peek() {
                b't' => {
                    row.present |= bit::IS_IP | bit::IS_IP_TRUE;
                    self.scanner.literal(b"true")
                }
                b'f' => {
                    row.present |= bit::IS_IP;
                    self.scanner.literal(b"false")
                }
                _ => self.wrong_type(schema::INFO_IS_IP, "boolean"),
            },
            Slot::PlatformType => self.platform_types(row),
            Slot::Integer(index) => self.integer(schema::INFO_TARGET_SPAM_SCORE, index, row),
            _ => Err(Unfamiliar),
        }
    }

    fn platform_types(&mut self, row: &mut Row) -> Scan<()> {
        if self.scanner.peek() != b'[' {
            return self.wrong_type(schema::INFO_PLATFORM_TYPE, "list");
        }
        row.present |= bit::PLATFORM_TYPE;
        let mut more = self.scanner.open(b']');
        while more {
            match self.scanner.peek() {
                b'"' => self.scanner.string(&mut self.columns.platform_types.keys.bytes)?,
                byte => {
                    if byte == b'n' {
                        self.scanner.literal(b"null")?;
                    } else {
                        self.wrong_type(schema::INFO_PLATFORM_TYPE, "string")?;
                    }
                    self.columns.platform_types.null();
                }
            }
            self.columns.platform_types.keys.end();
            more = self.scanner.more(b']')?;
        }
        Ok(())
    }

    fn map(&mut self, name: &'static str, index: usize, row: &mut Row) -> Scan<()> {
        if self.scanner.peek() != b'{' {
            return self.wrong_type(name, "object");
        }
        row.present |= bit::map(index);
        let mut more = self.scanner.open(b'}');
        while more {
            self.scanner.string(&mut self.columns.maps[index].keys.bytes)?;
            self.scanner.colon()?;
            let value = match self.scanner.peek() {
                b'-' | b'0'..=b'9' => self.scanner.integer()?.or_else(value::integer),
                b'"' => self.integer_in_text(name)?,
                byte => {
                    self.scanner.skip()?;
                    Err(value::type_name(byte))
                }
            };
            let entries = &mut self.columns.maps[index];
            entries.values.push(value.unwrap_or_default());
            if let Err(found) = value {
                entries.null();
                if found != "null" {
                    self.drift.wrong_type(name, "integer", found, self.target);
                }
            }
            self.columns.maps[index].keys.end();
            more = self.scanner.more(b'}')?;
        }
        if self.columns.maps[index].repeats_a_key() {
            return Err(Unfamiliar);
        }
        Ok(())
    }
}

/// A key that comes twice is for the plain way.
#[inline]
fn once(seen: &mut u64, key: usize) -> Scan<()> {
    let bit = 1 << key;
    if *seen & bit != 0 {
        return Err(Unfamiliar);
    }
    *seen |= bit;
    Ok(())
}
