//! Charts as inline SVG: axes, lines with bands, paths through a plane, and grouped dots. Knows nothing of runs.
//!
//! Colours come from the page's style sheet by class, so that light and dark need no second drawing. Every series
//! also differs by dash and marker.

use super::{
    escape::{Markup, line},
    series::SeriesPoint,
    ticks::{Ticks, number},
};

const COLOURS: usize = 8;
const DASHES: [&str; 6] = ["", "6 3", "2 2.5", "9 3 2 3", "12 4", "4 2 1 2 1 2"];

/// Points up to which each gets a marker; beyond, markers are spread along the line.
const MARKED_POINTS_MAX: usize = 16;

/// How large a chart is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Size {
    /// Two abreast on a wide page.
    Wide,
    /// Three abreast on a wide page.
    Small,
}

/// The axes of a chart and the words on them.
#[derive(Debug)]
pub(super) struct Axes {
    /// How large the chart is.
    pub(super) size: Size,
    /// What the chart shows, for readers who do not see it; not escaped.
    pub(super) title: String,
    /// Horizontal axis.
    pub(super) x: Ticks,
    /// Quantity and unit of the horizontal axis.
    pub(super) x_label: String,
    /// Vertical axis.
    pub(super) y: Ticks,
    /// Quantity and unit of the vertical axis.
    pub(super) y_label: String,
    /// Decimal places of values in read-outs.
    pub(super) decimals: usize,
}

/// The line of an arm.
#[derive(Debug)]
pub(super) struct Line {
    /// Index of the arm, which decides colour, dash and marker.
    pub(super) style: usize,
    /// The arm's name, not escaped.
    pub(super) name: String,
    /// Horizontal position and value, left to right.
    pub(super) points: Vec<(f64, SeriesPoint)>,
}

/// A cross at a place of a chart.
#[derive(Debug)]
pub(super) struct Cross {
    /// Index of the arm.
    pub(super) style: usize,
    /// What is there, not escaped.
    pub(super) name: String,
    /// Horizontal and vertical value.
    pub(super) place: (f64, f64),
}

/// The path of an arm through a plane.
#[derive(Debug)]
pub(super) struct Path {
    /// Index of the arm.
    pub(super) style: usize,
    /// The arm's name, not escaped.
    pub(super) name: String,
    /// Step, horizontal and vertical value, in the order of steps.
    pub(super) points: Vec<(u64, f64, f64)>,
}

/// One series of a dot chart.
#[derive(Debug)]
pub(super) struct Dots {
    /// Index of the arm; none for the start, which no arm owns.
    pub(super) style: Option<usize>,
    /// What the dots are, not escaped.
    pub(super) name: String,
    /// Value and standard error for each category, where there is one.
    pub(super) values: Vec<Option<(f64, Option<f64>)>>,
}

/// Where the plot area lies in user units.
#[derive(Debug, Clone, Copy)]
struct Area {
    width: f64,
    height: f64,
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
}

impl Size {
    fn area(self) -> Area {
        let (width, height) = match self {
            Self::Wide => (480.0, 300.0),
            Self::Small => (340.0, 215.0),
        };
        Area { width, height, left: 44.0, right: width - 10.0, top: 30.0, bottom: height - 40.0 }
    }

    fn class(self) -> &'static str {
        match self {
            Self::Wide => "wide",
            Self::Small => "small",
        }
    }
}

impl Axes {
    /// Where a value of the horizontal axis lies.
    pub(super) fn x_at(&self, value: f64) -> f64 {
        let area = self.size.area();
        area.left + (value - self.x.low) / (self.x.high - self.x.low) * (area.right - area.left)
    }

    /// Where a value of the vertical axis lies.
    pub(super) fn y_at(&self, value: f64) -> f64 {
        let area = self.size.area();
        area.bottom - (value - self.y.low) / (self.y.high - self.y.low) * (area.bottom - area.top)
    }

