//! Arithmetic that stands inside the machines, for checks that give it every word there is.

use core::num::NonZeroU32;

use crate::machine::Histogram;
use crate::machine::flow::{Flow, Room};
use crate::wire::{FlowAction, FrameError, encoder};

/// The length field for a payload of so many bytes.
///
/// # Errors
///
/// [`FrameError::TooLarge`].
pub fn header_length(payload: usize, limit: u32) -> Result<u32, FrameError> {
    encoder::header_length(payload, limit)
}

/// The window that follows from the three limits, and whether it has room beside `in_flight` events.
pub fn window(
    limit: u32,
    stated: Option<NonZeroU32>,
    announced: Option<u64>,
    in_flight: usize,
) -> (u32, bool) {
    let mut flow = Flow::new(limit, stated, 0);
    if let Some(buffer_available) = announced {
        flow.handle_connection_signal(FlowAction::UpdateCapacity { buffer_available });
    }
    (flow.window(), flow.room(in_flight) == Room::Some)
}

/// The bucket of a histogram that counts so many microseconds.
pub fn bucket_of(micros: u64) -> usize {
    Histogram::bucket_of(micros)
}
