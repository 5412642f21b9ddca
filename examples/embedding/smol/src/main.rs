//! The conversation over smol: `proxy CHILD` or `agent ADDRESS COUNT`.

mod driver;

use std::process::ExitCode;

fn main() -> ExitCode {
    conversation::main(driver::drive, driver::drive)
}
