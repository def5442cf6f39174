//! Random lives of a database, compared with the model.
//!
//! `TSDB_MODEL_SEED=7 TSDB_MODEL_RUNS=1` leads one life, a larger number of runs a longer search.

use tsdb::testing::{Simulation, SimulationOptions};

/// Operations of one life.
const STEPS: usize = 250;

/// Lives of a run of the test suite.
const RUNS: u64 = 150;

#[test]
fn random_lives_agree_with_the_model() {
    let number = |name: &str, default| {
        std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
    };
    let first = number("TSDB_MODEL_SEED", 1);
    let runs = number("TSDB_MODEL_RUNS", RUNS);
    let mut failed = Vec::new();
    for seed in first..first + runs {
        if let Err(difference) = live(seed) {
            println!(
                "seed {seed}, {:?}: {difference}",
                SimulationOptions::draw(seed)
            );
            failed.push(seed);
        }
    }
    assert!(
        failed.is_empty(),
        "{} of {runs} lives differ from the model: seeds {failed:?}",
        failed.len()
    );
}

fn live(seed: u64) -> Result<(), String> {
    let mut simulation =
        Simulation::new(seed, SimulationOptions::draw(seed)).map_err(|error| error.to_string())?;
    (0..STEPS).try_for_each(|_| simulation.step())
}
