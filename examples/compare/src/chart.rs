//! Bar charts, as the report's template draws them.

use crate::figures::{Figures, Measured};

/// A chart in a space of 360 by `height`.
pub struct Chart {
    /// What it shows, with the unit.
    pub title: String,
    /// Its height.
    pub height: usize,
    /// The captions of the groups of bars.
    pub captions: Vec<Caption>,
    /// Its bars.
    pub bars: Vec<Bar>,
}

/// A line of text.
pub struct Caption {
    /// Where its foot is.
    pub y: usize,
    /// What it says.
    pub text: String,
}

/// One bar.
pub struct Bar {
    /// Its upper edge.
    pub y: usize,
    /// Its length.
    pub width: f64,
    /// The number of its contestant, which gives its colour.
    pub colour: usize,
    /// Whose it is.
    pub name: String,
    /// Its value.
    pub value: String,
}

const BAR: usize = 18;
const LONGEST: f64 = 190.0;

/// A contestant's number, itself, and its captioned values.
type Series<'a> = (usize, &'a Measured, Vec<(&'static str, f64)>);

/// All charts that there are figures for.
pub fn charts(figures: &Figures) -> Vec<Chart> {
    let mut charts = vec![
        chart("Network round trips of a transfer", figures, |measured| {
            let trips = measured.round_trips.as_ref()?;
            Some(vec![("each", trips.transfer_steady as f64)])
        }),
        chart(
            "Latency of a transfer, one worker (ms)",
            figures,
            |measured| {
                let one = measured.one_worker.as_ref()?;
                Some(vec![
                    ("p50", one.p50_ms),
                    ("p95", one.p95_ms),
                    ("p99", one.p99_ms),
                ])
            },
        ),
        chart("Transfers per second", figures, |measured| {
            let alone = measured.one_worker.as_ref()?;
            let together = measured.contention.as_ref()?;
            Some(vec![
                ("one worker", alone.transfers_per_second),
                ("contention", together.transfers_per_second),
            ])
        }),
        chart("Median transfer over distance (ms)", figures, |measured| {
            let captions = ["1 ms away", "10 ms away", "50 ms away"];
            let values = measured.distance.iter().map(|one| one.transfer_p50_ms);
            Some(captions.into_iter().zip(values).collect())
        }),
    ];
    charts.retain(|chart| !chart.bars.is_empty());
    charts
}

fn chart(
    title: &str,
    figures: &Figures,
    values: impl Fn(&Measured) -> Option<Vec<(&'static str, f64)>>,
) -> Chart {
    let series: Vec<Series> = figures
        .contestants
        .iter()
        .enumerate()
        .filter_map(|(number, measured)| Some((number, measured, values(measured)?)))
        .filter(|(_, _, values)| !values.is_empty())
        .collect();
    let groups = series.first().map_or(0, |(_, _, values)| values.len());
    let (mut captions, mut bars, mut y) = (Vec::new(), Vec::new(), 0);
    for group in 0..groups {
        let longest = series
            .iter()
            .map(|(_, _, values)| values[group].1)
            .fold(f64::MIN_POSITIVE, f64::max);
        y += 20;
        captions.push(Caption {
            y: y - 6,
            text: series[0].2[group].0.to_owned(),
        });
        for (colour, measured, values) in &series {
            let value = values[group].1;
            let shown = if value >= 100.0 || value.fract() == 0.0 {
                format!("{value:.0}")
            } else {
                format!("{value:.2}")
            };
            let width = LONGEST * value / longest;
            bars.push(Bar {
                y,
                width,
                colour: *colour,
                name: measured.name.clone(),
                value: shown,
            });
            y += BAR;
        }
    }
    Chart {
        title: title.to_owned(),
        height: y + 4,
        captions,
        bars,
    }
}
