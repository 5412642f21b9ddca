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

/// What an outbox must know of a frame.
pub(crate) trait Weigh {
    /// Bytes of payload it holds.
    fn weight(&self) -> usize;
    /// Whether it counts towards the limit on pongs.
    fn is_pong(&self) -> bool;
}

/// Frames that go out in order, whatever the flow control says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Outbox<F> {
    frames: VecDeque<F>,
    pongs: usize,
    /// Sum of the frames' weights.
    bytes: usize,
}

impl<F> Outbox<F> {
    pub(crate) const fn new() -> Self {
        Self { frames: VecDeque::new(), pongs: 0, bytes: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.frames.len()
    }

    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn any(&self, wanted: fn(&F) -> bool) -> bool {
        self.frames.iter().any(wanted)
    }
}

impl<F: Weigh> Outbox<F> {
    pub(crate) fn push(&mut self, frame: F) {
        self.bytes = self.bytes.saturating_add(frame.weight());
        self.pongs = self.pongs.saturating_add(usize::from(frame.is_pong()));
        self.frames.push_back(frame);
    }

    /// Queues the pong to a ping (P12), unless the peer asks for more than we hold.
    // Rule: C-PING-2.
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
        self.push(frame(payload));
        Ok(())
    }

    pub(crate) fn pop(&mut self) -> Option<F> {
        let frame = self.frames.pop_front()?;
        self.bytes = self.bytes.saturating_sub(frame.weight());
        self.pongs = self.pongs.saturating_sub(usize::from(frame.is_pong()));
        Some(frame)
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Byte(u8);

    impl Weigh for Byte {
        fn weight(&self) -> usize {
            1
        }

        fn is_pong(&self) -> bool {
            self.0 == b'p'
        }
    }

    #[test]
    // Rule: C-PING-2.
    fn what_goes_in_comes_out_and_is_counted() {
        let limits = ControlLimits { pongs: 1, ping_payload: 1, ..ControlLimits::default() };
        let mut outbox = Outbox::new();
        outbox.push(Byte(b'a'));
        assert_eq!(outbox.push_pong(b'p', limits, Byte), Ok(()));
        assert_eq!(outbox.push_pong(b'p', limits, Byte), Err(Violation::PingFlood { limit: 1 }));
        assert_eq!((outbox.len(), outbox.bytes()), (2, 2));
        assert_eq!(outbox.pop().map(|byte| byte.0), Some(b'a'));
        assert_eq!(outbox.pop().map(|byte| byte.0), Some(b'p'));
        assert_eq!(outbox.push_pong(b'p', limits, Byte), Ok(()));
        outbox.clear();
        assert_eq!((outbox.len(), outbox.bytes()), (0, 0));
        let long = outbox.push_pong(alloc::vec![0, 0], limits, |_| Byte(b'p'));
        assert_eq!(long, Err(Violation::OversizePing { length: 2, limit: 1 }));
    }

    #[test]
    // Rule: C-PING-2.
    fn a_payload_as_long_as_allowed_is_echoed() {
        let limits = ControlLimits { ping_payload: 2, ..ControlLimits::default() };
        let mut outbox = Outbox::new();
        assert_eq!(outbox.push_pong(alloc::vec![0, 0], limits, |_| Byte(b'p')), Ok(()));
        assert!(outbox.any(|byte| byte.0 == b'p') && !outbox.any(|byte| byte.0 == b'x'));
    }
}
