//! The curves of percentiles, as SVG.

use std::error::Error;

use plotters::prelude::*;

use crate::replay::Phase;
use crate::report::Distribution;

/// Size of the drawing, in pixels. The page scales it.
const SIZE: (u32, u32) = (560, 310);
/// The most decades of times with labels at 2 and 5 in each.
const FINE_DECADES: i32 = 3;

/// What a colour of the drawing stands for. The page's style gives each its colour in light and dark, by the value that stands
/// here, so each is used for one thing only.
const INK: RGBColor = RGBColor(0x30, 0x30, 0x30);
const GRID: RGBColor = RGBColor(0xdd, 0xdd, 0xdd);

/// The colours of a phase's curve and of the baseline's.
fn colours(phase: Phase) -> (RGBColor, RGBColor) {
    match phase {
        Phase::Cold => (RGBColor(0x1f, 0x5f, 0xa8), RGBColor(0x1f, 0x5f, 0xa9)),
        Phase::Warm => (RGBColor(0xb4, 0x53, 0x09), RGBColor(0xb4, 0x53, 0x0a)),
        Phase::Cached => (RGBColor(0x15, 0x80, 0x3d), RGBColor(0x15, 0x80, 0x3e)),
    }
}

/// The times of one phase, and those of the baseline.
pub(super) struct Curves<'a> {
    pub phase: Phase,
    pub now: &'a Distribution,
    pub before: Option<&'a Distribution>,
}

/// The curves over a logarithmic axis of percentiles, on which the distance from 90% to 99% is that from 99% to 99.9%; `None` if
/// there are no times.
pub(super) fn percentile_chart(curves: &[Curves]) -> Option<String> {
    let all = || curves.iter().flat_map(|curves| [Some(curves.now), curves.before]).flatten();
    let ranges = || all().filter_map(Distribution::range_us);
    let (low, high) = (ranges().map(|(min, _)| min).min()?, ranges().map(|(_, max)| max).max()?);
    let most = all().map(Distribution::count).max()?;
    let mut svg = String::new();
    // Drawing into a text fails only where the drawing leaves no room for its axes.
    draw(&mut svg, curves, (low.max(1) as f64, high.max(1) as f64), most).ok()?;
    Some(svg)
}

fn draw(svg: &mut String, curves: &[Curves], (low, high): (f64, f64), most: u64) -> Result<(), Box<dyn Error>> {
    let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    // A little room, so that a single time has an axis too.
    let (low, high, last) = (low / 1.3, high * 1.3, (2 * most.max(5)) as f64);
    let percentiles = (1.0..last).log_scale().with_key_points(percentile_labels(last));
    let times = (low..high).log_scale().with_key_points(time_labels(low, high));
    let mut chart = ChartBuilder::on(&area)
        .margin(8)
        .margin_right(24)
        .x_label_area_size(40)
        .y_label_area_size(64)
        .build_cartesian_2d(percentiles, times)?;
    let text = ("sans-serif", 16).into_font().color(&INK);
    chart
        .configure_mesh()
        .bold_line_style(GRID)
        .light_line_style(TRANSPARENT)
        .axis_style(INK)
        .label_style(text)
        .x_desc("percentile")
        .x_label_formatter(&|inverse| percent_text(*inverse))
        .y_label_formatter(&|us| time_text(*us))
        .draw()?;
    for Curves { phase, now, before } in curves {
        let (colour, faint) = colours(*phase);
        if let Some(before) = before {
            chart.draw_series(LineSeries::new(points(before), faint.stroke_width(2)))?;
        }
        chart.draw_series(LineSeries::new(points(now), colour.stroke_width(2)))?;
    }
    area.present()?;
    drop(chart);
    Ok(())
}

