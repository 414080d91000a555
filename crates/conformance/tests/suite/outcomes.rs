//! `run_transaction` tells truthfully what became of a transaction, and leaves the connection usable.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::world::{OpError, World, assert_usable, clusters, for_each_driver, operation};
use crdb_conformance::{Driver, Failed};
use crdb_local_cluster::{Cut, Kind};

for_each_driver!(
    what_a_transaction_wrote_is_there_when_it_is_done,
    a_cut_after_the_commit_was_sent_is_ambiguous_and_not_run_again,
    a_cut_before_the_commit_arrives_is_ambiguous_too,
    a_connection_that_is_lost_within_the_transaction_is_no_commit,
    a_connection_that_is_lost_before_the_retry_is_no_commit,
    an_error_of_the_server_is_passed_through_and_rolled_back,
    an_error_that_op_swallows_is_no_commit,
    the_callers_own_error_comes_back_typed_and_rolled_back,
    a_panic_goes_on_and_leaves_the_connection_usable,
    a_constraint_that_fails_at_commit_is_a_clear_rejection,
    an_answer_to_the_commit_that_leaves_it_open_is_ambiguous,
    a_transfer_that_is_refused_changes_nothing,
);

const ENTRIES: &str = "SELECT entry AS value FROM ledger ORDER BY entry";

fn what_a_transaction_wrote_is_there_when_it_is_done<D: Driver>() {
    for cluster in clusters() {
        let world = World::on(cluster);
        let mut driver = D::connect(&world.config).unwrap();
        driver
            .transact(D::default_pauses(), |txn| {
                txn.execute("INSERT INTO ledger VALUES (1)")
                    .map_err(OpError::Database)
            })
            .unwrap();
        driver.transfer_with_entry(2, 1, 2).unwrap();
        assert_eq!(world.read::<D>(ENTRIES), [1, 2]);
        assert_eq!(
            world.read::<D>("SELECT balance AS value FROM accounts ORDER BY id"),
            [99, 101]
        );
        assert_usable(&mut driver);
    }
}

/// SeaORM's RELEASE and COMMIT are two turns, and which of them commits depends on the server.
fn turn_that_commits<D: Driver>(kind: Kind) -> u64 {
    if D::NAME == "sea-orm" && kind == Kind::Postgres {
        2
    } else {
        1
    }
}

fn insert_and_cut<D: Driver>(world: &World, cut: Cut) -> (Result<(), Failed>, u32) {
    let mut driver = D::connect(&world.relayed).unwrap();
    let mut runs = 0;
    let result = driver.transact(D::default_pauses(), |txn| {
        runs += 1;
        txn.execute("INSERT INTO ledger VALUES (1)")
            .map_err(OpError::Database)?;
        world.relay.cut(cut);
        Ok::<_, OpError>(())
    });
    assert!(!world.relay.cut_is_pending());
    (result, runs)
}

fn a_cut_after_the_commit_was_sent_is_ambiguous_and_not_run_again<D: Driver>() {
    for cluster in clusters() {
        let world = World::on(cluster);
        let (result, runs) = insert_and_cut::<D>(
            &world,
            Cut::BeforeAnswer(turn_that_commits::<D>(cluster.kind())),
        );
        assert!(
            matches!(result, Err(Failed::AmbiguousCommit(_))),
            "{result:?}"
        );
        assert_eq!(runs, 1);
        assert_eq!(world.read::<D>(ENTRIES), [1], "here it was committed");
    }
}

fn a_cut_before_the_commit_arrives_is_ambiguous_too<D: Driver>() {
    for cluster in clusters() {
        let world = World::on(cluster);
        let (result, runs) = insert_and_cut::<D>(&world, Cut::BeforeTurn(1));
        assert!(
            matches!(result, Err(Failed::AmbiguousCommit(_))),
            "{result:?}"
        );
        assert_eq!(runs, 1);
        assert_eq!(
            world.read::<D>(ENTRIES),
            [0; 0],
            "here it was not committed"
        );
    }
}

