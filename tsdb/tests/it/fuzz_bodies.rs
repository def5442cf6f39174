//! The bodies of the fuzz targets over seeded bytes and over what fuzzers found worth keeping.
//!
//! `FUZZ_RUNS` in the environment says how many seeds each body gets.

use std::path::Path;

use tsdb::internals::fuzz::{Body, TARGETS};

/// Returns every target.
fn targets() -> Vec<(&'static str, Body)> {
    let targets = TARGETS.iter().copied();
    #[cfg(feature = "remote-write")]
    let targets = targets.chain(tsdb::internals::fuzz::REMOTE_TARGETS.iter().copied());
    targets.collect()
}

/// Seeds of each body unless the environment says otherwise.
const RUNS: u64 = 300;

/// Returns bytes of a length that depends on the seed; half of them lean to small numbers, as inputs of formats do.
fn bytes(seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        // splitmix64
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    };
    let len = next() % (1 << (next() % 10));
    let leans = next().is_multiple_of(2);
    let mut byte = || {
        let bits = next();
        if leans && !bits.is_multiple_of(4) {
            (bits >> 8 & 7) as u8
        } else {
            (bits >> 8) as u8
        }
    };
    (0..len).map(|_| byte()).collect()
}

#[expect(
    clippy::disallowed_methods,
    reason = "seeds lie on the real disk, in the sources"
)]
fn run(name: &str) {
    let (_, body) = targets()
        .into_iter()
        .find(|(known, _)| *known == name)
        .expect("a target of this name");
    let survives = |bytes: &[u8]| std::panic::catch_unwind(|| body(bytes)).is_ok();
    let runs = std::env::var("FUZZ_RUNS")
        .map_or(RUNS, |runs| runs.parse().expect("FUZZ_RUNS is a number"));
    for seed in 0..runs {
        assert!(survives(&bytes(seed)), "{name} fails for seed {seed}");
    }
    let kept = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../fuzz/seeds")
        .join(name);
    for file in std::fs::read_dir(kept).into_iter().flatten() {
        let path = file.expect("a directory can be listed to its end").path();
        let bytes = std::fs::read(&path).expect("a file that is listed");
        assert!(survives(&bytes), "{name} fails for {}", path.display());
    }
}

/// Declares a test for each body, so that they run side by side.
macro_rules! bodies {
    ($targets:path: $($name:ident)*) => {
        $(#[test]
        fn $name() {
            crate::fuzz_bodies::run(stringify!($name));
        })*

        #[test]
        fn every_target_has_a_test() {
            let tested = [$(stringify!($name)),*];
            assert!($targets.iter().map(|(name, _)| *name).eq(tested));
        }
    };
}

bodies!(TARGETS: gorilla dense column row piece frame log series_store index block tombstones checkpoint selector lone_file operations);

#[cfg(feature = "remote-write")]
mod remote {
    bodies!(tsdb::internals::fuzz::REMOTE_TARGETS: write_request write_body read_request);
}
