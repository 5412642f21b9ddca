//! One conversation between a proxy and an agent, without any I/O: what the drivers beside it carry
//! over their sockets. [`Proxy`] and [`Agent`] are its two ends.

mod agent;
mod harness;
mod proxy;
pub mod words;

use dialback::machine::Timestamp;
use dialback::session::Session;

pub use agent::Agent;
pub use harness::{children, main};
pub use proxy::{Proxy, Script};

/// An application at one end of a connection, as a driver sees it.
pub trait Application: Send + 'static {
    /// The role it plays.
    type Session: Session + Send + 'static;

    /// The session of its connection.
    fn begin(&mut self, now: Timestamp) -> Self::Session;

    /// Acts on an event.
    fn handle_event(
        &mut self,
        event: <Self::Session as Session>::Event,
        session: &mut Self::Session,
        now: Timestamp,
    );

    /// When it wants to look at its session next, if nothing happens before.
    fn poll_timeout(&self) -> Option<Timestamp> {
        None
    }

    /// Looks at its session. Early calls change nothing.
    fn handle_timeout(&mut self, session: &mut Self::Session, now: Timestamp) {
        let _ = (session, now);
    }

    /// What became of the conversation.
    ///
    /// # Errors
    /// What went otherwise than it should have.
    fn verdict(&self) -> Result<(), String>;
}
