// What every target is made of: under a fuzzer its loop, otherwise a program that replays files.

/// Makes a target of the body with this name.
macro_rules! target {
    ($name:ident) => {
        #[cfg(fuzzing)]
        libfuzzer_sys::fuzz_target!(|data: &[u8]| tsdb::internals::fuzz::$name(data));

        #[cfg(not(fuzzing))]
        fn main() -> std::io::Result<()> {
            for path in std::env::args_os().skip(1) {
                tsdb::internals::fuzz::$name(&std::fs::read(path)?);
            }
            Ok(())
        }
    };
}
