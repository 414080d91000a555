//! The report: one HTML file that needs no network.

use anyhow::Result;
use askama::Template;

use crate::figures::Figures;
use crate::parts::Part;
use crate::samples::{FILES, read};

#[derive(Template)]
#[template(path = "report.html")]
struct Report<'a> {
    figures: &'a Figures,
    drivers: Vec<&'a str>,
    parts: &'a [Part],
    /// The title of each of the samples' files, and its version of each driver.
    topics: Vec<(&'a str, Vec<Sample>)>,
}

/// A file of a driver's package.
struct Sample {
    driver: String,
    path: String,
    text: String,
}

impl Sample {
    /// Returns the lines with their ends.
    fn lines(&self) -> impl Iterator<Item = &str> {
        self.text.split_inclusive('\n')
    }
}

pub fn render(figures: &Figures, parts: &[Part]) -> Result<String> {
    let drivers: Vec<&str> = figures.drivers().collect();
    let mut topics = Vec::new();
    for (title, file) in FILES {
        let sample = |driver: &&str| -> Result<Sample> {
            let path = format!("examples/{driver}/{file}");
            Ok(Sample {
                driver: driver.to_string(),
                text: read(&path)?,
                path,
            })
        };
        let samples = drivers.iter().map(sample).collect::<Result<_>>()?;
        topics.push((title, samples));
    }
    let report = Report {
        figures,
        drivers,
        parts,
        topics,
    };
    Ok(report.render()?)
}
