//! The figures as tables, for the terminal and the report.

use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{CellAlignment, ContentArrangement, Table as Drawn};

use crate::figures::{Figures, Measured};

/// A table.
pub struct Table {
    /// The title.
    pub title: &'static str,
    /// The heads of the columns.
    pub heads: Vec<String>,
    /// The cells.
    pub rows: Vec<Vec<String>>,
}

/// Returns a table for each part that was measured. × is the ratio to the first row.
pub fn tables(figures: &Figures) -> Vec<Table> {
    [
        round_trips(figures),
        one_worker(figures),
        contention(figures),
        distance(figures),
        cost(figures),
    ]
    .into_iter()
    .filter(|table| !table.rows.is_empty())
    .collect()
}

/// Draws the table for a terminal, at most 100 columns wide.
pub fn draw(table: &Table) -> String {
    let mut drawn = Drawn::new();
    drawn
        .load_style(UTF8_HORIZONTAL_ONLY)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(100);
    drawn.set_header(&table.heads).add_rows(&table.rows);
    for column in drawn.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    format!("{}\n{drawn}\n", table.title)
}

fn heads<const N: usize>(heads: [&str; N]) -> Vec<String> {
    heads.map(str::to_owned).to_vec()
}

/// Returns the value and its ratio to the first row's.
fn with_ratio(value: f64, first: Option<f64>) -> String {
    let shown = match value {
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    };
    match first.filter(|first| *first > 0.0) {
        Some(first) => format!("{shown} (×{:.2})", value / first),
        None => shown,
    }
}

fn row(measured: &Measured, cells: Vec<String>) -> Vec<String> {
    [vec![measured.name.clone()], cells].concat()
}

fn round_trips(figures: &Figures) -> Table {
    let rows = figures.contestants.iter().filter_map(|measured| {
        let trips = measured.round_trips.as_ref()?;
        let optional =
            |count: Option<u64>| count.map_or("–".to_owned(), |count| count.to_string());
        let cells = vec![
            optional(trips.connect),
            optional(trips.transfer_first),
            trips.transfer_steady.to_string(),
            optional(trips.transfer_retried_once),
        ];
        Some(row(measured, cells))
    });
    let heads = heads([
        "",
        "connect",
        "first transfer",
        "each further",
        "retried once",
    ]);
    Table {
        title: "Network round trips",
        heads,
        rows: rows.collect(),
    }
}

fn one_worker(figures: &Figures) -> Table {
    let all = || {
        figures
            .contestants
            .iter()
            .filter_map(|measured| Some((measured, measured.one_worker.as_ref()?)))
    };
    let first = all().next().map(|(_, first)| first);
    let rows = all().map(|(measured, one)| {
        row(
            measured,
            vec![
                format!("{:.1}", one.connect_ms),
                with_ratio(
                    one.transfers_per_second,
                    first.map(|first| first.transfers_per_second),
                ),
                with_ratio(one.p50_ms, first.map(|first| first.p50_ms)),
                format!("{:.2}", one.p95_ms),
                format!("{:.2}", one.p99_ms),
                format!("{:.2}", one.max_ms),
            ],
        )
    });
    let heads = heads([
        "",
        "connect ms",
        "transfers/s",
        "p50 ms",
        "p95 ms",
        "p99 ms",
        "max ms",
    ]);
    Table {
        title: "One worker",
        heads,
        rows: rows.collect(),
    }
}

fn contention(figures: &Figures) -> Table {
    let all = || {
        figures
            .contestants
            .iter()
            .filter_map(|measured| Some((measured, measured.contention.as_ref()?)))
    };
    let first = all().next().map(|(_, first)| first);
    let rows = all().map(|(measured, one)| {
        row(
            measured,
            vec![
                with_ratio(
                    one.transfers_per_second,
                    first.map(|first| first.transfers_per_second),
                ),
                format!("{:.2}", one.retries_per_transfer),
                with_ratio(one.p50_ms, first.map(|first| first.p50_ms)),
                format!("{:.1}", one.p99_ms),
                if one.balances_conserved {
                    "add up"
                } else {
                    "DO NOT ADD UP"
                }
                .to_owned(),
            ],
        )
    });
    let heads = heads([
        "",
        "transfers/s",
        "retries/transfer",
        "p50 ms",
        "p99 ms",
        "balances",
    ]);
    Table {
        title: "Several workers on four accounts",
        heads,
        rows: rows.collect(),
    }
}

fn distance(figures: &Figures) -> Table {
    let all = || {
        figures
            .contestants
            .iter()
            .filter(|measured| !measured.distance.is_empty())
    };
    let first = all().next();
    let rows = all().map(|measured| {
        let cells = measured.distance.iter().enumerate().map(|(at, one)| {
            with_ratio(
                one.transfer_p50_ms,
                first.map(|first| first.distance[at].transfer_p50_ms),
            )
        });
        row(measured, cells.collect())
    });
    let distances = first.iter().flat_map(|first| &first.distance);
    let heads = [String::new()]
        .into_iter()
        .chain(distances.map(|one| format!("{} ms away: p50 ms", one.round_trip_ms)));
    let heads = heads.collect();
    Table {
        title: "One worker, behind a simulated distance",
        heads,
        rows: rows.collect(),
    }
}

fn cost(figures: &Figures) -> Table {
    let rows = figures.contestants.iter().filter_map(|measured| {
        let cost = measured.cost.as_ref()?;
        Some(row(
            measured,
            vec![
                cost.crates
                    .map_or("–".to_owned(), |crates| crates.to_string()),
                cost.sample_lines.to_string(),
                cost.build_seconds
                    .map_or("–".to_owned(), |seconds| format!("{seconds:.0}")),
                cost.binary_bytes.map_or("–".to_owned(), |bytes| {
                    format!("{:.1}", bytes as f64 / 1e6)
                }),
            ],
        ))
    });
    let heads = heads(["", "crates", "lines of sample", "build s", "binary MB"]);
    Table {
        title: "The cost of the dependency",
        heads,
        rows: rows.collect(),
    }
}
