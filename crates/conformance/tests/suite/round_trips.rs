//! What a transfer costs in network round trips, counted on the wire.

use crate::world::{World, clusters, for_each_driver};
use crdb_conformance::Driver;

for_each_driver!(a_transfer_costs_what_the_documentation_says);

fn a_transfer_costs_what_the_documentation_says<D: Driver>() {
    let steady = match D::NAME {
        "postgres" | "diesel" => 5,
        "sea-orm" => 8,
        other => panic!("{other}"),
    };
    for cluster in clusters() {
        let world = World::on(cluster);
        let mut driver = D::connect(&world.relayed).unwrap();
        let mut costs = Vec::new();
        for transfer in 0..6 {
            let before = world.relay.round_trips();
            let (from, to) = if transfer % 2 == 0 { (1, 2) } else { (2, 1) };
            driver.transfer(from, to, 1).unwrap();
            // A pool takes its connection back, with a ping, when the transaction is over already.
            std::thread::sleep(std::time::Duration::from_millis(100));
            costs.push(world.relay.round_trips() - before);
        }
        println!("{} on {:?}: {costs:?}", D::NAME, cluster.kind());
        assert_eq!(costs[1..], [steady; 5]);
    }
}
