//! The verdict, with all figures and with some of them missing.

use crdb_compare::chart::charts;
use crdb_compare::figures::{Contention, Cost, Distance, Figures, Measured, OneWorker, RoundTrips};
use crdb_compare::server::Server;
use crdb_compare::verdict::verdict;

fn measured(name: &str, round_trips: u64, p50_ms: f64, is_driver: bool) -> Measured {
    let distance = |round_trip_ms: u64| Distance {
        round_trip_ms,
        transfer_p50_ms: (round_trips * round_trip_ms) as f64 + p50_ms,
    };
    Measured {
        name: name.to_owned(),
        round_trips: Some(RoundTrips {
            connect: Some(6),
            transfer_first: Some(round_trips),
            transfer_steady: round_trips,
            transfer_retried_once: None,
        }),
        one_worker: Some(OneWorker {
            connect_ms: 9.0,
            transfers_per_second: 1000.0 / p50_ms,
            p50_ms,
            p95_ms: 2.0 * p50_ms,
            p99_ms: 3.0 * p50_ms,
            max_ms: 4.0 * p50_ms,
        }),
        contention: Some(Contention {
            transfers_per_second: 1000.0 / p50_ms,
            retries_per_transfer: 0.25,
            p50_ms: 2.0 * p50_ms,
            p99_ms: 20.0 * p50_ms,
            balances_conserved: true,
        }),
        distance: vec![distance(1), distance(50)],
        cost: is_driver.then_some(Cost {
            crates: None,
            sample_lines: 300,
            build_seconds: None,
            binary_bytes: None,
        }),
    }
}

fn figures(contestants: Vec<Measured>) -> Figures {
    Figures {
        server: Server {
            version: "CockroachDB CCL v25.2.1".to_owned(),
            node: None,
            live_nodes: None,
        },
        host: "localhost:26257".to_owned(),
        machine: "linux".to_owned(),
        versions: Vec::new(),
        rounds: 3,
        workers: 8,
        left_out: Vec::new(),
        contestants,
    }
}

fn four_drivers() -> Vec<Measured> {
    let mut pgbench = measured("pgbench", 5, 0.5, false);
    let trips = pgbench.round_trips.as_mut().unwrap();
    (trips.connect, trips.transfer_first) = (None, None);
    pgbench.contention = None;
    pgbench.distance.clear();
    vec![
        measured("postgres", 5, 1.0, true),
        measured("tokio-postgres", 4, 1.25, true),
        measured("diesel", 5, 1.0, true),
        measured("sea-orm", 8, 2.0, true),
        measured("one statement", 1, 0.25, false),
        pgbench,
    ]
}

#[test]
fn the_verdict_names_the_fastest_and_the_slowest_driver() {
    assert_eq!(
        verdict(&figures(four_drivers())),
        [
            "At 50 ms distance a transfer takes 201 ms with tokio-postgres (4 round trips: 200 of the 201 ms) \
             and 402 ms with sea-orm (8 round trips: 400 of the 402 ms); as one statement, 50.2 ms.",
            "With one worker on this machine, the median transfer takes 1 ms with postgres or diesel and \
             2 ms with sea-orm; pgbench takes 0.50 ms.",
            "With 8 workers on four accounts, the transfers per second are 1000 with postgres or diesel (0.25 \
             retries per transfer, p99 20 ms) and 500 with sea-orm (0.25 retries per transfer, p99 40 ms). The balances \
             added up afterwards.",
        ]
    );
}

#[test]
fn drivers_with_the_same_figures_are_named_together() {
    let mut alike = four_drivers();
    alike.retain(|one| ["postgres", "diesel"].contains(&one.name.as_str()));
    assert_eq!(
        verdict(&figures(alike))[0],
        "At 50 ms distance a transfer takes 251 ms with postgres or diesel (5 round trips: 250 of the 251 ms)."
    );
}

#[test]
fn the_verdict_claims_nothing_without_a_figure() {
    // Not on this machine: no round trips, no distance; and no pgbench.
    let mut away = four_drivers();
    away.truncate(1);
    away[0].distance.clear();
    away[0].round_trips = None;
    assert_eq!(
        verdict(&figures(away.clone())),
        [
            "With one worker on this machine, the median transfer takes 1 ms with postgres.",
            "With 8 workers on four accounts, the transfers per second are 1000 with postgres (0.25 retries \
             per transfer, p99 20 ms). The balances added up afterwards.",
        ]
    );
    assert_eq!(charts(&figures(away)).len(), 2);

    // A driver that sends a round trip in the background waits for less than it sends.
    let mut background = four_drivers();
    background.truncate(1);
    background[0].distance[1].transfer_p50_ms = 202.0;
    assert_eq!(
        verdict(&figures(background))[0],
        "At 50 ms distance a transfer takes 202 ms with postgres (5 round trips)."
    );

    assert!(verdict(&figures(Vec::new())).is_empty());
    let mut lost = four_drivers();
    lost[3].contention.as_mut().unwrap().balances_conserved = false;
    let sentences = verdict(&figures(lost));
    assert!(sentences[2].ends_with("THE BALANCES DID NOT ADD UP AFTERWARDS."));
}

#[test]
fn four_drivers_and_the_yardsticks_fill_four_charts() {
    let charts = charts(&figures(four_drivers()));
    let bars: Vec<Vec<usize>> = charts
        .iter()
        .map(|chart| chart.groups.iter().map(|group| group.bars.len()).collect())
        .collect();
    assert_eq!(bars, [vec![5, 5, 6], vec![5, 5], vec![6; 3], vec![5; 3]]);
    for bar in charts
        .iter()
        .flat_map(|chart| &chart.groups)
        .flat_map(|group| &group.bars)
    {
        assert!(
            (0.0..=1.0).contains(&bar.share),
            "{} {}",
            bar.name,
            bar.share
        );
        let yardstick = ["one statement", "pgbench"].contains(&bar.name.as_str());
        assert_eq!(bar.colour.is_none(), yardstick, "{}", bar.name);
    }
}
