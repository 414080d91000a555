//! The figures in parts, which `parts.json` lists. The first part is the verdict. Each part is a table
//! on the terminal; in the report the verdict is a table too, and the others are charts.

use anyhow::Result;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Table};
use serde::Deserialize;

use crate::figures::{Figure, Figures};

/// One part of the figures.
#[derive(Deserialize)]
pub struct Part {
    pub title: String,
    /// What the figures mean.
    pub note: String,
    /// Whether the figures of the drivers are compared with the best one.
    #[serde(default)]
    pub is_verdict: bool,
    /// The columns with their heads and the names of their figures. `workers_N` is the largest number
    /// of workers.
    #[serde(rename = "columns")]
    list: Vec<(String, String, Better)>,
    /// The columns that were measured. In a chart each is a group of bars.
    #[serde(skip)]
    pub columns: Vec<Column>,
}

/// One figure of all contestants that have it.
pub struct Column {
    /// The figure with its unit.
    pub head: String,
    pub better: Better,
    /// The values, in the order of the contestants.
    pub values: Vec<Value>,
}

/// Which values of a figure are better.
#[derive(Clone, Copy, Deserialize)]
pub enum Better {
    Less,
    More,
}

/// A figure of one contestant.
pub struct Value {
    pub name: String,
    pub figure: Figure,
}

/// Returns the verdict, and a part for everything that was measured.
pub fn parts(figures: &Figures) -> Result<Vec<Part>> {
    let mut parts: Vec<Part> = serde_json::from_str(include_str!("parts.json"))?;
    let workers = figures.workers.to_string();
    for part in &mut parts {
        part.title = part.title.replace("all", &workers);
        let columns = part.list.iter().map(|(head, name, better)| Column {
            head: head.replace("all", &workers),
            better: *better,
            values: values(
                figures,
                &name.replace("_N.", &format!("_{workers}.")),
                part.is_verdict,
            ),
        });
        part.columns = columns.filter(|column| !column.values.is_empty()).collect();
        if part.is_verdict {
            let (server, date) = (figures.server.name(), &figures.server.date);
            part.title = format!("{} {server}, {date}", part.title);
        }
    }
    parts.retain(|part| !part.columns.is_empty());
    Ok(parts)
}

fn values(figures: &Figures, name: &str, only_drivers: bool) -> Vec<Value> {
    let contestants = figures.contestants.iter();
    let wanted = contestants.filter(|one| one.is_driver || !only_drivers);
    let values = wanted.filter_map(|measured| {
        Some(Value {
            name: measured.name.clone(),
            figure: measured.figures.get(name)?.clone(),
        })
    });
    values.collect()
}

impl Column {
    pub fn of(&self, name: &str) -> Option<&Figure> {
        let mut values = self.values.iter();
        values
            .find(|value| value.name == name)
            .map(|value| &value.figure)
    }

    /// Returns this number as a share of the largest one of the column.
    pub fn share(&self, number: &f64) -> String {
        let numbers = self.values.iter().map(|value| value.figure.largest);
        format!("{:.4}", number / numbers.fold(f64::MIN_POSITIVE, f64::max))
    }

    /// Returns how this figure of the column compares with the best one.
    pub fn verdict(&self, figure: &Figure) -> String {
        let figures = self.values.iter().map(|value| &value.figure);
        let by_median = |a: &&Figure, b: &&Figure| a.median.total_cmp(&b.median);
        let best = match self.better {
            Better::Less => figures.min_by(by_median),
            Better::More => figures.max_by(by_median),
        };
        let best = best.unwrap_or(figure);
        let equals = self
            .values
            .iter()
            .filter(|value| value.figure.overlaps(best));
        match (figure.overlaps(best), equals.count()) {
            (true, 1) => "best".to_owned(),
            (true, _) => "no difference".to_owned(),
            (false, _) => format!("{:.2} ×", figure.median / best.median),
        }
    }
}

impl Better {
    pub fn words(&self) -> &'static str {
        match self {
            Better::Less => "less is better",
            Better::More => "more is better",
        }
    }
}

