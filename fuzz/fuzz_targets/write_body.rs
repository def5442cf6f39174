#![cfg_attr(fuzzing, no_main)]

include!("target.rs");

target!(write_body);
