//! The figures in parts. Each part is a table on the terminal and a chart in the report.

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, Table};

use crate::figures::{Figures, Load, Measured, OneWorker, RoundTrips};

/// One part of the figures.
pub struct Part {
    pub title: String,
    /// What the figures mean.
    pub note: &'static str,
    /// The columns of the table. In a bar chart each is a group of bars.
    pub columns: Vec<Column>,
    /// Where the vertical axis of a line chart ends. Without it the report draws a bar chart.
    pub top: Option<f64>,
}

/// One figure of all contestants that have it.
pub struct Column {
    /// The figure with its unit.
    pub head: String,
    /// The values, in the order of the contestants.
    pub values: Vec<Value>,
}

/// A figure of one contestant.
pub struct Value {
    pub name: String,
    /// The CSS class of the contestant's colour.
    pub class: String,
    pub number: f64,
}

impl Part {
    /// Returns the values of each contestant, from the first column to the last.
    pub fn lines(&self) -> Vec<Vec<&Value>> {
        let line = |first: &Value| {
            let values = self.columns.iter().flat_map(|column| &column.values);
            values.filter(|value| value.name == first.name).collect()
        };
        self.columns[0].values.iter().map(line).collect()
    }
}

impl Column {
    pub fn largest(&self) -> f64 {
        let numbers = self.values.iter().map(|value| value.number);
        numbers.fold(f64::MIN_POSITIVE, f64::max)
    }
}

/// Returns a part for everything that was measured.
pub fn parts(figures: &Figures) -> Vec<Part> {
    let throughput = |load: &Load| load.transfers_per_second;
    let mut parts = vec![
        round_trips(figures),
        distance(figures),
        one_worker(figures),
        contention(figures),
        clients(figures, "Transfers per second", throughput),
        clients(figures, "p99 in ms", |load| load.p99_ms),
    ];
    // A line needs two points.
    parts.retain(|part| part.top.is_none() || part.columns.len() > 1);
    parts.retain(|part| part.columns.iter().any(|column| !column.values.is_empty()));
    parts
}

fn round_trips(figures: &Figures) -> Part {
    let column = |head: &str, count: fn(&RoundTrips) -> Option<u64>| {
        column(head, figures, |measured| {
            Some(count(measured.round_trips.as_ref()?)? as f64)
        })
    };
    Part {
        title: "Network round trips".to_owned(),
        note: "Over a network they decide: a transfer takes about (round trips × network delay). \
               A pool can make one of them after the transfer, when it takes \
               the connection back.",
        columns: vec![
            column("to connect", |trips| trips.connect),
            column("first transfer", |trips| trips.transfer_first),
            column("each further transfer", |trips| Some(trips.transfer_steady)),
        ],
        top: None,
    }
}

fn distance(figures: &Figures) -> Part {
    let mut all = figures.contestants.iter().map(|one| &one.distance);
    let distances = all.find(|one| !one.is_empty()).into_iter().flatten();
    let columns = distances.enumerate().map(|(place, one)| {
        let head = format!("{} ms away: p50, ms", one.round_trip_ms);
        column(&head, figures, |measured| {
            Some(measured.distance.get(place)?.transfer_p50_ms)
        })
    });
    Part {
        title: "Latency of a transfer at a distance, one worker".to_owned(),
        note: "A relay in front of the server adds the distance to each round trip.",
        columns: columns.collect(),
        top: None,
    }
}

fn one_worker(figures: &Figures) -> Part {
    let column = |head: &str, value: fn(&OneWorker) -> f64| {
        column(head, figures, |measured| {
            measured.one_worker.as_ref().map(value)
        })
    };
    Part {
        title: "One worker".to_owned(),
        note: "Without a distance, the client's own work and the server's disk decide.",
        columns: vec![
            column("to connect, ms", |one| one.connect_ms),
            column("to connect again, ms", |one| one.connect_further_ms),
            column("transfers/s", |one| one.transfers_per_second),
            column("p50, ms", |one| one.p50_ms),
            column("p99, ms", |one| one.p99_ms),
        ],
        top: None,
    }
}