    /// Opens the drawing: title, description, grid, axis line and labels, without the ticks of the horizontal axis.
    pub(super) fn open(&self, out: &mut Markup, description: &str, cursor: &str) {
        let area = self.size.area();
        out.put(format_args!(
            "<svg class=\"plot {}\" viewBox=\"0 0 {} {}\" role=\"img\"{cursor}><title>{}</title><desc>{}</desc>",
            self.size.class(),
            area.width,
            area.height,
            line(&self.title),
            line(description)
        ));
        for &value in &self.y.values {
            let y = self.y_at(value);
            out.put(format_args!(
                "<path class=\"grid\" d=\"M{} {y:.1}H{}\"/><text class=\"y\" x=\"{}\" y=\"{:.1}\">{}</text>",
                area.left,
                area.right,
                area.left - 7.0,
                y + 3.8,
                self.y.label(value)
            ));
        }
        out.put(format_args!(
            "<path class=\"axis\" d=\"M{0} {1}H{2}\"/><text x=\"0\" y=\"11\">{3}</text>\
             <text class=\"end\" x=\"{2}\" y=\"{4}\">{5}</text>",
            area.left,
            area.bottom,
            area.right,
            line(&self.y_label),
            area.height - 4.0,
            line(&self.x_label)
        ));
    }

    /// The ticks of the horizontal axis.
    pub(super) fn ticks_below(&self, out: &mut Markup) {
        let bottom = self.size.area().bottom;
        for &value in &self.x.values {
            let x = self.x_at(value);
            out.put(format_args!(
                "<path class=\"axis\" d=\"M{x:.1} {bottom}v4\"/><text class=\"x\" x=\"{x:.1}\" y=\"{}\">{}</text>",
                bottom + 17.0,
                self.x.label(value)
            ));
        }
    }
}

/// The classes that give a series its colour.
fn colour(style: Option<usize>) -> String {
    style.map_or_else(|| "none".to_owned(), |style| format!("a{}", style % COLOURS))
}

fn dash(style: usize) -> String {
    match DASHES[style % DASHES.len()] {
        "" => String::new(),
        dash => format!(" stroke-dasharray=\"{dash}\""),
    }
}

/// A marker of the series' shape around a point.
fn marker(style: Option<usize>, (x, y): (f64, f64), radius: f64, class: &str) -> String {
    let r = radius;
    match style.map(|style| style % 5) {
        None | Some(0) => format!("<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{r}\"/>"),
        Some(1) => {
            let side = r * 0.9;
            format!("<path class=\"{class}\" d=\"M{:.1} {:.1}h{2}v{2}h-{2}z\"/>", x - side, y - side, 2.0 * side)
        }
        Some(2) => format!(
            "<path class=\"{class}\" d=\"M{x:.1} {:.1}L{:.1} {:.1}H{:.1}z\"/>",
            y - 1.2 * r,
            x + 1.15 * r,
            y + 0.85 * r,
            x - 1.15 * r
        ),
        Some(3) => {
            let d = 1.25 * r;
            format!("<path class=\"{class}\" d=\"M{x:.1} {:.1}l{d} {d}l-{d} {d}l-{d} -{d}z\"/>", y - d)
        }
        Some(_) => format!(
            "<path class=\"{class}\" d=\"M{x:.1} {:.1}L{:.1} {:.1}H{:.1}z\"/>",
            y + 1.2 * r,
            x + 1.15 * r,
            y - 0.85 * r,
            x - 1.15 * r
        ),
    }
}

/// The line and marker of a series, to stand beside its name.
pub(super) fn key(style: usize) -> String {
    swatch(Some(style), &format!("<path class=\"line\" d=\"M0 6H30\"{}/>", dash(style)))
}

/// The marker of a series without a line; hollow for what no arm owns.
pub(super) fn dot_key(style: Option<usize>) -> String {
    swatch(style, "")
}

fn swatch(style: Option<usize>, stroke: &str) -> String {
    let (class, width) = (if style.is_some() { "dot" } else { "hollow" }, if stroke.is_empty() { 12 } else { 30 });
    format!(
        "<svg class=\"key {}\" width=\"{width}\" height=\"12\" viewBox=\"0 0 {width} 12\" aria-hidden=\"true\">{stroke}{}</svg>",
        colour(style),
        marker(style, (f64::from(width) / 2.0, 6.0), 3.6, class)
    )
}

fn seeds(count: usize) -> String {
    if count == 1 { "1 seed".to_owned() } else { format!("{count} seeds") }
}

