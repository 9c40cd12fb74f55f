//! Builds HTML in which untrusted text stays text. Markup consists of literals of this program; all other text goes
//! through [`Html::text`], which escapes it for elements and quoted attributes.

use std::fmt::{Display, Write};

use crate::sanitize;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Html(String);

impl Html {
    pub(super) fn new() -> Self {
        Self::default()
    }

    pub(super) fn markup(&mut self, markup: &'static str) -> &mut Self {
        self.0.push_str(markup);
        self
    }

    /// Appends untrusted text, without characters that are invisible or change the direction of the text.
    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        for character in sanitize::plain(text).chars() {
            match character {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                _ => self.0.push(character),
            }
        }
        self
    }

    pub(super) fn show(&mut self, value: impl Display) -> &mut Self {
        self.text(&value.to_string())
    }

    /// Appends a number with two decimals.
    pub(super) fn number(&mut self, number: impl Into<f64>) -> &mut Self {
        let number: f64 = number.into();
        let _ = write!(self.0, "{}", (number * 100.0).round() / 100.0);
        self
    }

    pub(super) fn piece(&mut self, piece: &Self) -> &mut Self {
        self.0.push_str(&piece.0);
        self
    }

    /// Appends JSON for a script element. No character in it can end the element or start another.
    pub(super) fn json(&mut self, value: &serde_json::Value) -> &mut Self {
        for character in value.to_string().chars() {
            match character {
                '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                    let _ = write!(self.0, "\\u{:04x}", u32::from(character));
                }
                _ => self.0.push(character),
            }
        }
        self
    }

    /// Trusts the plotting crate, which draws numbers and text that it escapes.
    pub(super) fn of_drawing(svg: String) -> Self {
        Self(svg)
    }

    pub(super) fn into_string(self) -> String {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn untrusted_text_is_escaped() {
        let check = |text: &str, expected: &str| {
            let mut html = Html::new();
            html.text(text);
            assert_eq!(html.into_string(), expected, "{text:?}");
        };
        check("example.com", "example.com");
        check("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;");
        check("\" onload='x' &amp;", "&quot; onload=&#39;x&#39; &amp;amp;");
        check("moc.\u{202e}elpmaxe\u{0}\u{1b}[2J", "moc.elpmaxe");
        check("=HYPERLINK(\"x\")", "=HYPERLINK(&quot;x&quot;)");
    }

    #[test]
    fn json_cannot_leave_its_element() {
        let check = |value: serde_json::Value, expected: &str| {
            let mut html = Html::new();
            html.json(&value);
            let written = html.into_string();
            assert_eq!(written, expected);
            assert_eq!(serde_json::from_str::<serde_json::Value>(&written).unwrap(), value);
        };
        check(serde_json::json!(["</script><!--", 1]), r#"["\u003c/script\u003e\u003c!--",1]"#);
        check(serde_json::json!({"a&b": "\u{2028}\"\\"}), "{\"a\\u0026b\":\"\\u2028\\\"\\\\\"}");
    }
}
