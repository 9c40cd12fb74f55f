//! Generates answers for tests: usual ones, and ones with random irregularities. The API served none of them.

use fastrand::Rng;

use super::super::schema;

/// Random choices; the same seed makes the same choices.
pub(crate) struct Dice(Rng);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Rng::with_seed(seed))
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0.usize(..limit)
    }

    fn one_in(&mut self, chances: usize) -> bool {
        self.below(chances) == 0
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }
}

/// An answer as the API serves it, with every key.
pub(crate) fn usual_answer(rows: usize) -> String {
    let map = r#"{"":20318,"com":12403,"co.uk":527}"#;
    let items: Vec<String> = (0..rows)
        .map(|row| {
            let mut members = vec![
                r#""type":"backlinks_history""#.to_owned(),
                format!(r#""date":"20{:02}-{:02}-01 12:57:46 +00:00""#, 19 + row / 12, 1 + row % 12),
            ];
            members.extend(schema::INTEGERS.iter().enumerate().map(|(index, key)| format!("\"{key}\":{}", index + row)));
            members.insert(9, r#""info":{"server":"cloudflare","cms":null,"platform_type":["cms","blogs"],"ip_address":"192.0.2.7","country":"US","is_ip":false,"target_spam_score":4}"#.to_owned());
            members.extend(schema::MAPS.iter().map(|key| format!("\"{key}\":{map}")));
            format!("{{{}}}", members.join(","))
        })
        .collect();
    super::answer(&items.join(","))
}

/// A result about another target.
const OTHER: &str = r#"{"target":"b.com","items":[{"rank":6}]}"#;

/// A JSON object whose members are irregular in every way that is still JSON.
pub(crate) fn odd_answer(dice: &mut Dice) -> String {
    // Some answers have nothing that makes the fast path give up
    let tame = !dice.one_in(3);
    let items: Vec<String> = (0..dice.below(6)).map(|_| item(dice, tame)).collect();
    let items = list(dice, &items);
    let items = if dice.one_in(30) { value(dice, tame) } else { items };
    let result =
        object(dice, &[("target", "\"a.com\"".into()), ("items", items.clone()), ("items_count", "1".into())], tame);
    let mut results = vec![result];
    if dice.one_in(5) {
        results.push(dice.pick(&["null", "{}", "3", r#"{"items":[{"rank":5}]}"#, OTHER]).into());
    }
    dice.0.shuffle(&mut results);
    let results = list(dice, &results);
    let task = object(dice, &[("result", results), ("id", "\"x\"".into())], tame);
    let mut tasks = vec![task];
    if dice.one_in(8) {
        let other = format!(r#"{{"result":[{OTHER}]}}"#);
        let of = ["null", "null", "{}", "\"x\"", r#"{"data":{"target":"a.com"},"result":null}"#, &other];
        tasks.insert(0, dice.pick(&of).into());
    }
    let tasks = list(dice, &tasks);
    let answer = object(dice, &[("status_code", "20000".into()), ("tasks", tasks)], tame);
    format!("{}{answer}{}", blank(dice), blank(dice))
}

/// Changes some bytes, so that most bodies are not JSON any more, and some are not UTF-8.
pub(crate) fn damage(body: &mut Vec<u8>, dice: &mut Dice) {
    let at = dice.below(body.len() + 1);
    match dice.below(7) {
        0 => body.truncate(at),
        1 => drop(body.splice(at..at, *b"\"")),
        2 if at < body.len() => drop(body.remove(at)),
        3 if at < body.len() => body[at] = b"{}[],:\"\\0-.eE+tfn u\n\x00\x1f\x7f\xff\xc3\xed"[dice.below(25)],
        4 if at + 1 < body.len() => body.swap(at, at + 1),
        5 => {
            // With a digit replaced by another, it is still JSON
            if let Some(digit) = body[at..].iter_mut().find(|byte| byte.is_ascii_digit()) {
                *digit = b'0' + u8::try_from(dice.below(10)).unwrap_or_default();
            }
        }
        _ => {
            let copied = body[at..].iter().copied().take(dice.below(20)).collect::<Vec<_>>();
            body.splice(at..at, copied);
        }
    }
}

fn item(dice: &mut Dice, tame: bool) -> String {
    if dice.one_in(25) {
        return value(dice, tame);
    }
    let mut members =
        vec![("type", "\"backlinks_history\"".to_owned()), ("date", date(dice)), ("info", info(dice, tame))];
    members.extend(schema::INTEGERS.map(|key| (key, number(dice))));
    members.extend(schema::MAPS.map(|key| (key, map(dice, tame))));
    for (alias, right) in schema::ALIASES {
        if dice.one_in(6) {
            let value = if right.ends_with("attributes") { map(dice, tame) } else { number(dice) };
            members.push((alias, value));
        }
    }
    if dice.one_in(3) {
        members.push((dice.pick(&["new_key", "Rank", "rank ", "", "tasks", "items", "ранг"]), value(dice, tame)));
    }
    distort(dice, &mut members, tame);
    object(dice, &members, tame)
}

fn info(dice: &mut Dice, tame: bool) -> String {
    let mut members: Vec<_> = schema::INFO_TEXTS.map(|(key, _)| (key, text(dice, tame))).to_vec();
    members.push(("is_ip", dice.pick(&["true", "false", "null", "1", "\"true\""]).into()));
    let elements: Vec<String> =
        (0..dice.below(4)).map(|_| if dice.one_in(6) { value(dice, tame) } else { text(dice, tame) }).collect();
    members.push(("platform_type", list(dice, &elements)));
    members.push(("target_spam_score", number(dice)));
    if dice.one_in(8) {
        members.push(("city", value(dice, tame)));
    }
    distort(dice, &mut members, tame);
    object(dice, &members, tame)
}

/// Omits some members, makes some null or of another type, and shuffles them.
fn distort(dice: &mut Dice, members: &mut Vec<(&str, String)>, tame: bool) {
    if dice.one_in(3) {
        members.retain(|_| !dice.one_in(5));
    }
    for (_, member) in members.iter_mut() {
        if dice.one_in(25) {
            *member = value(dice, tame);
        } else if dice.one_in(15) {
            *member = "null".into();
        }
    }
    if !tame && dice.one_in(3) && !members.is_empty() {
        let twice = members[dice.below(members.len())].clone();
        members.push(twice);
    }
    if dice.one_in(2) {
        dice.0.shuffle(members);
    }
}

fn map(dice: &mut Dice, tame: bool) -> String {
    let entries: Vec<(String, String)> = (0..dice.below(8))
        .map(|_| (text(dice, tame), if dice.one_in(15) { value(dice, tame) } else { number(dice) }))
        .collect();
    // Keys are sometimes repeated, which only the slow path reads.
    let mut seen = std::collections::HashSet::new();
    let once = !dice.one_in(20);
    let entries = entries.into_iter().filter(|(key, _)| !once || seen.insert(key.clone())).collect::<Vec<_>>();
    let entries: Vec<String> =
        entries.into_iter().map(|(key, value)| format!("{key}{}:{}{value}", blank(dice), blank(dice))).collect();
    between(dice, '{', &entries, '}')
}

fn date(dice: &mut Dice) -> String {
    let (year, month, day) = (2017 + dice.below(12), 1 + dice.below(13), 1 + dice.below(31));
    let time = dice.pick(&[
        " 12:57:46 +00:00",
        " 00:00:00 +00:00",
        "T01:02:03Z",
        " 23:59:60 +00:00",
        " 05:00:00 +02:00",
        "",
        "x",
    ]);
    format!("\"{year}-{month:02}-{day:02}{time}\"")
}

fn number(dice: &mut Dice) -> String {
    match dice.below(12) {
        0 => dice
            .pick(&[
                "1e3",
                "12.0",
                "0.5",
                "-0",
                "1E400",
                "9223372036854775807",
                "9223372036854775808",
                "-9223372036854775808",
                "1e-7",
                "\"512\"",
                "\"-40\"",
                "\"\\u0037\"",
                "\"512.0\"",
            ])
            .into(),
        1 => format!("{}", dice.0.u64(..).cast_signed()),
        2 => format!("-{}", dice.below(1_000)),
        _ => format!("{}", dice.0.u64(..) >> (20 + dice.below(44))),
    }
}

fn text(dice: &mut Dice, tame: bool) -> String {
    let wild = ["\"\\ud800\"", "\"\\udfff\\ud83d\"", "\"\\ud83d\\u0041\""];
    let odd = [
        "\"\\u00e9\"",
        "\"\\ud83d\\ude00\"",
        "\"a\\\"b\\\\\"",
        "\"日本語\"",
        "\"co.uk and much more of it\"",
        "\"\u{7f}\"",
    ];
    match dice.below(10) {
        0 if !tame => dice.pick(&wild).into(),
        0 | 1 => dice.pick(&odd).into(),
        _ => dice.pick(&["\"\"", "\"com\"", "\"co.uk\"", "\"US\"", "\"noopener\"", "\"message-boards\""]).into(),
    }
}

fn value(dice: &mut Dice, tame: bool) -> String {
    match dice.below(9) {
        0 => "null".into(),
        1 => "true".into(),
        2 => "false".into(),
        3 => number(dice),
        4 | 5 => text(dice, tame),
        6 => "[[[[{\"a\":[]}]]]]".into(),
        7 => map(dice, tame),
        _ => {
            let elements: Vec<String> = (0..dice.below(3)).map(|_| value(dice, tame)).collect();
            list(dice, &elements)
        }
    }
}

fn object(dice: &mut Dice, members: &[(&str, String)], tame: bool) -> String {
    let mut written: Vec<String> = members
        .iter()
        .map(|(key, value)| {
            // The first letter as an escape
            let key = match key.chars().next() {
                Some(first) if dice.one_in(40) => format!("\\u{:04x}{}", u32::from(first), &key[first.len_utf8()..]),
                _ => (*key).to_owned(),
            };
            format!("\"{key}\"{}:{}{value}", blank(dice), blank(dice))
        })
        .collect();
    if !tame && dice.one_in(20) {
        written.push("\"\\ud800\":0".into());
    }
    between(dice, '{', &written, '}')
}

fn list(dice: &mut Dice, elements: &[String]) -> String {
    between(dice, '[', elements, ']')
}

fn between(dice: &mut Dice, open: char, elements: &[String], close: char) -> String {
    let comma = format!("{},{}", blank(dice), blank(dice));
    format!("{open}{}{}{}{close}", blank(dice), elements.join(&comma), blank(dice))
}

fn blank(dice: &mut Dice) -> &'static str {
    if dice.one_in(10) { dice.pick(&[" ", "\n", "\r\n\t", "    "]) } else { "" }
}