/// Each time with the place of its percentile: 1 / (1 − p), where the nth of N times is the percentile (n − ½) / N. Neighbours
/// that would be drawn on one another are left out.
fn points(distribution: &Distribution) -> Vec<(f64, f64)> {
    let total = distribution.count() as f64;
    let (mut seen, mut points): (u64, Vec<(f64, f64)>) = (0, Vec::new());
    for bucket in distribution.histogram().iter_recorded() {
        let us = bucket.value_iterated_to().max(1) as f64;
        // Of equal times the first and the last are the ends of a level line.
        for nth in [seen + 1, seen + bucket.count_at_value()] {
            let at = total / (total - nth as f64 + 0.5);
            if points.last().is_none_or(|(last, _)| at > last * 1.005) {
                points.push((at, us));
            }
        }
        seen += bucket.count_at_value();
    }
    points
}

/// The median, and the percentiles of one nine, two nines and so on.
fn percentile_labels(last: f64) -> Vec<f64> {
    let nines = (0..).map(|nines| 10_f64.powi(nines)).take_while(|inverse| *inverse <= last);
    let mut labels: Vec<f64> = nines.chain([2.0]).collect();
    labels.sort_by(f64::total_cmp);
    labels
}

/// Round times between the ends.
fn time_labels(low: f64, high: f64) -> Vec<f64> {
    let decades = low.log10().floor() as i32..=high.log10().ceil() as i32;
    let steps: &[f64] = if (high / low).log10() <= f64::from(FINE_DECADES) { &[1.0, 2.0, 5.0] } else { &[1.0] };
    let labels = decades.flat_map(|decade| steps.iter().map(move |step| step * 10_f64.powi(decade)));
    labels.filter(|us| (low..=high).contains(us)).collect()
}

fn percent_text(inverse: f64) -> String {
    // Rounded, because 1 − 1/10 is a little less than 0.9.
    format!("{}%", ((1.0 - 1.0 / inverse) * 1e8).round() / 1e6)
}

fn time_text(us: f64) -> String {
    let (value, unit) = match us {
        ..1e3 => (us, "µs"),
        1e3..1e6 => (us / 1e3, "ms"),
        _ => (us / 1e6, "s"),
    };
    format!("{} {unit}", (value * 1e3).round() / 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_round() {
        assert_eq!(
            percentile_labels(2000.0).into_iter().map(percent_text).collect::<Vec<_>>(),
            ["0%", "50%", "90%", "99%", "99.9%"]
        );
        let labels = |low, high| time_labels(low, high).into_iter().map(time_text).collect::<Vec<_>>();
        assert_eq!(labels(900.0, 30_000.0), ["1 ms", "2 ms", "5 ms", "10 ms", "20 ms"]);
        assert_eq!(labels(5.0, 2e6), ["10 µs", "100 µs", "1 ms", "10 ms", "100 ms", "1 s"]);
    }

    #[test]
    fn a_curve_ends_at_its_longest_time_and_stays_small() {
        let few = points(&Distribution::of([10, 20, 20, 40].into_iter()));
        assert_eq!(few.last(), Some(&(8.0, 40.0)));
        assert_eq!(few.len(), 4);
        assert!(points(&Distribution::of(1000..100_000)).len() < 2500);
    }

    #[test]
    fn a_chart_has_a_line_for_each_phase_and_for_its_baseline() {
        let (now, before) = (Distribution::of(1000..1020), Distribution::of(1500..1510));
        let svg = percentile_chart(&[
            Curves { phase: Phase::Cold, now: &now, before: Some(&before) },
            Curves { phase: Phase::Warm, now: &before, before: None },
        ]);
        let svg = svg.unwrap();
        for colour in ["1F5FA8", "1F5FA9", "B45309"] {
            assert_eq!(svg.matches(&format!("<polyline fill=\"none\" opacity=\"1\" stroke=\"#{colour}\"")).count(), 1, "{svg}");
        }
        assert!(svg.ends_with("</svg>\n"), "{svg}");
        assert_eq!(percentile_chart(&[]), None);
    }
}