fn a_connection_that_is_lost_within_the_transaction_is_no_commit<D: Driver>() {
    for cluster in clusters() {
        for cut in [Cut::BeforeTurn(1), Cut::BeforeAnswer(1)] {
            let world = World::on(cluster);
            let mut driver = D::connect(&world.relayed).unwrap();
            let mut runs = 0;
            let result = driver.transact(D::default_pauses(), |txn| {
                runs += 1;
                world.relay.cut(cut);
                txn.execute("INSERT INTO ledger VALUES (1)")
                    .map_err(OpError::Database)
            });
            assert!(matches!(
                operation(result.unwrap_err()),
                OpError::Database(_)
            ));
            assert_eq!(runs, 1);
            assert_eq!(world.read::<D>(ENTRIES), [0; 0]);
            // The connection is known to be broken: it says so, instead of pretending.
            let after = driver.transfer(1, 2, 1);
            assert_eq!(
                after.is_ok(),
                D::NAME == "sea-orm",
                "a pool has a new one: {after:?}"
            );
        }
    }
}

fn a_connection_that_is_lost_before_the_retry_is_no_commit<D: Driver>() {
    for cluster in clusters().filter(|cluster| cluster.kind() == Kind::Postgres) {
        let world = World::on(cluster);
        world.execute(
            "CREATE FUNCTION restart() RETURNS INT8 AS $$ BEGIN
                 RAISE EXCEPTION USING ERRCODE = '40001', MESSAGE = 'restart transaction: forced';
             END $$ LANGUAGE plpgsql",
        );
        let mut driver = D::connect(&world.relayed).unwrap();
        let result = driver.transact(D::default_pauses(), |txn| {
            world.relay.cut(Cut::BeforeTurn(2));
            txn.execute("SELECT restart()").map_err(OpError::Database)
        });
        assert!(matches!(result, Err(Failed::Database(_))), "{result:?}");
    }
}

fn an_error_of_the_server_is_passed_through_and_rolled_back<D: Driver>() {
    for cluster in clusters() {
        let world = World::on(cluster);
        let mut driver = D::connect(&world.config).unwrap();
        let mut runs = 0;
        let result = driver.transact(D::default_pauses(), |txn| {
            runs += 1;
            txn.execute("INSERT INTO ledger VALUES (1)")
                .map_err(OpError::Database)?;
            txn.execute("INSERT INTO ledger VALUES (1)")
                .map_err(OpError::Database)
        });
        assert!(matches!(
            operation(result.unwrap_err()),
            OpError::Database(_)
        ));
        assert_eq!(runs, 1);
        assert_eq!(world.read::<D>(ENTRIES), [0; 0]);
        assert_usable(&mut driver);
    }
}

fn an_error_that_op_swallows_is_no_commit<D: Driver>() {
    for cluster in clusters() {
        let world = World::on(cluster);
        let mut driver = D::connect(&world.config).unwrap();
        let result = driver.transact(D::default_pauses(), |txn| {
            txn.execute("INSERT INTO ledger VALUES (1)")
                .map_err(OpError::Database)?;
            let _ = txn.execute("SELECT no_such_column FROM ledger");
            Ok::<_, OpError>(())
        });
        assert!(matches!(result, Err(Failed::Database(_))), "{result:?}");
        assert_eq!(world.read::<D>(ENTRIES), [0; 0]);
        assert_usable(&mut driver);
    }
}

fn the_callers_own_error_comes_back_typed_and_rolled_back<D: Driver>() {
    for cluster in clusters() {
        let world = World::on(cluster);
        let mut driver = D::connect(&world.config).unwrap();
        let result = driver.transact(D::default_pauses(), |txn| {
            txn.execute("INSERT INTO ledger VALUES (1)")
                .map_err(OpError::Database)?;
            Err(OpError::Own)
        });
        assert!(matches!(operation(result.unwrap_err()), OpError::Own));
        assert_eq!(world.read::<D>(ENTRIES), [0; 0]);
        assert_usable(&mut driver);
    }
}

