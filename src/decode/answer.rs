//! Parses an answer in one pass, from its first byte down to its items, which [`ItemReader`] turns into rows.
//!
//! Lenient, because the answer is paid for: every field may be missing, null or of another type. If a key is repeated,
//! its last value counts; the pass is then made again without the values that it replaces. If the first task is not
//! about the target, but exactly one result is, the pass is made again for only that result. Anything that gateways
//! write before or after the object is ignored.

use std::borrow::Cow;

use super::{
    DriftKind,
    envelope::{About, Envelope, RawResults, RawTask, RawTasks, RawTop, integer, money},
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

/// Reads the JSON object in a body for `target`; `rows` receives its items, if any are wanted. The envelope is `None` if
/// a task or a result is neither an object nor null.
pub(super) fn read(target: &str, body: &[u8], mut rows: Option<&mut ItemReader>) -> Scan<Option<Envelope>> {
    if let Ok(envelope) = read_json(target, body, rows.as_deref_mut()) {
        return Ok(envelope);
    }
    let body = lenient::repaired(body, object_start(body).0).ok_or(Malformed)?;
    if let Some(rows) = &mut rows {
        rows.clear();
    }
    let envelope = read_json(target, &body, rows.as_deref_mut())?;
    if let Some(rows) = rows {
        rows.note_if(true, DriftKind::NotStrictJson);
    }
    Ok(envelope.map(|envelope| Envelope { is_json: false, ..envelope }))
}

fn read_json(target: &str, body: &[u8], mut rows: Option<&mut ItemReader>) -> Scan<Option<Envelope>> {
    let (start, needs_task) = object_start(body);
    let body = &body[start..];
    let valid = str::from_utf8(body);
    let text = valid.map_or_else(|_| String::from_utf8_lossy(body), Cow::Borrowed);
    let mut scanner = Scanner::new(&text);
    let mut only = None;
    loop {
        scanner.at = 0;
        let replaced = scanner.replaced_count();
        let mut reader = AnswerReader::new(scanner, target, rows.as_deref_mut(), only);
        reader.scanner.blanks();
        let top = reader.top()?;
        let is_ours = top.tasks.first.as_ref().is_some_and(|task| task.results.about == About::Target);
        let mut is_final = reader.scanner.replaced_count() == replaced;
        if is_final && !is_ours && only.is_none() {
            only = reader.found.1.filter(|_| reader.found.0 == 1);
            is_final = only.is_none();
        }
        if !is_final {
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
            rows.note_if(only.is_some(), DriftKind::OtherTargets);
        }
        return Ok((!is_odd).then(|| Envelope { is_json: !is_surrounded && valid.is_ok(), ..Envelope::from(top) }));
    }
}

/// Where a result is: the positions of its task and of itself, `None` for all results of the task.
#[derive(Clone, Copy)]
struct ResultPlace {
    task: usize,
    result: Option<usize>,
}

struct AnswerReader<'t, 'r> {
    scanner: Scanner<'t>,
    target: &'r str,
    rows: Option<&'r mut ItemReader>,
    /// The only result to read, if not all of the first task.
    only: Option<ResultPlace>,
    /// How many results name the target, and the last of them.
    found: (u64, Option<ResultPlace>),
    /// The position of the current task.
    task_at: usize,
    /// Whether this is the task whose items become rows: the first that is not null, or that of the only result.
    in_first_task: bool,
    /// Whether a task or a result is neither an object nor null.
    is_odd: bool,
}

impl<'t, 'r> AnswerReader<'t, 'r> {
    fn new(scanner: Scanner<'t>, target: &'r str, rows: Option<&'r mut ItemReader>, only: Option<ResultPlace>) -> Self {
        Self { scanner, target, rows, only, found: (0, None), task_at: 0, in_first_task: false, is_odd: false }
    }

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
            reader.task_at = reader.scanner.at;
            reader.in_first_task = reader.only.map_or(!has_task, |only| only.task == reader.task_at);
            has_task = true;
            if let Some(task) = reader.object_or_odd("tasks[]", Self::task)? {
                if let Some(cost) = money(task.cost) {
                    tasks.cost = Some(tasks.cost.unwrap_or_default().plus(cost));
                }
                if reader.in_first_task {
                    tasks.first = Some(task);
                }
            }
            Ok(())
        })?;
        self.in_first_task = false;
        Ok(tasks)
    }

    fn task(&mut self) -> Scan<RawTask<'t>> {
        let (mut task, mut results_at, mut echoed) = (RawTask::default(), 0, None);
        let is_broken = self.object(|reader, key| {
            match key {
                "id" => task.id = reader.value()?,
                "status_code" => task.status_code = reader.value()?,
                "status_message" => task.status_message = reader.value()?,
                "time" => task.time = reader.value()?,
                "cost" => task.cost = reader.value()?,
                "result_count" => task.result_count = reader.value()?,
                "data" => echoed = reader.echoed_target()?,
                "result" if !reader.scanner.is_replaced(&mut results_at) => task.results = reader.results()?,
                _ => reader.scanner.skip()?,
            }
            Ok(())
        })?;
        self.note_if(is_broken, DriftKind::BrokenText("tasks[]"));
        if task.results.about == About::Unnamed {
            task.results.about = self.about(echoed, None);
        }
        Ok(task)
    }

    /// The target in a task's `data`, the echo of the request.
    fn echoed_target(&mut self) -> Scan<Option<&'t str>> {
        if self.scanner.peek() != b'{' {
            return self.scanner.skip().map(|()| None);
        }
        let mut target = None;
        self.object(|reader, key| {
            match key {
                "target" => target = reader.value()?,
                _ => reader.scanner.skip()?,
            }
            Ok(())
        })?;
        Ok(target)
    }

    /// Whom the result at this position, or `None` for all results of the task, is about.
    fn about(&mut self, named: Option<&str>, result: Option<usize>) -> About {
        let about = About::of(named, self.target);
        if about == About::Target {
            self.found = (self.found.0 + 1, Some(ResultPlace { task: self.task_at, result }));
        }
        about
    }

    fn results(&mut self) -> Scan<RawResults> {
        let mut results = RawResults::default();
        results.count = self.list("result", |reader| {
            if reader.scanner.peek() == b'n' {
                return reader.scanner.literal(b"null");
            }
            let is_read = reader.only.and_then(|only| only.result).is_none_or(|at| at == reader.scanner.at);
            let read = |reader: &mut Self| if is_read { reader.result(&mut results) } else { reader.scanner.skip() };
            reader.object_or_odd("result[]", read).map(drop)
        })?;
        Ok(results)
    }

    fn result(&mut self, results: &mut RawResults) -> Scan<()> {
        let at = self.scanner.at;
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
        results.about = results.about.max(self.about(target, Some(at)));
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
