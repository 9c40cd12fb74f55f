//! The summary as metrics in Prometheus' text format (version 0.0.4), for a textfile collector or a push gateway.

use std::fmt::Write as _;

use super::RunSummary;

impl RunSummary {
    /// All numbers are gauges: they describe one directory, and may decrease when it is replaced.
    pub fn metrics(&self) -> String {
        let mut text = String::new();
        let mut gauge = |name: &str, help: &str, values: &[(&str, f64)]| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "# HELP backlinks_export_{name} {help}\n# TYPE backlinks_export_{name} gauge");
            for (labels, value) in values {
                let _ = writeln!(text, "backlinks_export_{name}{labels} {value}");
            }
        };
        let number = |count: u64| as_float(count);
        let outcomes = [
            ("{outcome=\"ok\"}", number(self.ok)),
            ("{outcome=\"no_data\"}", number(self.no_data)),
            ("{outcome=\"failed\"}", number(self.failed)),
            ("{outcome=\"pending\"}", number(self.pending)),
        ];
        gauge("targets", "Distinct targets by outcome.", &outcomes);
        let lines = [("{fate=\"rejected\"}", number(self.rejected)), ("{fate=\"duplicate\"}", number(self.duplicates))];
        gauge("input_lines", "Input lines that are rejected or duplicates.", &lines);
        gauge("rows", "Rows of the dataset.", &[("", number(self.rows))]);
        gauge("dataset_bytes", "Bytes of the dataset.", &[("", number(self.bytes))]);
        gauge("calls", "Calls sent, earlier runs of the directory included.", &[("", number(self.calls))]);
        gauge("retries", "Calls that were retries.", &[("", number(self.retries))]);
        gauge("calls_this_run", "Calls sent by this run.", &[("", number(self.calls_this_run))]);
        let cost = [
            ("{source=\"debit\"}", self.cost_source.debit_usd.into()),
            ("{source=\"upstream\"}", self.cost_source.upstream_usd.into()),
        ];
        gauge("cost_usd", "US dollars spent, by source of the amount.", &cost);
        gauge("unknown_cost_calls", "Billed calls of unknown price.", &[("", number(self.cost_source.unknown_calls))]);
        let possibly = number(self.possibly_billed);
        gauge("possibly_billed_calls", "Calls without an answer that may have been billed.", &[("", possibly)]);
        gauge("stale_targets", "Targets whose answer is older than --max-age.", &[("", number(self.stale))]);
        gauge("refreshed_answers", "Answers that replaced an older one.", &[("", number(self.refreshed))]);
        gauge("taken_over_answers", "Answers reused from earlier runs.", &[("", number(self.taken_over))]);
        gauge("elapsed_seconds", "How long this run took.", &[("", self.elapsed.as_secs_f64())]);
        gauge("success", "1 if _SUCCESS was written, else 0.", &[("", f64::from(u8::from(self.success)))]);
        gauge("exit_code", "The exit code of this run.", &[("", f64::from(self.exit_code))]);
        text
    }
}

#[expect(clippy::cast_precision_loss, reason = "exact below 2^53")]
fn as_float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::{super::RunEnd, *};

    #[test]
    fn every_metric_has_its_help_its_type_and_a_value() {
        let summary = RunSummary { targets: 3, ok: 2, failed: 1, rows: 190, published: true, ..RunSummary::default() };
        let text = summary.with_end(&RunEnd::Finished).metrics();
        for line in text.lines() {
            let is_comment = line.starts_with("# HELP ") || line.starts_with("# TYPE ");
            let value = line.rsplit_once(' ').and_then(|(_, value)| value.parse::<f64>().ok());
            assert!(is_comment || value.is_some(), "{line}");
        }
        assert!(text.contains("backlinks_export_targets{outcome=\"ok\"} 2\n"), "{text}");
        assert!(text.contains("\nbacklinks_export_rows 190\n"), "{text}");
        assert!(text.contains("\nbacklinks_export_success 0\n"), "one failed target is not tolerated: {text}");
    }
}
