//! Decodes the items of an answer directly into columns. A value that does not fit its column is null, and noted as
//! schema drift.

use super::{
    DecodedRows,
    column_builders::{ColumnBuilders, RowCells, bit},
    drift::{DriftKind, SchemaDrift},
    item_keys::{INFO, ITEM, ITEM_KEYS, Key, KeyKind, Keys},
    scan::{Scan, Scanner},
    schema, value,
};

/// Turns the items of one answer at a time into rows.
pub(super) struct ItemReader {
    columns: ColumnBuilders,
    drift: SchemaDrift,
    /// The target of the answer.
    target: String,
    keys: [Keys; 2],
    /// Buffer for one short text at a time.
    scratch: Vec<u8>,
}

impl Default for ItemReader {
    fn default() -> Self {
        Self {
            columns: ColumnBuilders::default(),
            drift: SchemaDrift::default(),
            target: String::new(),
            keys: [Keys::of_item(), Keys::of_info()],
            scratch: Vec::new(),
        }
    }
}

impl ItemReader {
    /// Begins an answer.
    pub(super) fn start(&mut self, target: &str) {
        target.clone_into(&mut self.target);
        self.clear();
    }

    /// Discards the rows so far.
    pub(super) fn clear(&mut self) {
        self.columns.clear();
        self.drift.clear();
    }

    /// Ends the answer.
    pub(super) fn finish(&mut self) -> DecodedRows {
        DecodedRows { batch: self.columns.finish(&self.target), drift: std::mem::take(&mut self.drift) }
    }

    pub(super) fn note_if(&mut self, is_so: bool, field: DriftKind) {
        if is_so {
            self.drift.note(field, &self.target);
        }
    }

    /// Reads an item and appends its row, if it is an object.
    pub(super) fn item(&mut self, scanner: &mut Scanner<'_>) -> Scan<()> {
        if scanner.peek() != b'{' {
            return self.wrong_type(scanner, "items[]", "object");
        }
        if self.columns.rows() as u64 == super::MAX_ROWS {
            self.note_if(true, DriftKind::TooManyItems);
            return scanner.skip();
        }
        let mut row = RowCells::default();
        self.object(scanner, ITEM, &mut row)?;
        self.columns.end_row(&row);
        Ok(())
    }

    /// Skips a value of the wrong type.
    #[cold]
    pub(super) fn wrong_type(
        &mut self,
        scanner: &mut Scanner<'_>,
        place: &'static str,
        expected: &'static str,
    ) -> Scan<()> {
        self.note_if(true, DriftKind::WrongType { place, expected, found: value::type_name(scanner.peek()) });
        scanner.skip()
    }

    fn object(&mut self, scanner: &mut Scanner<'_>, which: usize, row: &mut RowCells) -> Scan<()> {
        // The position of each key's value, the keys with a value that is not null, and the positions of the aliases'
        // values
        let (mut places, mut given) = ([0; ITEM_KEYS], 0_u64);
        let mut aliases = [None; schema::ALIASES.len()];
        let mut is_broken = false;
        let mut more = scanner.open(b'}');
        let mut before = self.keys[which].known.len();
        while more {
            match self.keys[which].take(scanner, before, &mut self.scratch)? {
                Ok(index) => {
                    scanner.colon()?;
                    let is_replaced = scanner.is_replaced(&mut places[index]);
                    let key = self.keys[which].known[index];
                    if is_replaced {
                        scanner.skip()?;
                    } else if scanner.peek() == b'n' {
                        scanner.literal(b"null")?;
                    } else if let KeyKind::Alias(alias, right) = key.kind {
                        aliases[alias] = Some((right, scanner.at));
                        scanner.skip()?;
                    } else {
                        given |= 1 << index;
                        self.cell(scanner, key, row)?;
                    }
                    before = index;
                }
                Err(unknown) => {
                    is_broken |= unknown.is_broken;
                    self.unknown(scanner, which)?;
                }
            }
            more = scanner.more(b'}')?;
        }
        let end = scanner.at;
        for (right, at) in aliases.into_iter().flatten() {
            if given & 1 << right == 0 {
                scanner.at = at;
                self.cell(scanner, self.keys[which].known[right], row)?;
            }
        }
        scanner.at = end;
        self.note_if(is_broken, DriftKind::BrokenText(self.keys[which].object));
        Ok(())
    }

    #[cold]
    fn unknown(&mut self, scanner: &mut Scanner<'_>, which: usize) -> Scan<()> {
        self.drift.unknown_key(self.keys[which].prefix, &String::from_utf8_lossy(&self.scratch), &self.target);
        scanner.colon()?;
        scanner.skip()
    }

