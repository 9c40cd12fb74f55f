//! Draws charts as SVG: lines and bars over months, histograms, and small lines and bars for table rows.
//!
//! The plotting crate writes fixed colors, which are replaced by the page's CSS variables, so that charts follow light,
//! dark and print. It also rounds to whole pixels, so it draws at a multiple of the size shown.

use plotters::{
    coord::{
        ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter},
        types::RangedCoordf64,
    },
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

use super::{ReportError, html::Html, month::Month};

const SCALE: u32 = 4;
/// The size shown, for which the text is sized.
const SIZE: (u32, u32) = (560, 250);
const TEXT: u32 = 13 * SCALE;
/// Space for the labels of the value axis.
const LEFT: u32 = 50 * SCALE;
/// Space for the labels of the month axis.
const BOTTOM: u32 = 26 * SCALE;
/// At most.
const VALUE_LABELS: usize = 6;
/// At most, too.
const YEAR_LABELS: i32 = 9;

/// Placeholders of the page's colors.
const LABEL: RGBColor = RGBColor(1, 1, 1);
const GRID: RGBColor = RGBColor(2, 2, 2);
const GAIN: RGBColor = RGBColor(3, 3, 3);
const LOSS: RGBColor = RGBColor(4, 4, 4);
const COLOURS: [(&str, &str); 4] = [
    ("\"#010101\"", "\"var(--soft)\""),
    ("\"#020202\"", "\"var(--grid)\""),
    ("\"#030303\"", "\"var(--gain)\""),
    ("\"#040404\"", "\"var(--loss)\""),
];

/// Values by month, if known.
pub(super) type Series = Vec<Option<f64>>;

/// A line with the area below it.
pub(super) fn line(label: &str, months: &[Month], values: &Series) -> Result<Html, ReportError> {
    draw(label, |area| {
        let mut chart = chart(area, Axis::of_months(months), 0.0..top(values), |x| month_label(months, x))?;
        for run in runs(values) {
            let area = AreaSeries::new(run.iter().copied(), 0.0, GAIN.mix(0.13));
            chart.draw_series(area)?;
            chart.draw_series(LineSeries::new(run, GAIN.stroke_width(2 * SCALE)))?;
        }
        Ok(())
    })
}

/// Bars above the zero line for gains, and below it for losses.
pub(super) fn gains_and_losses(
    label: &str,
    months: &[Month],
    gains: &Series,
    losses: &Series,
) -> Result<Html, ReportError> {
    draw(label, |area| {
        let mut chart = chart(area, Axis::of_months(months), -top(losses)..top(gains), |x| month_label(months, x))?;
        let bars = |values: &Series, sign: f64, color: RGBColor| {
            let known = values.iter().enumerate().filter_map(|(index, value)| Some((index, (*value)?)));
            let bars = known.map(move |(index, value)| {
                let middle = position(index);
                Rectangle::new([(middle - 0.36, 0.0), (middle + 0.36, sign * value)], color.filled())
            });
            bars.collect::<Vec<_>>()
        };
        chart.draw_series(bars(gains, 1.0, GAIN))?;
        chart.draw_series(bars(losses, -1.0, LOSS))?;
        let end = position(months.len());
        chart.draw_series(LineSeries::new([(-1.0, 0.0), (end, 0.0)], LABEL.stroke_width(SCALE / 2)))?;
        Ok(())
    })
}

/// Counts by class; the classes have equal width and start at 0.
pub(super) fn histogram(label: &str, width: i64, counts: &[u64]) -> Result<Html, ReportError> {
    let values: Series = counts.iter().map(|count| Some(as_f64(i128::from(*count)))).collect();
    let edges: Vec<f64> = (0..=counts.len()).map(position).collect();
    draw(label, |area| {
        let axis = Axis { end: position(counts.len()), begin: 0.0, ticks: edges };
        let mut chart = chart(area, axis, 0.0..top(&values), |edge| short(edge * as_f64(i128::from(width))))?;
        let bars = values.iter().enumerate().map(|(index, value)| {
            let left = position(index);
            Rectangle::new([(left + 0.06, 0.0), (left + 0.94, value.unwrap_or(0.0))], GAIN.filled())
        });
        chart.draw_series(bars)?;
        Ok(())
    })
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
    let mut html = Html::new();
    html.markup("<svg class=spark viewBox=\"0 0 96 22\" aria-hidden=true><polyline points=\"");
    let mut last = (EDGE, HEIGHT / 2.0);
    for (index, value) in known {
        let height = if high > low { (value - low) / (high - low) } else { 0.5 };
        last = (EDGE + position(index) * step, HEIGHT - EDGE - height * (HEIGHT - 2.0 * EDGE));
        html.number(last.0).markup(",").number(last.1).markup(" ");
    }
    html.markup("\"/><circle r=2 cx=\"").number(last.0).markup("\" cy=\"").number(last.1).markup("\"/></svg>");
    html
}

