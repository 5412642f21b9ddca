//! One direction of a faulty byte stream in virtual time.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::machine::Timestamp;

use super::rng::Rng;

/// One direction of a stream: in order, nothing lost before the break, cut anywhere.
#[derive(Clone, Debug)]
pub struct Link {
    segments: VecDeque<(Timestamp, Vec<u8>)>,
    /// Longest delay of a segment, in microseconds.
    max_delay: u64,
    /// Longest segment, in bytes. At least 1.
    max_segment: usize,
    ended: bool,
    end_told: bool,
}

impl Link {
    /// A link that cuts what it carries into segments of 1 to `max_segment` bytes, each delayed by up to
    /// `max_delay` microseconds.
    pub const fn new(max_delay: u64, max_segment: usize) -> Self {
        Self { segments: VecDeque::new(), max_delay, max_segment, ended: false, end_told: false }
    }

    /// Takes all of `bytes`, unless the stream has ended.
    pub fn send(&mut self, bytes: &mut Vec<u8>, now: Timestamp, rng: &mut Rng) {
        let mut taken = core::mem::take(bytes);
        while !taken.is_empty() && !self.ended {
            let longest = self.max_segment.clamp(1, taken.len());
            let length = usize::try_from(rng.below(longest as u64)).unwrap_or(0).saturating_add(1);
            let rest = taken.split_off(length.min(taken.len()));
            let delay = core::time::Duration::from_micros(rng.below(self.max_delay.saturating_add(1)));
            // Segments of a stream do not overtake each other.
            let at = self.segments.back().map_or(now, |(last, _)| (*last).max(now)).max(now.after(delay));
            self.segments.push_back((at, taken));
            taken = rest;
        }
    }

    /// When the next segment arrives.
    pub fn next_arrival(&self) -> Option<Timestamp> {
        self.segments.front().map(|(at, _)| *at)
    }

    /// The next segment, if it has arrived.
    pub fn receive(&mut self, now: Timestamp) -> Option<Vec<u8>> {
        match self.segments.front() {
            Some((at, _)) if *at <= now => self.segments.pop_front().map(|(_, bytes)| bytes),
            _ => None,
        }
    }

    /// Bytes under way.
    pub fn queued(&self) -> usize {
        self.segments.iter().map(|(_, bytes)| bytes.len()).sum()
    }

    /// Whether nothing more is taken.
    pub const fn has_ended(&self) -> bool {
        self.ended
    }

    /// Ends the stream behind what is under way.
    pub const fn end(&mut self) {
        self.ended = true;
    }

    /// Ends the stream and loses what is under way.
    pub fn sever(&mut self) {
        self.segments.clear();
        self.ended = true;
    }

    /// Whether the end of the stream is there to be told.
    pub fn is_at_end(&self) -> bool {
        self.ended && self.segments.is_empty() && !self.end_told
    }

    /// The end of the stream, told once, behind the last segment.
    pub fn receive_end(&mut self) -> bool {
        let now = self.is_at_end();
        self.end_told |= now;
        now
    }
}