/// A value with its spread, in words.
fn said(axes: &Axes, name: &str, point: &SeriesPoint) -> String {
    let decimals = axes.decimals;
    let spread = if point.runs > 1 {
        format!(" ({} to {})", number(point.low, decimals), number(point.high, decimals))
    } else {
        String::new()
    };
    format!("{name}, {} {}: {}{spread}, {}", axes.x_label, point.step, number(point.mean, decimals), seeds(point.runs))
}

/// Lines over steps, each a mean over seeds with a band from the lowest to the highest seed, and crosses above them.
pub(super) fn line_chart(axes: &Axes, lines: &[Line], crosses: &[Cross]) -> String {
    let area = axes.size.area();
    let ends = lines.iter().filter_map(|line| Some((line, line.points.first()?, line.points.last()?)));
    let description: Vec<String> = ends
        .map(|(line, (_, first), (_, last))| {
            let at = |point: &SeriesPoint| format!("{} at step {}", number(point.mean, axes.decimals), point.step);
            format!("{}: {}, {}.", line.name, at(first), at(last))
        })
        .collect();
    let mut out = Markup::default();
    let cursor = format!(" data-cursor data-top=\"{}\" data-bottom=\"{}\"", area.top, area.bottom);
    axes.open(&mut out, &description.join(" "), &cursor);
    axes.ticks_below(&mut out);
    out.put_str("<path class=\"cursor\"/>");
    for line in lines {
        band(axes, line, &mut out);
    }
    for line in lines {
        stroke(axes, line, &mut out);
    }
    for cross in crosses {
        let (x, y) = (axes.x_at(cross.place.0), axes.y_at(cross.place.1));
        out.put(format_args!(
            "<path class=\"cross {}\" d=\"M{:.1} {:.1}l8 8m0 -8l-8 8\"><title>{}</title></path>",
            colour(Some(cross.style)),
            x - 4.0,
            y - 4.0,
            line(&cross.name)
        ));
    }
    for series in lines {
        for (x, point) in &series.points {
            out.put(format_args!(
                "<circle class=\"hit\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"7\"><title>{}</title></circle>",
                axes.x_at(*x),
                axes.y_at(point.mean),
                line(&said(axes, &series.name, point))
            ));
        }
    }
    out.put_str("</svg>");
    out.into_string()
}

fn band(axes: &Axes, line: &Line, out: &mut Markup) {
    let spread: Vec<_> = line.points.iter().filter(|(_, point)| point.runs > 1).collect();
    if spread.len() < 2 {
        return;
    }
    out.put(format_args!("<path class=\"band {}\" d=\"M", colour(Some(line.style))));
    for (x, point) in &spread {
        out.put(format_args!("{:.1} {:.1} ", axes.x_at(*x), axes.y_at(point.high)));
    }
    for (x, point) in spread.iter().rev() {
        out.put(format_args!("{:.1} {:.1} ", axes.x_at(*x), axes.y_at(point.low)));
    }
    out.put_str("z\"/>");
}

/// The mean line, faint beyond the last step that every seed has reached, and its markers.
fn stroke(axes: &Axes, line: &Line, out: &mut Markup) {
    let runs_max = line.points.iter().map(|(_, point)| point.runs).max().unwrap_or(0);
    let complete = line.points.iter().rposition(|(_, point)| point.runs == runs_max).map_or(0, |index| index + 1);
    let places: Vec<(f64, f64)> = line.points.iter().map(|(x, point)| (axes.x_at(*x), axes.y_at(point.mean))).collect();
    out.put(format_args!("<g class=\"{}\">", colour(Some(line.style))));
    if complete < places.len() {
        polyline(&places[complete.saturating_sub(1)..], "line faint", &dash(line.style), out);
    }
    polyline(&places[..complete], "line", &dash(line.style), out);
    let every = if places.len() <= MARKED_POINTS_MAX { 1 } else { places.len().div_ceil(6) };
    for (index, &place) in places.iter().enumerate() {
        // Arms start their markers apart from each other, so that lines that coincide can still be told.
        let is_marked = every == 1 || (index + line.style * every / 3) % every == every - 1;
        if is_marked {
            out.put_str(&marker(Some(line.style), place, 3.2, if index < complete { "dot" } else { "dot faint" }));
        }
    }
    out.put_str("</g>");
}

