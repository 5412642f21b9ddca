//! The plot: requests per second and latency against what is in flight.

use std::path::Path;

use plotters::prelude::*;

use super::results::{Cell, Results};
use crate::contender::Contender;
use crate::slice::Slice;

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

/// Draws the plot: a row for each number of connections.
pub fn draw(results: &Results, path: &Path) -> Result<(), String> {
    let (_, connections) = results.axes();
    let height = 380 * u32::try_from(connections.len()).unwrap_or(1);
    let root = SVGBackend::new(path, (1_000, height)).into_drawing_area();
    root.fill(&WHITE).map_err(failed)?;
    let panels = root.split_evenly((connections.len(), 2));
    for (row, count) in panels.chunks(2).zip(&connections) {
        let [left, right] = row else { continue };
        panel(left, results, *count, "requests per second", |slice| slice.per_second)?;
        panel(right, results, *count, "p50, microseconds", |slice| slice.p50)?;
    }
    root.present().map_err(failed)
}

/// A number of an axis.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "as the axis hands it over")]
fn short(number: &f64) -> String {
    match *number {
        millions if millions >= 1e6 => format!("{:.0} M", millions / 1e6),
        thousands if thousands >= 1e3 => format!("{:.0} k", thousands / 1e3),
        small => format!("{small:.0}"),
    }
}

fn failed(error: impl std::fmt::Display) -> String {
    format!("the plot can't be drawn: {error}")
}

const fn colour(contender: Contender) -> RGBColor {
    match contender {
        Contender::Ours => RGBColor(0, 90, 200),
        Contender::EndToEnd => RGBColor(90, 170, 255),
        Contender::Upstream => RGBColor(210, 60, 30),
        Contender::Tonic => RGBColor(220, 150, 20),
        Contender::Bare => RGBColor(170, 170, 170),
        Contender::BareJson => RGBColor(90, 90, 90),
    }
}

fn panel(
    area: &Area<'_>,
    results: &Results,
    connections: usize,
    what: &str,
    number: fn(&Slice) -> f64,
) -> Result<(), String> {
    let (in_flight, _) = results.axes();
    let line = |contender| -> Vec<(f64, f64)> {
        let at = |count: &usize| {
            let cell = Cell { contender, connections, in_flight: *count };
            Some((*count as f64, results.spread(cell, number)?.median))
        };
        in_flight.iter().filter_map(at).collect()
    };
    let heights: Vec<f64> = Contender::ALL.into_iter().flat_map(line).map(|(_, height)| height).collect();
    let low = heights.iter().copied().fold(f64::INFINITY, f64::min);
    let high = heights.iter().copied().fold(0.0, f64::max);
    if !low.is_finite() {
        return Ok(());
    }
    let most = in_flight.iter().max().copied().unwrap_or(1).max(2) as f64;
    let mut chart = ChartBuilder::on(area)
        .caption(format!("{what}, connections: {connections}"), ("sans-serif", 17))
        .margin(12)
        .margin_right(28)
        .x_label_area_size(38)
        .y_label_area_size(64)
        .build_cartesian_2d((1.0..most).log_scale(), (low * 0.8..high * 1.25).log_scale())
        .map_err(failed)?;
    chart
        .configure_mesh()
        .x_desc("in flight")
        .x_label_formatter(&|count| format!("{count:.0}"))
        .y_label_formatter(&short)
        .light_line_style(WHITE)
        .draw()
        .map_err(failed)?;
    for contender in Contender::ALL {
        let points = line(contender);
        if points.is_empty() {
            continue;
        }
        let colour = colour(contender);
        chart
            .draw_series(LineSeries::new(points, colour.stroke_width(2)).point_size(3))
            .map_err(failed)?
            .label(contender.name())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .draw()
        .map_err(failed)
}
