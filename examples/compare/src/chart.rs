//! The bar charts of the report.

use crate::figures::{Contention, Figures, Measured, OneWorker, RoundTrips, readable};

/// A chart: groups of bars, each group with its own scale.
pub struct Chart {
    /// The title.
    pub title: String,
    /// The groups, from top to bottom.
    pub groups: Vec<Group>,
}

/// Bars that are compared with each other.
pub struct Group {
    /// The quantity, with its unit.
    pub caption: String,
    /// The bars, one per contestant that has the figure.
    pub bars: Vec<Bar>,
}

/// One bar.
pub struct Bar {
    /// The contestant's name.
    pub name: String,
    /// The contestant's colour: its place among the drivers. Yardsticks are grey and have none.
    pub colour: Option<usize>,
    /// The value as a share of the longest bar, from 0 to 1.
    pub share: f64,
    /// The value as text.
    pub value: String,
}

/// Returns a chart for each part that was measured: four, or two without round trips and distance. Both
/// numbers fill two columns.
pub fn charts(figures: &Figures) -> Vec<Chart> {
    let mut charts = vec![
        round_trips(figures),
        distance(figures),
        one_worker(figures),
        contention(figures),
    ];
    for chart in &mut charts {
        chart.groups.retain(|group| !group.bars.is_empty());
    }
    charts.retain(|chart| !chart.groups.is_empty());
    charts
}

fn round_trips(figures: &Figures) -> Chart {
    let group = |caption: &str, count: fn(&RoundTrips) -> Option<u64>| {
        group(caption, figures, |measured| {
            Some(count(measured.round_trips.as_ref()?)? as f64)
        })
    };
    Chart {
        title: "Network round trips".to_owned(),
        groups: vec![
            group("to connect", |trips| trips.connect),
            group("first transfer", |trips| trips.transfer_first),
            group("each further transfer", |trips| Some(trips.transfer_steady)),
        ],
    }
}

fn distance(figures: &Figures) -> Chart {
    let mut distances: Vec<u64> = figures
        .contestants
        .iter()
        .flat_map(|measured| &measured.distance)
        .map(|one| one.round_trip_ms)
        .collect();
    distances.sort_unstable();
    distances.dedup();
    let groups = distances.iter().map(|distance| {
        let caption = format!("{distance} ms away: p50, ms");
        group(&caption, figures, |measured| {
            let mut all = measured.distance.iter();
            let one = all.find(|one| one.round_trip_ms == *distance)?;
            Some(one.transfer_p50_ms)
        })
    });
    Chart {
        title: "Latency over distance, one worker".to_owned(),
        groups: groups.collect(),
    }
}

fn one_worker(figures: &Figures) -> Chart {
    let group = |caption: &str, value: fn(&OneWorker) -> f64| {
        group(caption, figures, |measured| {
            measured.one_worker.as_ref().map(value)
        })
    };
    Chart {
        title: "Latency of a transfer, one worker".to_owned(),
        groups: vec![
            group("p50, ms", |one| one.p50_ms),
            group("p95, ms", |one| one.p95_ms),
            group("p99, ms", |one| one.p99_ms),
        ],
    }
}

fn contention(figures: &Figures) -> Chart {
    let group = |caption: &str, value: fn(&Contention) -> f64| {
        group(caption, figures, |measured| {
            measured.contention.as_ref().map(value)
        })
    };
    Chart {
        title: format!("Contention: {} workers on four accounts", figures.workers),
        groups: vec![
            group("transfers per second", |one| one.transfers_per_second),
            group("retries per transfer", |one| one.retries_per_transfer),
            group("p99, ms", |one| one.p99_ms),
        ],
    }
}

fn group(caption: &str, figures: &Figures, value: impl Fn(&Measured) -> Option<f64>) -> Group {
    let values: Vec<(usize, &Measured, f64)> = figures
        .contestants
        .iter()
        .enumerate()
        .filter_map(|(place, measured)| Some((place, measured, value(measured)?)))
        .collect();
    let longest = values
        .iter()
        .map(|(_, _, value)| *value)
        .fold(f64::MIN_POSITIVE, f64::max);
    let bars = values.into_iter().map(|(place, measured, value)| Bar {
        name: measured.name.clone(),
        colour: measured.is_driver().then_some(place),
        share: value / longest,
        value: readable(value),
    });
    Group {
        caption: caption.to_owned(),
        bars: bars.collect(),
    }
}