    /// Reads a value that is not null.
    #[inline]
    fn cell(&mut self, scanner: &mut Scanner<'_>, key: Key, row: &mut RowCells) -> Scan<()> {
        let column = key.column;
        match (key.kind, scanner.peek()) {
            (KeyKind::Integer(index), _) => {
                if let Some(value) = self.integer(scanner, column)? {
                    row.integers[index] = value;
                    row.present |= bit::integer(index);
                }
                Ok(())
            }
            (KeyKind::Map(index), b'{') => {
                row.present |= bit::map(index);
                self.map(scanner, column, index)
            }
            (KeyKind::Text(index), b'"') => {
                row.present |= bit::text(index);
                let is_broken = scanner.string(&mut self.columns.texts[index].bytes)?;
                self.note_if(is_broken, DriftKind::BrokenText(column));
                Ok(())
            }
            (KeyKind::Date, b'"') => self.date(scanner, row),
            (KeyKind::Info, b'{') => self.object(scanner, INFO, row),
            (KeyKind::IsIp, b't') => {
                row.present |= bit::IS_IP | bit::IS_IP_TRUE;
                scanner.literal(b"true")
            }
            (KeyKind::IsIp, b'f') => {
                row.present |= bit::IS_IP;
                scanner.literal(b"false")
            }
            (KeyKind::PlatformType, b'[') => {
                row.present |= bit::PLATFORM_TYPE;
                self.platform_types(scanner)
            }
            (KeyKind::Map(_) | KeyKind::Info, _) => self.wrong_type(scanner, column, "object"),
            (KeyKind::Text(_) | KeyKind::Date, _) => self.wrong_type(scanner, column, "string"),
            (KeyKind::IsIp, _) => self.wrong_type(scanner, column, "boolean"),
            (KeyKind::PlatformType, _) => self.wrong_type(scanner, column, "list"),
            (KeyKind::Alias(..), _) => unreachable!("the value of an alias is read as its column's"),
        }
    }

    /// Reads a value; `None` if it is not an integer.
    #[inline]
    fn integer(&mut self, scanner: &mut Scanner<'_>, column: &'static str) -> Scan<Option<i64>> {
        let found = match scanner.peek() {
            b'-' | b'0'..=b'9' => scanner.integer()?.or_else(value::integer),
            b'"' => self.integer_in_text(scanner, column)?,
            b'n' => return scanner.literal(b"null").map(|()| None),
            _ => return self.wrong_type(scanner, column, "integer").map(|()| None),
        };
        if let Err(found) = found {
            self.note_if(true, DriftKind::WrongType { place: column, expected: "integer", found });
        }
        Ok(found.ok())
    }

    /// Reads a string; the inner error describes a string that is not an integer.
    #[cold]
    fn integer_in_text(&mut self, scanner: &mut Scanner<'_>, column: &'static str) -> Scan<Result<i64, &'static str>> {
        self.scratch.clear();
        scanner.string(&mut self.scratch)?;
        let value = str::from_utf8(&self.scratch).ok().and_then(value::integer_in_text);
        self.note_if(value.is_some(), DriftKind::IntegerInText(column));
        Ok(value.ok_or("string"))
    }

    fn date(&mut self, scanner: &mut Scanner<'_>, row: &mut RowCells) -> Scan<()> {
        let served = match scanner.ahead::<28>() {
            Some([b'"', date @ .., b'"']) => date.first_chunk::<26>().and_then(value::date_as_served),
            _ => None,
        };
        let date = if served.is_some() {
            scanner.at += 28;
            served
        } else {
            self.scratch.clear();
            let is_broken = scanner.string(&mut self.scratch)?;
            self.note_if(is_broken, DriftKind::BrokenText(schema::DATE));
            str::from_utf8(&self.scratch).ok().and_then(value::date)
        };
        if let Some(date) = date {
            row.date = date;
            row.present |= bit::DATE;
        }
        self.note_if(date.is_none(), DriftKind::UnusableDate);
        Ok(())
    }

    fn platform_types(&mut self, scanner: &mut Scanner<'_>) -> Scan<()> {
        let mut more = scanner.open(b']');
        while more {
            match scanner.peek() {
                b'"' => {
                    let is_broken = scanner.string(&mut self.columns.platform_types.keys.bytes)?;
                    self.note_if(is_broken, DriftKind::BrokenText(schema::INFO_PLATFORM_TYPE));
                }
                byte => {
                    if byte == b'n' {
                        scanner.literal(b"null")?;
                    } else {
                        self.wrong_type(scanner, schema::INFO_PLATFORM_TYPE, "string")?;
                    }
                    self.columns.platform_types.null();
                }
            }
            self.columns.platform_types.keys.end();
            more = scanner.more(b']')?;
        }
        Ok(())
    }

    fn map(&mut self, scanner: &mut Scanner<'_>, column: &'static str, index: usize) -> Scan<()> {
        let mut is_broken = false;
        let mut more = scanner.open(b'}');
        while more {
            is_broken |= scanner.string(&mut self.columns.maps[index].keys.bytes)?;
            scanner.colon()?;
            let value = self.integer(scanner, column)?;
            self.columns.maps[index].end_entry(value);
            more = scanner.more(b'}')?;
        }
        self.columns.maps[index].drop_repeated_keys();
        self.note_if(is_broken, DriftKind::BrokenText(column));
        Ok(())
    }
}
