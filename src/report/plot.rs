//! Draws charts as SVG: lines and bars over months, histograms, and small lines and bars for table rows. Colors and the
//! size of text are in the page's style sheet, so that charts follow light, dark and print.

use std::ops::Range;

use super::{
    html::{Html, html},
    month::Month,
};

/// The area of a chart's values within its view box of 560 by 250, which leaves space for the labels.
const LEFT: f64 = 54.0;
const RIGHT: f64 = 544.0;
const TOP: f64 = 4.0;
const BOTTOM: f64 = 220.0;
/// Maximum labels on the value axis.
const VALUE_LABELS: i32 = 6;
/// Maximum labels of years.
const YEAR_LABELS: i32 = 9;

/// Values by month, if known.
pub(super) type Series = Vec<Option<f64>>;

/// A line with the area below it.
pub(super) fn line_chart(label: &str, months: &[Month], values: &Series) -> Html {
    let mut chart = Chart::of_months(months, 0.0..top(values));
    let points: Vec<_> = values.iter().enumerate().map(|(index, value)| (position(index), *value)).collect();
    // No line is drawn through unknown values.
    for run in points.split(|(_, value)| value.is_none()) {
        let (Some((first, _)), Some((last, _))) = (run.first(), run.last()) else { continue };
        let line: Html = run.iter().map(|(x, y)| chart.point(*x, y.unwrap_or(0.0))).collect();
        let (begin, end) = (chart.point(*first, 0.0), chart.point(*last, 0.0));
        chart.shapes += html!("<polygon points=\"{}{}{}\"/><polyline points=\"{}\"/>", begin, line, end, line);
    }
    chart.finish(label)
}

/// Bars above the zero line for gains, and below it for losses.
pub(super) fn gains_and_losses(label: &str, months: &[Month], gains: &Series, losses: &Series) -> Html {
    let mut chart = Chart::of_months(months, -top(losses)..top(gains));
    for (index, (gain, loss)) in gains.iter().zip(losses).enumerate() {
        let (left, right) = (position(index) - 0.36, position(index) + 0.36);
        chart.bar(left..right, gain.unwrap_or(0.0), "gain");
        chart.bar(left..right, -loss.unwrap_or(0.0), "loss");
    }
    chart.shapes += html!("<path class=zero d=\"M{} {}H{}\"/>", LEFT, rounded(chart.y(0.0)), RIGHT);
    chart.finish(label)
}

/// Counts by class; the classes have equal width and start at 0.
pub(super) fn histogram(label: &str, width: i64, counts: &[u64]) -> Html {
    let values: Series = counts.iter().map(|count| Some(as_f64(i128::from(*count)))).collect();
    let edges = (0..=counts.len()).map(|edge| (position(edge), short(position(edge) * as_f64(i128::from(width)))));
    let mut chart = Chart::new(0.0..position(counts.len()), 0.0..top(&values), edges);
    for (index, value) in values.into_iter().enumerate() {
        chart.bar(position(index) + 0.06..position(index) + 0.94, value.unwrap_or(0.0), "gain");
    }
    chart.finish(label)
}

/// A small line for a row of a table.
pub(super) fn sparkline(values: &[Option<i64>]) -> Html {
    const WIDTH: f64 = 96.0;
    const HEIGHT: f64 = 22.0;
    const EDGE: f64 = 2.0;
    let known: Vec<(usize, f64)> =
        values.iter().enumerate().filter_map(|(index, value)| Some((index, as_f64(i128::from((*value)?))))).collect();
    let low = known.iter().map(|(_, value)| *value).fold(f64::INFINITY, f64::min);
    let high = known.iter().map(|(_, value)| *value).fold(f64::NEG_INFINITY, f64::max);
    let step = (WIDTH - 2.0 * EDGE) / position(values.len().saturating_sub(1).max(1));
    let point = |(index, value): (usize, f64)| {
        let height = if high > low { (value - low) / (high - low) } else { 0.5 };
        [EDGE + position(index) * step, HEIGHT - EDGE - height * (HEIGHT - 2.0 * EDGE)].map(rounded)
    };
    let points: Vec<_> = known.into_iter().map(point).collect();
    let [x, y] = points.last().copied().unwrap_or([EDGE, HEIGHT / 2.0]);
    let line: Html = points.iter().map(|[x, y]| html!("{},{} ", x, y)).collect();
    html!(
        "<svg class=spark viewBox=\"0 0 96 22\" aria-hidden=true><polyline points=\"{}\"/><circle r=2 cx=\"{}\" \
         cy=\"{}\"/></svg>",
        line,
        x,
        y
    )
}

