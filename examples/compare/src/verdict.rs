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
    let away = figures
        .contestants
        .iter()
        .find_map(|measured| measured.distance.last())?
        .round_trip_ms;
    let takes = |measured: &Measured, ms: f64| {
        format!(
            "{} ms with {}{}",
            readable(ms),
            measured.name,
            network_share(measured.round_trips.as_ref(), away, ms)
        )
    };
    let drivers = least_and_most(figures, longest)?;
    let mut sentence = format!(
        "At {away} ms distance a transfer takes {}",
        join(drivers, takes)
    );
    let yardstick = figures
        .contestants
        .iter()
        .filter(|measured| !measured.is_driver())
        .find_map(|measured| Some((measured, longest(measured)?)));
    if let Some((measured, ms)) = yardstick {
        sentence += &format!("; as {}, {} ms", measured.name, readable(ms));
    }
    Some(sentence + ".")
}

/// The part of the time that goes to round trips over this distance. It is left out if it exceeds the
/// total: then the driver does not wait for all of its round trips.
fn network_share(trips: Option<&RoundTrips>, away_ms: u64, total_ms: f64) -> String {
    trips.map_or_else(String::new, |trips| {
        let count = trips.transfer_steady;
        let network_ms = count * away_ms;
        if network_ms as f64 <= total_ms {
            let total = readable(total_ms);
            format!(" ({count} round trips: {network_ms} of the {total} ms)")
        } else {
            format!(" ({count} round trips)")
        }
    })
}

/// The transfer without added distance.
fn one_worker(figures: &Figures) -> Option<String> {
    let p50 = |measured: &Measured| measured.one_worker.as_ref().map(|one| one.p50_ms);
    let drivers = least_and_most(figures, p50)?;
    let takes = |measured: &Measured, ms| format!("{} ms with {}", readable(ms), measured.name);
    let pgbench = figures.contestants.iter().find(|one| one.name == "pgbench");
    let beside = pgbench.and_then(p50).map_or_else(String::new, |ms| {
        format!("; pgbench takes {} ms", readable(ms))
    });
    Some(format!(
        "With one worker on this machine, the median transfer takes {}{beside}.",
        join(drivers, takes)
    ))
}

/// The transfers of several workers, and whether they lost money.
fn contention(figures: &Figures) -> Option<String> {
    let rate = |measured: &Measured| Some(measured.contention.as_ref()?.transfers_per_second);
    let mut drivers = least_and_most(figures, rate)?;
    drivers.reverse();
    let makes = |measured: &Measured, rate| {
        let details = measured.contention.as_ref().map(|one| {
            let retries = readable(one.retries_per_transfer);
            let p99 = readable(one.p99_ms);
            format!(" ({retries} retries per transfer, p99 {p99} ms)")
        });
        let details = details.unwrap_or_default();
        format!("{} with {}{details}", readable(rate), measured.name)
    };
    let conserved = figures
        .contestants
        .iter()
        .filter_map(|measured| measured.contention.as_ref())
        .all(|one| one.balances_conserved);
    let balances = if conserved {
        "The balances added up afterwards."
    } else {
        "THE BALANCES DID NOT ADD UP AFTERWARDS."
    };
    Some(format!(
        "With {} workers on four accounts, the transfers per second are {}. {balances}",
        figures.workers,
        join(drivers, makes)
    ))
}

/// Returns the drivers with the smallest and the largest value; one driver if there is only one.
fn least_and_most(
    figures: &Figures,
    value: impl Fn(&Measured) -> Option<f64>,
) -> Option<Vec<(&Measured, f64)>> {
    let mut drivers: Vec<(&Measured, f64)> = figures
        .contestants
        .iter()
        .filter(|measured| measured.is_driver())
        .filter_map(|measured| Some((measured, value(measured)?)))
        .collect();
    drivers.sort_by(|(_, one), (_, other)| one.total_cmp(other));
    match drivers.as_slice() {
        [] => None,
        [only] => Some(vec![*only]),
        [least, .., most] => Some(vec![*least, *most]),
    }
}

fn join(drivers: Vec<(&Measured, f64)>, text: impl Fn(&Measured, f64) -> String) -> String {
    let texts: Vec<String> = drivers
        .into_iter()
        .map(|(measured, value)| text(measured, value))
        .collect();
    texts.join(" and ")
}
