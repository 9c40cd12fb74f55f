//! Parses an answer in one pass, from its first byte down to its items, which [`ItemReader`] turns into rows.
//!
//! Lenient, because the answer is paid for: every field may be missing, null or of another type. If a key is repeated,
//! its last value counts; the pass is then made again without the values that it replaces. Anything that gateways write
//! before or after the object is ignored.

use std::borrow::Cow;

use super::{
    DriftKind,
    envelope::{Envelope, RawResults, RawTask, RawTasks, RawTop, integer, money},
    items::ItemReader,
    lenient,
    scan::{Malformed, Scan, Scanner},
};

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Maximum bytes before the object, in which gateways may write a comment, an anti-hijacking prefix, or anything else.
const MAX_BYTES_BEFORE: usize = 1024;

/// Where the object begins, and whether it is an answer only if it has a task: after other text, such as in an HTML
/// page, there may be an unrelated object.
fn object_start(body: &[u8]) -> (usize, bool) {
    let mark = if body.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\n' | b'\t' | b'\r');
    match body.iter().take(MAX_BYTES_BEFORE).position(|byte| *byte == b'{') {
        Some(brace) if !body[mark..brace].iter().all(is_blank) => (brace, true),
        _ => (mark, false),
    }
}

/// Reads the JSON object in a body; `rows` receives its items, if any are wanted. The envelope is `None` if a task or a
/// result is neither an object nor null.
pub(super) fn read(body: &[u8], mut rows: Option<&mut ItemReader>) -> Scan<Option<Envelope>> {
    if let Ok(envelope) = read_json(body, rows.as_deref_mut()) {
        return Ok(envelope);
    }
    let body = lenient::repaired(body, object_start(body).0).ok_or(Malformed)?;
    if let Some(rows) = &mut rows {
        rows.clear();
    }
    let envelope = read_json(&body, rows.as_deref_mut())?;
    if let Some(rows) = rows {
        rows.note_if(true, DriftKind::NotStrictJson);
    }
    Ok(envelope.map(|envelope| Envelope { is_json: false, ..envelope }))
}

fn read_json(body: &[u8], mut rows: Option<&mut ItemReader>) -> Scan<Option<Envelope>> {
    let (start, needs_task) = object_start(body);
    let body = &body[start..];
    let valid = str::from_utf8(body);
    let text = valid.map_or_else(|_| String::from_utf8_lossy(body), Cow::Borrowed);
    let mut scanner = Scanner::new(&text);
    loop {
        scanner.at = 0;
        let replaced = scanner.replaced_count();
        let mut reader = AnswerReader { scanner, rows: rows.as_deref_mut(), in_first_task: false, is_odd: false };
        reader.scanner.blanks();
        let top = reader.top()?;
        if reader.scanner.replaced_count() > replaced {
            scanner = reader.scanner;
            if let Some(rows) = &mut rows {
                rows.clear();
            }
            continue;
        }
        if needs_task && top.tasks.first.is_none() {
            return Err(Malformed);
        }
        let end = reader.scanner.at;
        let is_odd = reader.is_odd;
        reader.scanner.blanks();
        let is_surrounded = start > 0 || !reader.scanner.is_at_end();
        // Up to the first invalid byte, the text has the same positions as the body
        let is_utf8 = valid.map_or_else(|error| end <= error.valid_up_to(), |_| true);
        if let Some(rows) = rows {
            rows.note_if(is_surrounded, DriftKind::Surrounded);
            rows.note_if(!is_utf8, DriftKind::NotUtf8);
        }
        return Ok((!is_odd).then(|| Envelope { is_json: !is_surrounded && valid.is_ok(), ..Envelope::from(top) }));
    }
}

struct AnswerReader<'t, 'r> {
    scanner: Scanner<'t>,
    rows: Option<&'r mut ItemReader>,
    /// Whether this is the task whose items become rows: the first that is not null.
    in_first_task: bool,
    /// Whether a task or a result is neither an object nor null.
    is_odd: bool,
}

