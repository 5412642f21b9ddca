//! What both roles' sessions have in common, for code that drives either.

use alloc::vec::Vec;

use crate::machine::{CloseReason, ConnectionState, Timestamp};

use super::{AgentSession, AgentSessionEvent, ProxySession, ProxySessionEvent};

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::ProxySession {}
    impl Sealed for super::AgentSession {}
}

/// A session of either role, as whoever drives it sees it. Sealed: [`ProxySession`] and
/// [`AgentSession`] are all there are.
///
/// Every method is the session's own of the same name, which says more.
///
/// ```
/// use dialback::machine::Timestamp;
/// use dialback::session::Session;
///
/// /// One turn of a driver that was woken and has read nothing.
/// fn turn<S: Session>(session: &mut S, out: &mut Vec<u8>, now: Timestamp) -> Vec<S::Event> {
///     session.handle_timeout(now);
///     session.poll_transmit(out);
///     std::iter::from_fn(|| session.poll_event()).collect()
/// }
/// ```
pub trait Session: sealed::Sealed {
    /// What it tells the application.
    type Event;

    /// Where the connection stands.
    fn state(&self) -> ConnectionState;
    /// Why the connection ended, once it has.
    fn close_reason(&self) -> Option<&CloseReason>;
    /// Whether the driver should read.
    fn wants_bytes(&self) -> bool;
    /// Takes what the socket gave: any cut of the peer's bytes.
    fn handle_bytes(&mut self, bytes: &[u8], now: Timestamp);
    /// The peer ended its half of the stream.
    fn handle_eof(&mut self);
    /// The transport failed.
    fn handle_transport_lost(&mut self);
    /// Time has passed. Early calls change nothing.
    fn handle_timeout(&mut self, now: Timestamp);
    /// When [`Self::handle_timeout`] should be called next, if nothing else happens.
    fn poll_timeout(&self) -> Option<Timestamp>;
    /// The next thing that happened.
    fn poll_event(&mut self) -> Option<Self::Event>;
    /// Appends to `out`, the bytes that the socket has not taken yet, what may be written now.
    /// Returns whether it appended anything.
    fn poll_transmit(&mut self, out: &mut Vec<u8>) -> bool;
}

macro_rules! sessions {
    ($($session:ty => $event:ty,)+) => {
        $(impl Session for $session {
            type Event = $event;

            fn state(&self) -> ConnectionState {
                <$session>::state(self)
            }
            fn close_reason(&self) -> Option<&CloseReason> {
                <$session>::close_reason(self)
            }
            fn wants_bytes(&self) -> bool {
                <$session>::wants_bytes(self)
            }
            fn handle_bytes(&mut self, bytes: &[u8], now: Timestamp) {
                <$session>::handle_bytes(self, bytes, now);
            }
            fn handle_eof(&mut self) {
                <$session>::handle_eof(self);
            }
            fn handle_transport_lost(&mut self) {
                <$session>::handle_transport_lost(self);
            }
            fn handle_timeout(&mut self, now: Timestamp) {
                <$session>::handle_timeout(self, now);
            }
            fn poll_timeout(&self) -> Option<Timestamp> {
                <$session>::poll_timeout(self)
            }
            fn poll_event(&mut self) -> Option<$event> {
                <$session>::poll_event(self)
            }
            fn poll_transmit(&mut self, out: &mut Vec<u8>) -> bool {
                <$session>::poll_transmit(self, out)
            }
        })+
    };
}

sessions! {
    ProxySession => ProxySessionEvent,
    AgentSession => AgentSessionEvent,
}
