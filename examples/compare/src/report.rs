//! The report: one HTML file that needs no network.

use anyhow::Result;
use askama::Template;
use syntect::highlighting::ThemeSet;
use syntect::html::{ClassStyle, ClassedHTMLGenerator, css_for_theme_with_class_style};
use syntect::parsing::SyntaxSet;
use syntect::util::LinesWithEndings;

use crate::chart::{Chart, charts};
use crate::cost::{FILES, source};
use crate::figures::Figures;
use crate::tables::{Table, tables};
use crate::verdict::verdict;

#[derive(Template)]
#[template(path = "report.html")]
struct Report<'a> {
    figures: &'a Figures,
    verdict: Vec<String>,
    drivers: Vec<&'a str>,
    charts: Vec<Chart>,
    tables: Vec<Table>,
    topics: Vec<Topic<'a>>,
    light: String,
    dark: String,
}

/// One of the samples' files, in the version of each driver.
struct Topic<'a> {
    title: &'static str,
    columns: Vec<Column<'a>>,
}

struct Column<'a> {
    driver: &'a str,
    path: String,
    highlighted: String,
}

const STYLE: ClassStyle = ClassStyle::SpacedPrefixed { prefix: "hl-" };

/// Renders the report.
///
/// # Errors
///
/// Returns an error if a sample's source cannot be read.
pub fn render(figures: &Figures) -> Result<String> {
    let syntaxes = SyntaxSet::load_defaults_newlines();
    let themes = ThemeSet::load_defaults().themes;
    let css = |theme: &str| match themes.get(theme) {
        Some(theme) => css_for_theme_with_class_style(theme, STYLE),
        None => Ok(String::new()),
    };
    let drivers: Vec<&str> = figures
        .contestants
        .iter()
        .filter(|measured| measured.is_driver())
        .map(|measured| measured.name.as_str())
        .collect();
    let mut topics = Vec::new();
    for (title, file) in FILES {
        let mut columns = Vec::new();
        for driver in drivers.iter().copied() {
            let text = source(driver, file)?;
            let path = format!("examples/{driver}/{file}");
            columns.push(Column {
                driver,
                path,
                highlighted: highlight(&text, &syntaxes)?,
            });
        }
        topics.push(Topic { title, columns });
    }
    let report = Report {
        figures,
        verdict: verdict(figures),
        drivers,
        charts: charts(figures),
        tables: tables(figures),
        topics,
        light: css("InspiredGitHub")?,
        dark: css("base16-ocean.dark")?,
    };
    Ok(report.render()?)
}

fn highlight(text: &str, syntaxes: &SyntaxSet) -> Result<String> {
    let rust = syntaxes
        .find_syntax_by_extension("rs")
        .unwrap_or_else(|| syntaxes.find_syntax_plain_text());
    let mut generator = ClassedHTMLGenerator::new_with_class_style(rust, syntaxes, STYLE);
    for line in LinesWithEndings::from(text) {
        generator.parse_html_for_line_which_includes_newline(line)?;
    }
    Ok(generator.finalize())
}
