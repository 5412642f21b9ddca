//! The steps, in the order in which they are shown.

mod calm;
mod failure;
mod verdicts;

pub use calm::{cancellation, pause_and_resume};
pub use failure::{drain, kill, reconnection};
pub use verdicts::verdicts;

use std::error::Error;

use dialback::wire::RequestHeaders;

pub type Outcome = Result<(), Box<dyn Error>>;

/// An event for the slow agent.
fn slowly(id: impl Into<String>, uri: &str) -> RequestHeaders {
    RequestHeaders::new(id.into(), "GET", uri)
}