/// Returns the table of a part for a terminal.
pub fn table(part: &Part, figures: &Figures) -> String {
    let mut table = Table::new();
    table
        .load_style(UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(100);
    let heads = part
        .columns
        .iter()
        .map(|column| format!("{}\n{}", column.head, column.better.words()));
    table.set_header(["".to_owned()].into_iter().chain(heads));
    for measured in &figures.contestants {
        let cells = part
            .columns
            .iter()
            .map(|column| match column.of(&measured.name) {
                Some(figure) if part.is_verdict => format!("{}\n{figure}", column.verdict(figure)),
                Some(figure) => figure.to_string().replace(" (", "\n").replace(')', ""),
                None => "–".to_owned(),
            });
        let cells: Vec<String> = cells.collect();
        if cells.iter().any(|cell| cell != "–") {
            table.add_row([measured.name.clone()].into_iter().chain(cells));
        }
    }
    for column in table.column_iter_mut().take(1) {
        column.set_constraint(ColumnConstraint::ContentWidth);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    format!("{}\n{table}\n", part.title)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::Measured;
    use crate::samples::read;

    /// Returns figures with these values of each driver's rounds.
    fn figures(name: &str, rounds: &[[f64; 3]]) -> Figures {
        let measured = rounds.iter().enumerate().map(|(place, rounds)| {
            let mut measured = Measured {
                name: place.to_string(),
                is_driver: true,
                ..Measured::default()
            };
            rounds.iter().for_each(|value| measured.add(name, *value));
            measured
        });
        Figures {
            contestants: measured.collect(),
            ..Figures::default()
        }
    }

    #[test]
    fn drivers_are_ranked_only_if_their_ranges_do_not_overlap() {
        let name = "workers_1.cpu_ms";
        let figures = figures(name, &[[4.0, 4.1, 4.2], [4.4, 4.2, 4.6], [8.2, 8.6, 8.1]]);
        let verdicts = |better| {
            let values = values(&figures, name, true);
            let column = Column {
                head: String::new(),
                better,
                values,
            };
            let figures = column.values.iter().map(|value| &value.figure);
            figures
                .map(|figure| column.verdict(figure))
                .collect::<Vec<_>>()
        };
        let less = verdicts(Better::Less);
        assert_eq!(less, ["no difference", "no difference", "2.00 ×"]);
        assert_eq!(verdicts(Better::More), ["0.50 ×", "0.54 ×", "best"]);
    }

    #[test]
    fn a_run_whose_rounds_differ_much_says_that_the_machine_was_busy() {
        let name = "workers_1.transfers_per_second";
        let steady = figures(name, &[[772.0, 760.0, 790.0]]);
        assert_eq!(steady.warning(), None);
        let mut busy = figures(name, &[[772.0, 760.0, 790.0], [772.0, 319.0, 760.0]]);
        busy.load_before = "11.06".to_owned();
        let warning = busy.warning().unwrap();
        assert!(
            warning.contains("busy: its load was 11.06 before"),
            "{warning}"
        );
        assert!(
            warning.ends_with("between the rounds: 1 760 (319–772)."),
            "{warning}"
        );
    }

    #[test]
    fn the_table_of_the_drivers_page_shows_the_committed_figures() {
        let figures = Figures::from_json(&read("examples/compare/figures.json").unwrap()).unwrap();
        assert_eq!(figures.warning(), None);
        let page = read("examples/README.md").unwrap();
        let (server, date) = (figures.server.name(), &figures.server.date);
        let mut expected = vec![format!("{server}, {date}, {}", figures.machine)];
        let columns = parts(&figures).unwrap().remove(0).columns;
        for measured in figures.contestants.iter().filter(|one| one.is_driver) {
            let trips = |name: &str| measured.figures[&format!("round_trips.{name}")].median;
            let mut row = format!("({}/README.md) | ", measured.name);
            row += &format!("{} / {} |", trips("connect"), trips("further"));
            for column in &columns {
                let figure = column.of(&measured.name).unwrap();
                row += &format!(" {}: {figure} |", column.verdict(figure));
            }
            expected.push(row);
        }
        // A text may be broken into lines.
        let page = page.split_whitespace().collect::<Vec<_>>().join(" ");
        let missing: Vec<_> = expected
            .iter()
            .filter(|text| !page.contains(*text))
            .collect();
        assert!(missing.is_empty(), "not on the page: {missing:#?}");
    }
}
