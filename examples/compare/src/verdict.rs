//! The verdict: the figures in a few sentences, for readers of one line.

use crate::figures::{Figures, Measured, RoundTrips, readable};

/// Returns the sentences that the figures support, the most important first. A sentence whose figures are
/// missing is left out.
pub fn verdict(figures: &Figures) -> Vec<String> {
    [
        at_distance(figures),
        one_worker(figures),
        contention(figures),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The transfer at the longest distance.
fn at_distance(figures: &Figures) -> Option<String> {
    let longest = |measured: &Measured| measured.distance.last().map(|one| one.transfer_p50_ms);
    let mut distances = figures.contestants.iter().map(|one| one.distance.last());
    let away_ms = distances.find_map(|one| one)?.round_trip_ms;
    let takes = extremes(figures, longest, |measured, ms| {
        let network = network_share(measured.round_trips.as_ref(), away_ms, ms);
        (format!("{} ms", readable(ms)), network)
    })?;
    let mut yardsticks = figures.contestants.iter().filter(|one| !one.is_driver());
    let yardstick = yardsticks.find_map(|one| {
        let ms = readable(longest(one)?);
        Some(format!("; as {}, {ms} ms", one.name))
    });
    Some(format!(
        "At {away_ms} ms distance a transfer takes {}{}.",
        takes.join(" and "),
        yardstick.unwrap_or_default()
    ))
}

/// The part of the time that goes to round trips over this distance. It is left out if it exceeds the
/// total: then the driver does not wait for all of its round trips.
fn network_share(trips: Option<&RoundTrips>, away_ms: u64, total_ms: f64) -> String {
    let Some(trips) = trips else {
        return String::new();
    };
    let count = trips.transfer_steady;
    let network_ms = count * away_ms;
    if network_ms as f64 <= total_ms {
        let total = readable(total_ms);
        format!(" ({count} round trips: {network_ms} of the {total} ms)")
    } else {
        format!(" ({count} round trips)")
    }
}

/// The transfer without added distance.
fn one_worker(figures: &Figures) -> Option<String> {
    let p50 = |measured: &Measured| measured.one_worker.as_ref().map(|one| one.p50_ms);
    let takes = extremes(figures, p50, |_, ms| {
        (format!("{} ms", readable(ms)), String::new())
    })?;
    let pgbench = figures.contestants.iter().find(|one| one.name == "pgbench");
    let pgbench = pgbench
        .and_then(p50)
        .map(|ms| format!("; pgbench takes {} ms", readable(ms)));
    Some(format!(
        "With one worker on this machine, the median transfer takes {}{}.",
        takes.join(" and "),
        pgbench.unwrap_or_default()
    ))
}

/// The transfers of several workers, and whether the balances add up.
fn contention(figures: &Figures) -> Option<String> {
    let rate = |measured: &Measured| Some(measured.contention.as_ref()?.transfers_per_second);
    let mut rates = extremes(figures, rate, |measured, rate| {
        let details = measured.contention.as_ref().map(|one| {
            let retries = readable(one.retries_per_transfer);
            let p99 = readable(one.p99_ms);
            format!(" ({retries} retries per transfer, p99 {p99} ms)")
        });
        (readable(rate), details.unwrap_or_default())
    })?;
    // The best first, as in the other sentences.
    rates.reverse();
    let mut all = figures
        .contestants
        .iter()
        .filter_map(|one| one.contention.as_ref());
    let balances = if all.all(|one| one.balances_conserved) {
        "The balances added up afterwards."
    } else {
        "THE BALANCES DID NOT ADD UP AFTERWARDS."
    };
    Some(format!(
        "With {} workers on four accounts, the transfers per second are {}. {balances}",
        figures.workers,
        rates.join(" and ")
    ))
}

/// Returns the smallest and the largest value of the drivers as `BEFORE with NAMES AFTER`, where `text`
/// gives what stands before and after. Drivers with the same text are named together, so the result is one
/// text if all drivers are alike.
fn extremes(
    figures: &Figures,
    value: impl Fn(&Measured) -> Option<f64>,
    text: impl Fn(&Measured, f64) -> (String, String),
) -> Option<Vec<String>> {
    let drivers: Vec<(&Measured, f64)> = figures
        .contestants
        .iter()
        .filter(|measured| measured.is_driver())
        .filter_map(|measured| Some((measured, value(measured)?)))
        .collect();
    let by_value = |one: &&(&Measured, f64), other: &&(&Measured, f64)| one.1.total_cmp(&other.1);
    let ends = [
        drivers.iter().min_by(by_value)?,
        drivers.iter().max_by(by_value)?,
    ];
    let mut texts = ends.map(|(end, value)| text(end, *value)).to_vec();
    texts.dedup();
    let named = texts.into_iter().map(|(before, after)| {
        let same = drivers
            .iter()
            .filter(|(driver, value)| text(driver, *value) == (before.clone(), after.clone()))
            .map(|(driver, _)| driver.name.as_str());
        let names: Vec<&str> = same.collect();
        format!("{before} with {}{after}", names.join(" or "))
    });
    Some(named.collect())
}
