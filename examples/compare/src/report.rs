//! The report: one HTML file that needs no network.

use anyhow::Result;
use askama::Template;
use syntect::highlighting::ThemeSet;
use syntect::html::{ClassStyle, ClassedHTMLGenerator, css_for_theme_with_class_style};
use syntect::parsing::SyntaxSet;
use syntect::util::LinesWithEndings;

use crate::figures::Figures;
use crate::parts::{Part, parts};
use crate::samples::{FILES, read};

#[derive(Template)]
#[template(path = "report.html")]
struct Report<'a> {
    figures: &'a Figures,
    drivers: Vec<&'a str>,
    parts: Vec<Part>,
    /// The title of each of the samples' files, and its version of each driver.
    topics: Vec<(&'a str, Vec<Sample>)>,
    light: String,
    dark: String,
}

/// A file of a driver's package.
struct Sample {
    driver: String,
    path: String,
    highlighted: String,
}

const STYLE: ClassStyle = ClassStyle::SpacedPrefixed { prefix: "hl-" };

pub fn render(figures: &Figures) -> Result<String> {
    let syntaxes = SyntaxSet::load_defaults_newlines();
    let themes = ThemeSet::load_defaults().themes;
    let css = |theme: &str| css_for_theme_with_class_style(&themes[theme], STYLE);
    let all = figures.contestants.iter().filter(|one| one.is_driver);
    let drivers: Vec<&str> = all.map(|one| one.name.as_str()).collect();
    let mut topics = Vec::new();
    for (title, file) in FILES {
        let sample = |driver: &&str| -> Result<Sample> {
            let path = format!("examples/{driver}/{file}");
            Ok(Sample {
                driver: driver.to_string(),
                highlighted: highlight(&read(&path)?, &syntaxes)?,
                path,
            })
        };
        let samples = drivers.iter().map(sample).collect::<Result<_>>()?;
        topics.push((title, samples));
    }
    let report = Report {
        figures,
        drivers,
        parts: parts(figures),
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
