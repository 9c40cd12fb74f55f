//! Repairs what some servers write instead of JSON: `NaN` and `Infinity` become null, and trailing commas are dropped.
//! Used only for bodies that are not valid JSON.

use super::ends::{blanks_end, byte, string_end};

/// Numbers that JSON cannot express.
const NON_JSON_NUMBERS: [&[u8]; 3] = [b"NaN", b"Infinity", b"-Infinity"];

/// The body, repaired from `start` on; `None`: nothing to repair.
pub(super) fn repaired(body: &[u8], start: usize) -> Option<Vec<u8>> {
    let mut repaired = Vec::new();
    let (mut at, mut copied) = (start, 0);
    while at < body.len() {
        if body[at] == b'"' {
            let Ok(end) = string_end(body, at) else { break };
            at = end;
        } else if let Some((length, replacement)) = replacement(body, at) {
            repaired.extend(&body[copied..at]);
            repaired.extend(replacement);
            at += length;
            copied = at;
        } else {
            at += 1;
        }
    }
    if copied == 0 {
        return None;
    }
    repaired.extend(&body[copied..]);
    Some(repaired)
}

/// How many bytes at this position to replace, and with what.
fn replacement(body: &[u8], at: usize) -> Option<(usize, &'static [u8])> {
    match body[at] {
        b',' => {
            let is_last = matches!(byte(body, blanks_end(body, at + 1)), b'}' | b']');
            let is_first = matches!(body[..at].trim_ascii_end().last(), Some(b'{' | b'['));
            (is_last && !is_first).then_some((1, b""))
        }
        b'N' | b'I' | b'-' => {
            let number = NON_JSON_NUMBERS.iter().find(|number| body[at..].starts_with(number))?;
            Some((number.len(), b"null"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_text_outside_of_strings_is_changed() {
        let check = |body: &str, expected: Option<&str>| {
            let repaired = repaired(body.as_bytes(), 0).map(|body| String::from_utf8(body).expect("UTF-8"));
            assert_eq!(repaired.as_deref(), expected, "{body}");
        };
        check(r#"{"a":NaN,"b":[-Infinity,Infinity]}"#, Some(r#"{"a":null,"b":[null,null]}"#));
        check("[1, ]", Some("[1 ]"));
        check("{\"a\":1,\n}", Some("{\"a\":1\n}"));
        check(r#"["NaN,]",{"\",]":1},]"#, Some(r#"["NaN,]",{"\",]":1}]"#));
        check(r#"[NaN,"not closed NaN"#, Some(r#"[null,"not closed NaN"#));
        for unchanged in ["", "[,]", "{ ,}", "[1,2]", r#"{"a":"Infinity"}"#, "-1", "\"NaN\""] {
            check(unchanged, None);
        }
        assert_eq!(repaired(b"\"NaN,] {NaN}", 7), Some(b"\"NaN,] {null}".to_vec()), "from the object on");
    }
}
