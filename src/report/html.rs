//! Builds HTML in which untrusted text stays text: markup consists of literals of this program, and [`html!`] escapes
//! every other text, for elements and quoted attributes.

use std::{
    fmt::{self, Arguments, Display, Formatter, Write},
    ops::AddAssign,
};

use crate::sanitize;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Html(String);

/// HTML from a literal, with a value in place of each `{}`. Because of `concat!`, the literal cannot capture variables,
/// which would not be escaped.
macro_rules! html {
    ($markup:literal $(, $value:expr)* $(,)?) => {
        $crate::report::html::Html::new(format_args!(
            concat!($markup) $(, $crate::report::html::Shown(&$value))*
        ))
    };
}
pub(super) use html;

impl Html {
    /// Only for [`html!`], which escapes the values.
    pub(super) fn new(markup: Arguments<'_>) -> Self {
        Self(markup.to_string())
    }

    /// Markup or other content of the page that is part of this program.
    pub(super) fn literal(markup: &'static str) -> Self {
        Self(markup.to_owned())
    }

    /// JSON for a script element. No character in it can end the element or start another.
    pub(super) fn json(value: &serde_json::Value) -> Self {
        let mut json = String::new();
        for character in value.to_string().chars() {
            match character {
                '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                    let _ = write!(json, "\\u{:04x}", u32::from(character));
                }
                _ => json.push(character),
            }
        }
        Self(json)
    }

    pub(super) fn into_string(self) -> String {
        self.0
    }
}

impl AddAssign for Html {
    fn add_assign(&mut self, other: Self) {
        self.0.push_str(&other.0);
    }
}

impl FromIterator<Self> for Html {
    fn from_iter<I: IntoIterator<Item = Self>>(all: I) -> Self {
        Self(all.into_iter().map(Self::into_string).collect())
    }
}

/// A value in [`html!`].
pub(super) trait Value {
    fn write(&self, f: &mut Formatter<'_>) -> fmt::Result;
}

impl Value for Html {
    fn write(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Text is escaped, and loses characters that are invisible or change its direction.
impl<T: Display + ?Sized> Value for T {
    fn write(&self, f: &mut Formatter<'_>) -> fmt::Result {
        sanitize::plain(&self.to_string()).chars().try_for_each(|character| match character {
            '&' => f.write_str("&amp;"),
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '"' => f.write_str("&quot;"),
            '\'' => f.write_str("&#39;"),
            _ => f.write_char(character),
        })
    }
}

/// A value as `format_args!` takes it.
pub(super) struct Shown<'a, T: ?Sized>(pub(super) &'a T);

impl<T: Value + ?Sized> Display for Shown<'_, T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.0.write(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn untrusted_text_is_escaped() {
        let check = |text: &str, expected: &str| {
            assert_eq!(html!("<p>{}", text).into_string(), format!("<p>{expected}"), "{text:?}");
        };
        check("example.com", "example.com");
        check("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;");
        check("\" onload='x' &amp;", "&quot; onload=&#39;x&#39; &amp;amp;");
        check("moc.\u{202e}elpmaxe\u{0}\u{1b}[2J", "moc.elpmaxe");
        check("=HYPERLINK(\"x\")", "=HYPERLINK(&quot;x&quot;)");
    }

    #[test]
    fn markup_in_markup_is_not_escaped_again() {
        let items: Html = ["a", "<b>"].map(|item| html!("<li>{}", item)).into_iter().collect();
        assert_eq!(html!("<ul title='{}'>{}</ul>", 1, items).into_string(), "<ul title='1'><li>a<li>&lt;b&gt;</ul>");
    }

    #[test]
    fn json_cannot_leave_its_element() {
        let check = |value: serde_json::Value, expected: &str| {
            let written = Html::json(&value).into_string();
            assert_eq!(written, expected);
            assert_eq!(serde_json::from_str::<serde_json::Value>(&written).unwrap(), value);
        };
        check(serde_json::json!(["</script><!--", 1]), r#"["\u003c/script\u003e\u003c!--",1]"#);
        check(serde_json::json!({"a&b": "\u{2028}\"\\"}), "{\"a\\u0026b\":\"\\u2028\\\"\\\\\"}");
    }
}