fn polyline(places: &[(f64, f64)], class: &str, dash: &str, out: &mut Markup) {
    if places.len() < 2 {
        return;
    }
    out.put(format_args!("<path class=\"{class}\"{dash} d=\"M"));
    for (x, y) in places {
        out.put(format_args!("{x:.1} {y:.1} "));
    }
    out.put_str("\"/>");
}

/// Paths through a plane: a hollow marker at the start, small ones on the way, a large one at the end; below them the
/// stairs of `front`, whose places are (x, y) by x.
pub(super) fn path_chart(axes: &Axes, paths: &[Path], front: &[(f64, f64)]) -> String {
    let at = |&(step, x, y): &(u64, f64, f64)| format!("{} at {}, step {step}", number(y, axes.decimals), number(x, 1));
    let ends = paths.iter().filter_map(|path| Some((path, path.points.first()?, path.points.last()?)));
    let description: Vec<String> =
        ends.map(|(path, first, last)| format!("{}: from {} to {}.", path.name, at(first), at(last))).collect();
    let mut out = Markup::default();
    axes.open(&mut out, &description.join(" "), "");
    axes.ticks_below(&mut out);
    let mut stairs: Vec<(f64, f64)> = Vec::new();
    for &(x, y) in front {
        stairs.extend(stairs.last().map(|&(_, before)| (axes.x_at(x), before)));
        stairs.push((axes.x_at(x), axes.y_at(y)));
    }
    polyline(&stairs, "front", "", &mut out);
    let place = |&(_, x, y): &(u64, f64, f64)| (axes.x_at(x), axes.y_at(y));
    for path in paths {
        let places: Vec<(f64, f64)> = path.points.iter().map(place).collect();
        out.put(format_args!("<g class=\"{}\">", colour(Some(path.style))));
        polyline(&places, "line", &dash(path.style), &mut out);
        for &place in places.iter().take(places.len().saturating_sub(1)).skip(1) {
            out.put_str(&marker(Some(path.style), place, 2.2, "dot"));
        }
        out.put_str("</g>");
    }
    for (radius, class, index_of) in [(4.2, "hollow", 0), (5.2, "dot", usize::MAX)] {
        for path in paths.iter().filter(|path| !path.points.is_empty()) {
            let point = &path.points[index_of.min(path.points.len() - 1)];
            let mark = marker(Some(path.style), place(point), radius, class);
            out.put(format_args!("<g class=\"{}\">{mark}</g>", colour(Some(path.style))));
        }
    }
    for (path, point) in paths.iter().flat_map(|path| path.points.iter().map(move |point| (path, point))) {
        let (x, y) = place(point);
        let title = line(&format!("{}: {} tokens", path.name, at(point)));
        out.put(format_args!(
            "<circle class=\"hit\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"6\"><title>{title}</title></circle>"
        ));
    }
    out.put_str("</svg>");
    out.into_string()
}

/// Dots side by side for each category, with whiskers of one standard error.
pub(super) fn dot_chart(axes: &Axes, categories: &[String], series: &[Dots]) -> String {
    let area = axes.size.area();
    let slot = (area.right - area.left) / categories.len().max(1) as f64;
    let centre = |category: usize| area.left + (category as f64 + 0.5) * slot;
    let gap = (slot * 0.7 / series.len().max(1) as f64).min(16.0);
    let letters_max = (slot / 6.5).max(1.0) as usize;
    let mut out = Markup::default();
    axes.open(&mut out, &dots_described(axes, categories, series), "");
    for (index, category) in categories.iter().enumerate() {
        let label: String = category.chars().take(letters_max).collect();
        let cut = if category.chars().count() > letters_max { "…" } else { "" };
        out.put(format_args!(
            "<text class=\"x\" x=\"{:.1}\" y=\"{}\">{}{cut}</text>",
            centre(index),
            area.bottom + 17.0,
            line(&label)
        ));
    }
    for (order, dots) in series.iter().enumerate() {
        out.put(format_args!("<g class=\"{}\">", colour(dots.style)));
        let aside = (order as f64 - (series.len() as f64 - 1.0) / 2.0) * gap;
        for (index, value) in dots.values.iter().enumerate() {
            let Some((value, error)) = *value else { continue };
            let (x, y) = (centre(index) + aside, axes.y_at(value));
            if let Some(error) = error {
                let (high, low) =
                    (axes.y_at((value + error).min(axes.y.high)), axes.y_at((value - error).max(axes.y.low)));
                out.put(format_args!("<path class=\"whisker\" d=\"M{x:.1} {high:.1}V{low:.1}\"/>"));
            }
            let class = if dots.style.is_some() { "dot" } else { "hollow" };
            out.put_str(&marker(dots.style, (x, y), 3.8, class));
            out.put(format_args!(
                "<circle class=\"hit\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"7\"><title>{}</title></circle>",
                line(&format!(
                    "{}, {} {}: {}",
                    dots.name,
                    axes.x_label,
                    categories[index],
                    with_error(axes, value, error)
                ))
            ));
        }
        out.put_str("</g>");
    }
    out.put_str("</svg>");
    out.into_string()
}

