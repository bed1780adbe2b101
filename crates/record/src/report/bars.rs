//! Stacked bars over a scale of equal bins, as inline SVG.

use super::{
    escape::{Markup, line},
    svg::Axes,
};

/// One kind of what is counted.
#[derive(Debug)]
pub(super) struct Bars {
    /// Index of the colour.
    pub(super) style: usize,
    /// What is counted.
    pub(super) name: &'static str,
    /// How many in each bin, the same number of bins for all.
    pub(super) counts: Vec<u32>,
}

/// A piece of the bars of this colour, to stand beside their name.
pub(super) fn bar_key(style: usize) -> String {
    format!(
        "<svg class=\"key\" width=\"12\" height=\"12\" viewBox=\"0 0 12 12\" aria-hidden=\"true\">\
         <path class=\"bar a{style}\" d=\"M1 1h10v10h-10z\"/></svg>"
    )
}

/// Bars of bins of `width` from 0 on, each kind upon the one before.
pub(super) fn bar_chart(axes: &Axes, width: f64, series: &[Bars]) -> String {
    let totals: Vec<String> =
        series.iter().map(|bars| format!("{}: {} in all.", bars.name, bars.counts.iter().sum::<u32>())).collect();
    let mut out = Markup::default();
    axes.open(&mut out, &totals.join(" "), "");
    axes.ticks_below(&mut out);
    let bins = series.first().map_or(0, |bars| bars.counts.len());
    for bin in 0..bins {
        let (left, right) = (axes.x_at(bin as f64 * width), axes.x_at((bin + 1) as f64 * width));
        let mut below = 0;
        for bars in series.iter().filter(|bars| bars.counts[bin] > 0) {
            let count = bars.counts[bin];
            let (bottom, top) = (axes.y_at(f64::from(below)), axes.y_at(f64::from(below + count)));
            below += count;
            let title = format!(
                "{:.0} to {:.0} tokens: {count} {}",
                bin as f64 * width + 1.0,
                (bin + 1) as f64 * width,
                bars.name
            );
            out.put(format_args!(
                "<path class=\"bar a{}\" d=\"M{:.1} {bottom:.1}V{top:.1}H{:.1}V{bottom:.1}z\"><title>{}</title></path>",
                bars.style,
                left + 0.5,
                (right - 0.5).max(left + 1.0),
                line(&title)
            ));
        }
    }
    out.put_str("</svg>");
    out.into_string()
}
