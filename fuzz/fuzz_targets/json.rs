#![no_main]

use dialback::testing::fuzz;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Err(failure) = fuzz::json(data) {
        panic!("{failure}");
    }
});