fn with_error(axes: &Axes, value: f64, error: Option<f64>) -> String {
    let error = error.map_or_else(String::new, |error| format!(" ± {}", number(error, axes.decimals)));
    format!("{}{error}", number(value, axes.decimals))
}

fn dots_described(axes: &Axes, categories: &[String], series: &[Dots]) -> String {
    let mut sentences = Vec::new();
    for dots in series {
        let at = categories.iter().zip(&dots.values);
        let values: Vec<String> = at
            .filter_map(|(category, value)| Some(format!("{category}: {}", with_error(axes, (*value)?.0, None))))
            .collect();
        sentences.push(format!("{}: {}.", dots.name, values.join(", ")));
    }
    sentences.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::ticks::Limits;

    fn axes() -> Axes {
        Axes {
            size: Size::Wide,
            title: "Accuracy <by> step".to_owned(),
            x: Ticks::inside(0.0, 10.0, 5),
            x_label: "step".to_owned(),
            y: Ticks::around(0.0, 100.0, 5, Limits(0.0, 100.0)),
            y_label: "%".to_owned(),
            decimals: 1,
        }
    }

    fn point(step: u64, mean: f64, runs: usize) -> (f64, SeriesPoint) {
        (step as f64, SeriesPoint { step, mean, low: mean - 1.0, high: mean + 1.0, runs })
    }

    #[test]
    fn a_line_has_a_band_where_there_are_several_seeds_and_is_faint_beyond_the_last_common_step() {
        let points = vec![point(0, 50.0, 2), point(5, 60.0, 2), point(10, 70.0, 1)];
        let svg = line_chart(&axes(), &[Line { style: 1, name: "a&b".to_owned(), points }], &[]);
        assert!(svg.contains("<title>Accuracy &lt;by&gt; step</title>"));
        assert!(svg.contains("a&amp;b, step 10: 70.0, 1 seed<"));
        assert!(svg.contains("a&amp;b, step 5: 60.0 (59.0 to 61.0), 2 seeds<"));
        assert_eq!((svg.matches("class=\"band a1\"").count(), svg.matches("line faint").count()), (1, 1));
        let cross = Cross { style: 2, name: "<c>".to_owned(), place: (5.0, 50.0) };
        // By hand: the plot area is 44..470 by 30..260, so step 5 at 50 % lies at its centre, 257 by 145.
        let centre =
            line_chart(&axes(), &[Line { style: 0, name: "a".to_owned(), points: vec![point(5, 50.0, 1)] }], &[cross]);
        assert!(centre.contains("cx=\"257.0\" cy=\"145.0\""), "{centre}");
        assert!(
            centre.contains("<path class=\"cross a2\" d=\"M253.0 141.0l8 8m0 -8l-8 8\"><title>&lt;c&gt;<"),
            "{centre}"
        );
    }

    #[test]
    fn charts_of_nothing_are_still_charts() {
        let none = Dots { style: None, name: "start".to_owned(), values: vec![None] };
        for svg in [
            line_chart(&axes(), &[], &[]),
            path_chart(&axes(), &[Path { style: 0, name: "a".to_owned(), points: Vec::new() }], &[]),
            dot_chart(&axes(), &["2".to_owned()], &[none]),
        ] {
            assert!(svg.starts_with("<svg") && svg.ends_with("</svg>") && !svg.contains("NaN"), "{svg}");
        }
    }
}