fn a_panic_goes_on_and_leaves_the_connection_usable<D: Driver>() {
    for cluster in clusters() {
        let world = World::on(cluster);
        let mut driver = D::connect(&world.config).unwrap();
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            driver.transact::<OpError>(D::default_pauses(), |txn| {
                txn.execute("INSERT INTO ledger VALUES (1)")
                    .map_err(OpError::Database)?;
                panic!("op's own panic");
            })
        }));
        let reason = *panicked.unwrap_err().downcast::<&str>().unwrap();
        assert_eq!(reason, "op's own panic");
        assert_usable(&mut driver);
        assert_eq!(world.read::<D>(ENTRIES), [0; 0]);
    }
}

/// CockroachDB has no deferred constraints.
fn a_constraint_that_fails_at_commit_is_a_clear_rejection<D: Driver>() {
    for cluster in clusters().filter(|cluster| cluster.kind() == Kind::Postgres) {
        let world = World::on(cluster);
        world.execute(
            "ALTER TABLE ledger ADD CONSTRAINT known FOREIGN KEY (entry) REFERENCES accounts \
             DEFERRABLE INITIALLY DEFERRED",
        );
        let mut driver = D::connect(&world.config).unwrap();
        let result = driver.transact(D::default_pauses(), |txn| {
            txn.execute("INSERT INTO ledger VALUES (77)")
                .map_err(OpError::Database)
        });
        assert!(matches!(result, Err(Failed::Database(_))), "{result:?}");
        assert_eq!(world.read::<D>(ENTRIES), [0; 0]);
        assert_usable(&mut driver);
    }
}

/// What CockroachDB answers when it does not know itself, and what servers say that are cancelled or going
/// down, raised by a trigger at COMMIT.
fn an_answer_to_the_commit_that_leaves_it_open_is_ambiguous<D: Driver>() {
    let answers = [
        ("40003", "result is ambiguous: unknown"),
        ("57014", "canceling statement due to user request"),
        (
            "57P01",
            "terminating connection due to administrator command",
        ),
    ];
    for cluster in clusters().filter(|cluster| cluster.kind() == Kind::Postgres) {
        for (code, message) in answers {
            let world = World::on(cluster);
            world.execute(&format!(
                "CREATE FUNCTION answer() RETURNS TRIGGER AS $$ BEGIN
                     RAISE EXCEPTION USING ERRCODE = '{code}', MESSAGE = '{message}';
                 END $$ LANGUAGE plpgsql;
                 CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON ledger DEFERRABLE INITIALLY DEFERRED
                 FOR EACH ROW EXECUTE FUNCTION answer()"
            ));
            let mut driver = D::connect(&world.config).unwrap();
            let mut runs = 0;
            let result = driver.transact(D::default_pauses(), |txn| {
                runs += 1;
                txn.execute("INSERT INTO ledger VALUES (1)")
                    .map_err(OpError::Database)
            });
            assert!(
                matches!(result, Err(Failed::AmbiguousCommit(_))),
                "{code}: {result:?}"
            );
            assert_eq!(runs, 1);
            assert_usable(&mut driver);
        }
    }
}

fn a_transfer_that_is_refused_changes_nothing<D: Driver>() {
    for cluster in clusters() {
        let world = World::on(cluster);
        let mut driver = D::connect(&world.config).unwrap();
        let cases = [
            (
                (1, 2, 101),
                "account 1 holds 100, which is not enough to transfer 101",
            ),
            ((9, 2, 1), "there is no account 9"),
            ((1, 9, 1), "there is no account 9"),
            (
                (1, 2, 0),
                "an amount to transfer must be positive, and 0 is not",
            ),
            (
                (1, 2, -5),
                "an amount to transfer must be positive, and -5 is not",
            ),
            ((1, 1, 5), "account 1 cannot transfer to itself"),
        ];
        for ((from, to, amount), sentence) in cases {
            let refused = driver.transfer(from, to, amount).unwrap_err();
            assert!(matches!(refused, Failed::Operation(_)), "{refused:?}");
            assert_eq!(refused.to_string(), sentence);
            assert_eq!(
                world.read::<D>("SELECT balance AS value FROM accounts ORDER BY id"),
                [100, 100]
            );
        }
        assert_usable(&mut driver);
    }
}