/// A bar for a row of a table: a part of a whole.
pub(super) fn bar(part: i128, whole: i128) -> Html {
    let share = if whole > 0 { as_f64(part) / as_f64(whole) } else { 0.0 };
    let mut html = Html::new();
    html.markup(
        "<svg class=bar viewBox=\"0 0 100 8\" preserveAspectRatio=none aria-hidden=true><rect height=8 width=\"",
    );
    html.number((share * 100.0).clamp(0.0, 100.0)).markup("\"/></svg>");
    html
}

/// A number on an axis: `950`, `1.5k`, `20M`.
fn short(value: f64) -> String {
    const UNITS: [(f64, &str); 4] = [(1e12, "T"), (1e9, "bn"), (1e6, "M"), (1e3, "k")];
    let size = value.abs();
    let (unit, name) = UNITS.into_iter().find(|(unit, _)| size >= *unit).unwrap_or((1.0, ""));
    let scaled = (size / unit * 100.0).round() / 100.0;
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

/// The end of the value axis: slightly above the highest value.
fn top(values: &Series) -> f64 {
    let highest = values.iter().flatten().copied().fold(0.0, f64::max);
    if highest > 0.0 { highest * 1.06 } else { 1.0 }
}

/// Stretches of known values, so that no line is drawn through unknown ones.
fn runs(values: &Series) -> Vec<Vec<(f64, f64)>> {
    let mut runs = vec![Vec::new()];
    for (index, value) in values.iter().enumerate() {
        match (value, runs.last_mut()) {
            (Some(value), Some(run)) => run.push((position(index), *value)),
            _ => runs.push(Vec::new()),
        }
    }
    runs.retain(|run| !run.is_empty());
    runs
}

/// A horizontal axis with chosen ticks.
struct Axis {
    begin: f64,
    end: f64,
    ticks: Vec<f64>,
}

impl Axis {
    /// Ticks at years if there are several, else every few months.
    fn of_months(months: &[Month]) -> Self {
        let years = years(months);
        let every = (years / YEAR_LABELS + 1).max(1);
        let is_tick = |(index, month): &(usize, &Month)| match years {
            0..=2 => (months.len() - 1 - index).is_multiple_of(if months.len() > 13 { 6 } else { 3 }),
            _ => month.is_january() && month.year() % every == 0,
        };
        let ticks = months.iter().enumerate().filter(is_tick).map(|(index, _)| position(index)).collect();
        Self { begin: -0.6, end: position(months.len()) - 0.4, ticks }
    }
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    #[expect(clippy::cast_possible_truncation, reason = "a pixel within the drawing")]
    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        let share = (value - self.begin) / (self.end - self.begin);
        limit.0 + (share * f64::from(limit.1 - limit.0)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _hint: Hint) -> Vec<f64> {
        self.ticks.clone()
    }

    fn range(&self) -> std::ops::Range<f64> {
        self.begin..self.end
    }
}

impl ValueFormatter<f64> for Axis {
    fn format(value: &f64) -> String {
        short(*value)
    }
}

fn years(months: &[Month]) -> i32 {
    months.last().zip(months.first()).map_or(0, |(last, first)| last.year() - first.year())
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "ticks are indices")]
fn month_label(months: &[Month], x: f64) -> String {
    let month = months.get(x.round() as usize);
    month.map_or_else(String::new, |month| if years(months) > 2 { month.year().to_string() } else { month.to_string() })
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;
type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<Axis, RangedCoordf64>>;
type DrawingError = Box<dyn std::error::Error>;

/// A chart with grid lines and labels.
fn chart<'a, 'b>(
    area: &'a Area<'b>,
    x: Axis,
    y: std::ops::Range<f64>,
    label: impl Fn(f64) -> String,
) -> Result<Chart<'a, 'b>, DrawingError> {
    let mut chart = ChartBuilder::on(area)
        .margin(4 * SCALE)
        .margin_right(16 * SCALE)
        .set_label_area_size(LabelAreaPosition::Left, LEFT)
        .set_label_area_size(LabelAreaPosition::Bottom, BOTTOM)
        .build_cartesian_2d(x, y)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .bold_line_style(GRID.stroke_width(SCALE))
        .light_line_style(TRANSPARENT)
        .axis_style(TRANSPARENT)
        .set_all_tick_mark_size(4 * SCALE)
        .y_labels(VALUE_LABELS)
        .x_labels(usize::from(u8::MAX))
        .label_style(TextStyle::from(("sans-serif", TEXT)).color(&LABEL).pos(Pos::new(HPos::Center, VPos::Top)))
        .y_label_formatter(&|value: &f64| short(*value))
        .x_label_formatter(&|x: &f64| label(*x))
        .draw()?;
    Ok(chart)
}

/// Draws a chart and turns it into HTML.
fn draw(label: &str, plot: impl FnOnce(&Area<'_>) -> Result<(), DrawingError>) -> Result<Html, ReportError> {
    let mut drawing = String::new();
    {
        let area = SVGBackend::with_string(&mut drawing, (SIZE.0 * SCALE, SIZE.1 * SCALE)).into_drawing_area();
        plot(&area).and_then(|()| Ok(area.present()?)).map_err(|error| ReportError::Plot(error.to_string()))?;
    }
    // The drawing's own element has a fixed size and no label.
    let shapes = drawing.find("<svg").and_then(|at| Some(at + drawing[at..].find('>')? + 1)).unwrap_or(0);
    let mut shapes = drawing.split_off(shapes);
    for (fixed, variable) in COLOURS {
        shapes = shapes.replace(fixed, variable);
    }
    let shapes = shapes.replace(" font-family=\"sans-serif\"", "");
    let mut html = Html::new();
    html.markup("<svg class=plot viewBox=\"0 0 2240 1000\" role=img aria-label=\"").text(label).markup("\">");
    html.piece(&Html::of_drawing(shapes));
    Ok(html)
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
    fn charts_are_scaled_labeled_and_colored_by_the_page() {
        assert_eq!(format!("0 0 {} {}", SIZE.0 * SCALE, SIZE.1 * SCALE), "0 0 2240 1000");
        let months: Vec<Month> = (24_240..24_300).map(Month).collect();
        let values: Series = (0..60).map(|index| (index % 7 != 3).then(|| f64::from(index) * 1e6)).collect();
        let svg = line("A <plot> & \"more\"", &months, &values).unwrap().into_string();
        assert!(
            svg.starts_with("<svg class=plot viewBox=\"0 0 2240 1000\" role=img aria-label=\"A &lt;plot&gt; &amp; ")
        );
        assert!(svg.trim_end().ends_with("</svg>"));
        assert!(!svg.contains('#'), "a fixed color: {svg}");
        assert!(!svg.contains("http"), "an address");
        assert!(svg.contains("2021") && svg.contains("60M"));
    }

    #[test]
    fn charts_of_nothing_and_of_the_largest_numbers_can_be_drawn() {
        let months = [Month(24_310)];
        let check = |values: Series| {
            line("x", &months, &values).unwrap();
            gains_and_losses("x", &months, &values, &values).unwrap();
        };
        check(vec![None]);
        check(vec![Some(0.0)]);
        check(vec![Some(as_f64(i128::from(i64::MAX) * 10_000))]);
        line("x", &[], &Vec::new()).unwrap();
        histogram("x", 10, &[0; 10]).unwrap();
        assert!(sparkline(&[None; 13]).into_string().contains("cy=\"11\""));
        assert!(bar(1, 0).into_string().contains("width=\"0\""));
    }
}