fn contention(figures: &Figures) -> Part {
    let column = |head: &str, value: fn(&Load) -> f64| {
        column(head, figures, |measured| {
            Some(value(&measured.contention.as_ref()?.load))
        })
    };
    Part {
        title: format!("Contention: {} workers on four accounts", figures.workers),
        note: "The transfer locks both accounts when it reads them. So on CockroachDB transfers \
               wait for one another and are not retried. PostgreSQL still rejects some of those \
               that have waited. They are retried after a pause, which is long beside a transfer: it \
               shows in p99, in the longest transfer, and in the transfers of the slowest worker, \
               of which 100 % is an equal share.",
        columns: vec![
            column("transfers/s", |load| load.transfers_per_second),
            column("retries each", |load| load.retries_per_transfer),
            column("p50, ms", |load| load.p50_ms),
            column("p99, ms", |load| load.p99_ms),
            column("longest, ms", |load| load.longest_ms),
            column("slowest worker %", |load| 100.0 * load.slowest_worker_share),
        ],
        top: None,
    }
}

/// Returns a figure under contention against the number of workers. The yardstick is left out: on
/// PostgreSQL it is so much faster that it would flatten the drivers' lines.
fn clients(figures: &Figures, figure: &str, value: fn(&Load) -> f64) -> Part {
    let mut all = figures.contestants.iter().map(|one| &one.clients);
    let counts = all.find(|one| !one.is_empty()).into_iter().flatten();
    let columns = counts.enumerate().map(|(place, one)| {
        column(&one.workers.to_string(), figures, |measured| {
            let clients = measured.clients.get(place)?;
            measured.is_driver.then(|| value(&clients.load))
        })
    });
    let columns: Vec<Column> = columns.collect();
    let largest = columns.iter().map(Column::largest).fold(0.0, f64::max);
    Part {
        title: format!("{figure} against the number of workers"),
        note: "All workers use the same four accounts, so nearly all transfers conflict.",
        top: Some(axis(largest)),
        columns,
    }
}

/// Returns the end of an axis that holds this value: a number with few digits.
fn axis(largest: f64) -> f64 {
    let unit = 10_f64.powf(largest.log10().floor());
    let ends = [1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0].map(|end| end * unit);
    ends.into_iter()
        .find(|end| *end >= largest)
        .unwrap_or(10.0 * unit)
}

fn column(head: &str, figures: &Figures, figure: impl Fn(&Measured) -> Option<f64>) -> Column {
    let values = figures.contestants.iter().enumerate();
    let values = values.filter_map(|(place, measured)| {
        Some(Value {
            name: measured.name.clone(),
            class: match measured.is_driver {
                true => format!("c{place}"),
                false => "yardstick".to_owned(),
            },
            number: figure(measured)?,
        })
    });
    Column {
        head: head.to_owned(),
        values: values.collect(),
    }
}

/// Returns a number with three significant digits.
pub fn readable(value: f64) -> String {
    if value >= 100.0 || value.fract() == 0.0 {
        format!("{value:.0}")
    } else if value >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

/// Returns the table of a part for a terminal.
pub fn table(part: &Part, figures: &Figures) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    let heads = part.columns.iter().map(|column| column.head.as_str());
    table.set_header([""].into_iter().chain(heads));
    for Measured { name, .. } in &figures.contestants {
        let cells = part.columns.iter().map(|column| {
            let value = column.values.iter().find(|value| value.name == *name);
            value.map_or("–".to_owned(), |value| readable(value.number))
        });
        let cells: Vec<String> = cells.collect();
        if cells.iter().any(|cell| cell != "–") {
            table.add_row([name.clone()].into_iter().chain(cells));
        }
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    format!("{}\n{table}\n", part.title)
}