impl<'t> AnswerReader<'t, '_> {
    fn top(&mut self) -> Scan<RawTop<'t>> {
        let (mut top, mut tasks_at) = (RawTop::default(), 0);
        self.object(|reader, key| {
            match key {
                "version" => top.version = reader.value()?,
                "status_code" => top.status_code = reader.value()?,
                "status_message" => top.status_message = reader.value()?,
                "cost" => top.cost = reader.value()?,
                "tasks_error" => top.tasks_error = reader.value()?,
                "error" => top.error = reader.value()?,
                "code" => top.code = reader.value()?,
                "tasks" if !reader.scanner.is_replaced(&mut tasks_at) => top.tasks = reader.tasks()?,
                _ => reader.scanner.skip()?,
            }
            Ok(())
        })?;
        Ok(top)
    }

    fn tasks(&mut self) -> Scan<RawTasks<'t>> {
        let (mut tasks, mut has_task) = (RawTasks::default(), false);
        self.in_first_task = true;
        self.list("tasks", |reader| {
            if reader.scanner.peek() == b'n' {
                return reader.scanner.literal(b"null");
            }
            if let Some(task) = reader.object_or_odd("tasks[]", Self::task)? {
                if let Some(cost) = money(task.cost) {
                    tasks.cost = Some(tasks.cost.unwrap_or_default().plus(cost));
                }
                if !has_task {
                    tasks.first = Some(task);
                }
            }
            has_task = true;
            reader.in_first_task = false;
            Ok(())
        })?;
        self.in_first_task = false;
        Ok(tasks)
    }

    fn task(&mut self) -> Scan<RawTask<'t>> {
        let (mut task, mut results_at) = (RawTask::default(), 0);
        let is_broken = self.object(|reader, key| {
            match key {
                "id" => task.id = reader.value()?,
                "status_code" => task.status_code = reader.value()?,
                "status_message" => task.status_message = reader.value()?,
                "time" => task.time = reader.value()?,
                "cost" => task.cost = reader.value()?,
                "result_count" => task.result_count = reader.value()?,
                "data" => task.data = reader.value()?,
                "result" if !reader.scanner.is_replaced(&mut results_at) => task.results = reader.results()?,
                _ => reader.scanner.skip()?,
            }
            Ok(())
        })?;
        self.note_if(is_broken, DriftKind::BrokenText("tasks[]"));
        Ok(task)
    }

    fn results(&mut self) -> Scan<RawResults<'t>> {
        let mut results = RawResults::default();
        results.count = self.list("result", |reader| {
            if reader.scanner.peek() == b'n' {
                return reader.scanner.literal(b"null");
            }
            reader.object_or_odd("result[]", |reader| reader.result(&mut results)).map(drop)
        })?;
        Ok(results)
    }

    fn result(&mut self, results: &mut RawResults<'t>) -> Scan<()> {
        let (mut target, mut items, mut items_count, mut items_at) = (None, 0, None, 0);
        let is_broken = self.object(|reader, key| {
            match key {
                "target" => target = reader.value()?,
                "items_count" => items_count = reader.value()?,
                "items" if !reader.scanner.is_replaced(&mut items_at) => items = reader.items()?,
                _ => reader.scanner.skip()?,
            }
            Ok(())
        })?;
        self.note_if(is_broken, DriftKind::BrokenText("result[]"));
        results.targets.extend(target);
        results.items += items;
        if let Some(stated) = integer(items_count) {
            results.items_count = Some(results.items_count.unwrap_or(0).saturating_add(stated));
        }
        Ok(())
    }

    /// Reads the items and returns how many of them are objects.
    fn items(&mut self) -> Scan<u64> {
        let mut objects = 0;
        self.list("items", |reader| {
            objects += u64::from(reader.scanner.peek() == b'{');
            match &mut reader.rows {
                Some(rows) if reader.in_first_task => rows.item(&mut reader.scanner),
                _ => reader.scanner.skip(),
            }
        })?;
        Ok(objects)
    }

    /// Reads a value of any type; null is `None`.
    fn value(&mut self) -> Scan<Option<&'t str>> {
        let text = self.scanner.value()?;
        Ok((text != "null").then_some(text))
    }

    /// Reads an object; `each` reads the value of the key that it is given. Returns whether a key has half a surrogate
    /// pair.
    fn object(&mut self, mut each: impl FnMut(&mut Self, &str) -> Scan<()>) -> Scan<bool> {
        if self.scanner.peek() != b'{' {
            return Err(Malformed);
        }
        let (mut is_broken, mut more) = (false, self.scanner.open(b'}'));
        while more {
            let start = self.scanner.at;
            let key = self.scanner.key()?;
            if key.contains('\\') {
                self.scanner.at = start;
                let mut meant = Vec::new();
                is_broken |= self.scanner.string(&mut meant)?;
                self.scanner.colon()?;
                each(self, &String::from_utf8_lossy(&meant))?;
            } else {
                each(self, key)?;
            }
            more = self.scanner.more(b'}')?;
        }
        Ok(is_broken)
    }

    /// Reads an object; anything else is noted and skipped.
    fn object_or_odd<T>(&mut self, place: &'static str, read: impl FnOnce(&mut Self) -> Scan<T>) -> Scan<Option<T>> {
        if self.scanner.peek() == b'{' {
            return read(self).map(Some);
        }
        self.is_odd = true;
        self.wrong_type(place, "object")?;
        Ok(None)
    }

    /// Reads a list and returns the number of its elements. Null, or anything else, counts as an empty list.
    fn list(&mut self, place: &'static str, mut each: impl FnMut(&mut Self) -> Scan<()>) -> Scan<u64> {
        match self.scanner.peek() {
            b'[' => {}
            b'n' => return self.scanner.literal(b"null").map(|()| 0),
            _ => return self.wrong_type(place, "list").map(|()| 0),
        }
        let (mut count, mut more) = (0, self.scanner.open(b']'));
        while more {
            each(self)?;
            count += 1;
            more = self.scanner.more(b']')?;
        }
        Ok(count)
    }

    /// Skips a value of the wrong type.
    #[cold]
    fn wrong_type(&mut self, place: &'static str, expected: &'static str) -> Scan<()> {
        match &mut self.rows {
            Some(rows) if self.in_first_task => rows.wrong_type(&mut self.scanner, place, expected),
            _ => self.scanner.skip(),
        }
    }

    fn note_if(&mut self, is_so: bool, field: DriftKind) {
        if let Some(rows) = &mut self.rows {
            rows.note_if(is_so && self.in_first_task, field);
        }
    }
}
