//! The plot: instructions per request against how many there are.

use std::path::Path;

use plotters::prelude::*;

use crate::cost::Cost;
use crate::series::Series;

/// A series and what was seen.
pub type Drawn = (Series, Vec<(usize, Cost)>);

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

/// Draws two panels: instructions, and CPU time, each as a multiple of what the smallest count costs.
pub fn draw(drawn: &[Drawn], path: &Path) -> Result<(), String> {
    let root = SVGBackend::new(path, (1_100, 520)).into_drawing_area();
    root.fill(&WHITE).map_err(failed)?;
    let (left, right) = root.split_horizontally(550);
    panel(&left, drawn, "instructions per request, of those at 1", |cost| cost.instructions)?;
    panel(&right, drawn, "CPU time per request, of that at 1", |cost| cost.cpu)?;
    root.present().map_err(failed)
}

fn failed(error: impl std::fmt::Display) -> String {
    format!("the plot can't be drawn: {error}")
}

fn panel(area: &Area<'_>, drawn: &[Drawn], what: &str, number: fn(&Cost) -> f64) -> Result<(), String> {
    let lines: Vec<(&'static str, Vec<(f64, f64)>)> = drawn
        .iter()
        .filter_map(|(series, costs)| {
            let first = number(&costs.first()?.1);
            Some((
                series.name(),
                costs.iter().map(|(count, cost)| (*count as f64, number(cost) / first)).collect(),
            ))
        })
        .collect();
    let points = || lines.iter().flat_map(|(_, points)| points);
    let most = points().map(|point| point.0).fold(10.0, f64::max);
    let high = points().map(|point| point.1).fold(2.0, f64::max);
    let mut chart = ChartBuilder::on(area)
        .caption(what, ("sans-serif", 17))
        .margin(12)
        .margin_right(28)
        .x_label_area_size(38)
        .y_label_area_size(48)
        .build_cartesian_2d((1.0..most).log_scale(), 0.0..high * 1.1)
        .map_err(failed)?;
    chart
        .configure_mesh()
        .x_desc("how many there are")
        .x_label_formatter(&|count| format!("{count:.0}"))
        .light_line_style(WHITE)
        .draw()
        .map_err(failed)?;
    for (index, (name, points)) in lines.into_iter().enumerate() {
        let colour = Palette99::pick(index).to_rgba();
        chart
            .draw_series(LineSeries::new(points, colour.stroke_width(2)).point_size(2))
            .map_err(failed)?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 14, y)], colour.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .label_font(("sans-serif", 11))
        .background_style(WHITE.mix(0.8))
        .draw()
        .map_err(failed)
}