/// A bar for a row of a table: a part of a whole.
pub(super) fn bar(part: i128, whole: i128) -> Html {
    let share = if whole > 0 { as_f64(part) / as_f64(whole) } else { 0.0 };
    html!(
        "<svg class=bar viewBox=\"0 0 100 8\" preserveAspectRatio=none aria-hidden=true><rect height=8 width=\"{}\"/>\
         </svg>",
        rounded((share * 100.0).clamp(0.0, 100.0))
    )
}

/// A number on an axis: `950`, `1.5k`, `20M`.
fn short(value: f64) -> String {
    const UNITS: [(f64, &str); 4] = [(1e12, "T"), (1e9, "bn"), (1e6, "M"), (1e3, "k")];
    let size = value.abs();
    let (unit, name) = UNITS.into_iter().find(|(unit, _)| size >= *unit).unwrap_or((1.0, ""));
    let scaled = rounded(size / unit);
    let sign = if value < 0.0 && scaled > 0.0 { "\u{2212}" } else { "" };
    format!("{sign}{scaled}{name}")
}

/// Exact up to 2^53, and then precise enough for a pixel.
#[expect(clippy::cast_precision_loss, reason = "a plot shows three digits")]
pub(super) fn as_f64(number: i128) -> f64 {
    number as f64
}

fn position(index: usize) -> f64 {
    as_f64(i128::try_from(index).unwrap_or(i128::MAX))
}

/// With two decimals.
fn rounded(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}

/// The end of the value axis: slightly above the highest value.
fn top(values: &Series) -> f64 {
    let highest = values.iter().flatten().copied().fold(0.0, f64::max);
    if highest > 0.0 { highest * 1.06 } else { 1.0 }
}

/// The multiples in a range of the smallest round number (1, 2 or 5 and zeros) that has few enough.
fn round_numbers(range: &Range<f64>) -> Vec<f64> {
    let ends = |step: f64| ((range.start / step).ceil(), (range.end / step).floor());
    let magnitude = 10_f64.powf((range.end - range.start).log10().floor());
    let steps = [0.1, 0.2, 0.5, 1.0].map(|part| part * magnitude);
    let fits = |step: &f64| ends(*step).1 - ends(*step).0 < f64::from(VALUE_LABELS);
    let step = steps.into_iter().find(fits).unwrap_or(2.0 * magnitude);
    let (first, last) = ends(step);
    let multiples = (0..VALUE_LABELS).map(|index| first + f64::from(index)).take_while(|multiple| *multiple <= last);
    multiples.map(|multiple| multiple * step).collect()
}

struct Chart {
    shapes: Html,
    x: Range<f64>,
    y: Range<f64>,
}

impl Chart {
    /// A chart with lines at round values, and these labels below it.
    fn new(x: Range<f64>, y: Range<f64>, labels: impl IntoIterator<Item = (f64, String)>) -> Self {
        let mut chart = Self { shapes: Html::default(), x, y };
        for value in round_numbers(&chart.y) {
            let y = rounded(chart.y(value));
            chart.shapes += html!("<path class=grid d=\"M{} {}H{}\"/>", LEFT, y, RIGHT);
            chart.shapes += html!("<text x=46 y=\"{}\" dy=.35em text-anchor=end>{}</text>", y, short(value));
        }
        for (x, label) in labels {
            let x = rounded(chart.x(x));
            chart.shapes += html!("<text x=\"{}\" y=228 dy=.76em text-anchor=middle>{}</text>", x, label);
        }
        chart
    }

    /// A chart with labels at years if there are several, else every few months.
    fn of_months(months: &[Month], y: Range<f64>) -> Self {
        let years = months.last().zip(months.first()).map_or(0, |(last, first)| last.year() - first.year());
        let every = if months.len() > 13 { 6 } else { 3 };
        let label = |(index, month): (usize, &Month)| {
            let label = match years {
                0..=2 => (months.len() - 1 - index).is_multiple_of(every).then(|| month.to_string()),
                _ => (month.is_january() && month.year() % (years / YEAR_LABELS + 1) == 0)
                    .then(|| month.year().to_string()),
            };
            Some((position(index), label?))
        };
        Self::new(-0.6..position(months.len()) - 0.4, y, months.iter().enumerate().filter_map(label))
    }

