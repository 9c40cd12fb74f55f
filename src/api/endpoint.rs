//! The endpoint: its path and its request body. `decode` reads its answers.

use bytes::Bytes;
use serde::Serialize;

use super::{BodyForm, Parameters};

/// The path, relative to the base URL. The sandbox has its own copy, which checks this one.
pub const PATH: &str = "dataforseo/backlinks/history/live";

/// The body of the call for one target.
pub fn body(target: &str, parameters: &Parameters, form: BodyForm) -> Bytes {
    #[derive(Serialize)]
    struct Fields<'a> {
        target: &'a str,
        date_from: String,
        date_to: String,
        rank_scale: &'static str,
        tag: &'a str,
    }
    let fields = Fields {
        target,
        date_from: parameters.date_from.to_string(),
        date_to: parameters.date_to.to_string(),
        rank_scale: parameters.rank_scale.as_str(),
        tag: &parameters.tag,
    };
    let written = match form {
        BodyForm::Array => serde_json::to_vec(&[fields]),
        BodyForm::Object => serde_json::to_vec(&fields),
    };
    written.expect("strings always serialize").into()
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;
    use crate::api::RankScale;

    #[test]
    fn a_call_carries_all_five_fields_in_either_form() {
        let parameters = Parameters {
            date_from: date(2019, 1, 1),
            date_to: date(2026, 11, 24),
            rank_scale: RankScale::OneHundred,
            tag: "q\"1".into(),
        };
        let object = r#"{"target":"a.com","date_from":"2019-01-01","date_to":"2026-11-24","rank_scale":"one_hundred","tag":"q\"1"}"#;
        assert_eq!(body("a.com", &parameters, BodyForm::Object), object);
        assert_eq!(body("a.com", &parameters, BodyForm::Array), format!("[{object}]"));
    }
}
