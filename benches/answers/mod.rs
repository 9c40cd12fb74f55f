//! A generated answer: 95 months with all keys and ten entries in most maps, as large as real ones.

use std::fmt::Write as _;

use backlinks_export::decode::schema;

/// Months of a full history.
pub(crate) const ROWS: usize = 95;

/// An answer with these months, in any order.
pub(crate) fn answer(months: impl Iterator<Item = usize>, unknown_key: bool) -> Vec<u8> {
    let items: Vec<String> = months.map(|month| item(month, unknown_key)).collect();
    format!(
        r#"{{"version":"0.1.20250825","status_code":20000,"status_message":"Ok.","time":"0.15 sec.","cost":0.0274,"tasks_count":1,"tasks_error":0,"tasks":[{{"id":"x","status_code":20000,"status_message":"Ok.","cost":0.0274,"result_count":1,"data":{{"target":"example.com"}},"result":[{{"target":"example.com","items_count":{ROWS},"items":[{}]}}]}}]}}"#,
        items.join(",")
    )
    .into_bytes()
}

fn item(month: usize, unknown_key: bool) -> String {
    const KEYS: [&[&str]; 6] = [
        &["com", "pics", "net", "org", "info", "hu", "co.uk", "io", "best", "co"],
        &["anchor", "redirect", "image", "canonical", "link"],
        &["noopener", "nofollow", "noreferrer", "external", "sponsored", "ugc", "alternate"],
        &["unknown", "cms", "blogs", "organization", "message-boards", "news", "ecommerce", "wikis"],
        &["", "article", "section", "main", "details", "figcaption", "figure", "header", "aside", "nav"],
        &["", "US", "WW", "IN", "GB", "IO", "CO", "DE", "IT", "BR"],
    ];
    let mut text = format!(
        r#"{{"type":"backlinks_history","date":"20{}-{:02}-01 00:00:00 +00:00""#,
        19 + month / 12,
        1 + month % 12
    );
    for (index, key) in schema::INTEGERS.iter().enumerate() {
        let value = (month + 3) * (index * 7_919 + 371) % 50_000;
        write!(text, ",\"{key}\":{value}").expect("a string");
        if index == 6 {
            text.push_str(r#","info":{"server":"cloudflare","cms":null,"platform_type":["unknown"],"ip_address":"192.0.2.80","country":"US","is_ip":false,"target_spam_score":0}"#);
        }
    }
    if unknown_key {
        text.push_str(r#","referring_links_new":{"a":1}"#);
    }
    for (name, keys) in schema::MAPS.iter().zip(KEYS) {
        let entries: Vec<String> = keys
            .iter()
            .enumerate()
            .map(|(index, key)| format!("\"{key}\":{}", (month + 7) * 104_729 % 9_000 / (index + 1)))
            .collect();
        write!(text, ",\"{name}\":{{{}}}", entries.join(",")).expect("a string");
    }
    text.push('}');
    text
}