    fn x(&self, x: f64) -> f64 {
        LEFT + (x - self.x.start) / (self.x.end - self.x.start) * (RIGHT - LEFT)
    }

    fn y(&self, y: f64) -> f64 {
        BOTTOM - (y - self.y.start) / (self.y.end - self.y.start) * (BOTTOM - TOP)
    }

    fn point(&self, x: f64, y: f64) -> Html {
        html!("{},{} ", rounded(self.x(x)), rounded(self.y(y)))
    }

    /// Draws a bar from zero to a value.
    fn bar(&mut self, x: Range<f64>, value: f64, class: &str) {
        let [left, right] = [x.start, x.end].map(|x| self.x(x));
        let [zero, end] = [0.0, value].map(|y| self.y(y));
        let [x, y, width, height] = [left, zero.min(end), right - left, (end - zero).abs()].map(rounded);
        if height > 0.0 {
            self.shapes +=
                html!("<rect class={} x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"/>", class, x, y, width, height);
        }
    }

    fn finish(self, label: &str) -> Html {
        html!("<svg class=plot viewBox=\"0 0 560 250\" role=img aria-label=\"{}\">{}</svg>\n", label, self.shapes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_on_axes_are_short() {
        let check = |value: f64, expected: &str| assert_eq!(short(value), expected);
        check(0.0, "0");
        check(-0.0, "0");
        check(950.0, "950");
        check(1_500.0, "1.5k");
        check(-20_000.0, "\u{2212}20k");
        check(2.5e7, "25M");
        check(1e9, "1bn");
        check(3e13, "30T");
    }

    #[test]
    fn values_are_labeled_at_few_round_numbers() {
        let check = |range: Range<f64>, expected: &[&str]| {
            assert_eq!(round_numbers(&range).into_iter().map(short).collect::<Vec<_>>(), expected, "{range:?}");
        };
        check(0.0..1.0, &["0", "0.2", "0.4", "0.6", "0.8", "1"]);
        check(0.0..1.06, &["0", "0.2", "0.4", "0.6", "0.8", "1"]);
        check(0.0..1.3e8, &["0", "50M", "100M"]);
        check(0.0..998.0, &["0", "200", "400", "600", "800"]);
        check(-4_200.0..9_900.0, &["0", "5k"]);
        check(-1.5..1.5, &["\u{2212}1", "0", "1"]);
    }

    #[test]
    fn charts_are_labeled_and_colored_by_the_page() {
        let months: Vec<Month> = (24_240..24_300).map(Month).collect();
        let values: Series = (0..60).map(|index| (index % 7 != 3).then(|| f64::from(index) * 1e6)).collect();
        let svg = line_chart("A <plot> & \"more\"", &months, &values).into_string();
        assert!(svg.starts_with("<svg class=plot viewBox=\"0 0 560 250\" role=img aria-label=\"A &lt;plot&gt; &amp; "));
        assert!(svg.trim_end().ends_with("</svg>"));
        assert_eq!(svg.matches("<polyline").count(), 9, "one for each stretch of known values");
        assert!(!svg.contains('#'), "a fixed color: {svg}");
        assert!(!svg.contains("http"), "an address");
        assert!(svg.contains("2021") && svg.contains("60M"));
    }

    #[test]
    fn charts_of_nothing_and_of_the_largest_numbers_can_be_drawn() {
        let months = [Month(24_310)];
        let check = |values: Series| {
            let charts = [line_chart("x", &months, &values), gains_and_losses("x", &months, &values, &values)];
            for svg in charts.map(Html::into_string) {
                assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
            }
        };
        check(vec![None]);
        check(vec![Some(0.0)]);
        check(vec![Some(as_f64(i128::from(i64::MAX) * 10_000))]);
        line_chart("x", &[], &Vec::new());
        histogram("x", 10, &[0; 10]);
        assert!(sparkline(&[None; 13]).into_string().contains("cy=\"11\""));
        assert!(bar(1, 0).into_string().contains("width=\"0\""));
    }
}
