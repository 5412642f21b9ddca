//! Frames that need no gate and wait to be written: handshakes, cancels, pings, pongs.

use alloc::collections::VecDeque;

use super::Payload;
use super::closing::Violation;

/// Limits on what a peer can make us hold for the sake of control frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ControlLimits {
    /// Unwritten pongs. Default 32. Past this the peer floods us and the connection is closed.
    pub pongs: usize,
    /// Bytes of a ping's payload that are echoed. Default 4,096.
    pub ping_payload: usize,
    /// Bytes of a correlation id. Default 256.
    pub correlation_id: usize,
    /// Requests paused one by one at the same time. Default 1,024.
    pub paused_requests: usize,
}

impl Default for ControlLimits {
    fn default() -> Self {
        Self { pongs: 32, ping_payload: 4_096, correlation_id: 256, paused_requests: 1_024 }
    }
}

/// Frames that go out in order, whatever the flow control says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Outbox<F> {
    frames: VecDeque<F>,
    pongs: usize,
}

impl<F> Outbox<F> {
    pub(crate) const fn new() -> Self {
        Self { frames: VecDeque::new(), pongs: 0 }
    }

    pub(crate) fn push(&mut self, frame: F) {
        self.frames.push_back(frame);
    }

    /// Queues the pong to a ping (P12), unless the peer asks for more than we hold.
    pub(crate) fn push_pong<P: Payload>(
        &mut self,
        payload: P,
        limits: ControlLimits,
        frame: fn(P) -> F,
    ) -> Result<(), Violation> {
        let length = payload.size();
        if length > limits.ping_payload {
            return Err(Violation::OversizePing { length, limit: limits.ping_payload });
        }
        if self.pongs >= limits.pongs {
            return Err(Violation::PingFlood { limit: limits.pongs });
        }
        self.pongs = self.pongs.saturating_add(1);
        self.frames.push_back(frame(payload));
        Ok(())
    }

    pub(crate) fn pop(&mut self, is_pong: fn(&F) -> bool) -> Option<F> {
        let frame = self.frames.pop_front()?;
        if is_pong(&frame) {
            self.pongs = self.pongs.saturating_sub(1);
        }
        Some(frame)
    }

    pub(crate) fn clear(&mut self) {
        self.frames.clear();
        self.pongs = 0;
    }
}
