//! May an event be written now? The window, the pause, the mark on unwritten bytes.

use alloc::collections::BTreeSet;
use core::num::NonZeroU32;

use crate::wire::{CorrelationId, FlowAction};

/// Whether the connection takes new events at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Serving {
    /// It does.
    Yes,
    /// It drains: what is in flight finishes, nothing more goes out.
    Draining,
}

impl Serving {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Yes, Self::Draining];
}

/// What the agent last said about the whole connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pause {
    /// Events are welcome.
    Running,
    /// No event until a resume.
    Paused,
}

impl Pause {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Running, Self::Paused];
}

/// Whether the window has room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Room {
    /// At least one more event fits.
    Some,
    /// As many unanswered events are on the wire as may be.
    None,
}

impl Room {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Some, Self::None];
}

/// How many bytes wait for the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Backlog {
    /// Fewer than the mark.
    Below,
    /// The mark or more: the peer reads slower than we write.
    Above,
}

impl Backlog {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Below, Self::Above];
}

/// Why no event may be written at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Shut {
    /// The connection drains.
    Draining,
    /// The agent paused the connection.
    Paused,
    /// The window is full.
    WindowFull,
    /// Too many bytes wait for the socket.
    Backlog,
    /// The agent paused this request.
    RequestPaused,
    /// An earlier event of this request is unanswered or waits.
    Behind,
}

impl Shut {
    /// Every reason.
    pub const ALL: [Self; 6] =
        [Self::Draining, Self::Paused, Self::WindowFull, Self::Backlog, Self::RequestPaused, Self::Behind];
}

/// The verdict on writing an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Gate {
    /// An event may be written.
    Open,
    /// None may, and this is the first reason in the order of the table.
    Shut(Shut),
}

/// The connection's gate (P4, P5, P9): total over everything that bears on it.
// Rule: F-PAUSE-1.
pub const fn gate(serving: Serving, pause: Pause, room: Room, backlog: Backlog) -> Gate {
    match (serving, pause, room, backlog) {
        (
            Serving::Draining,
            Pause::Running | Pause::Paused,
            Room::Some | Room::None,
            Backlog::Below | Backlog::Above,
        ) => Gate::Shut(Shut::Draining),
        (Serving::Yes, Pause::Paused, Room::Some | Room::None, Backlog::Below | Backlog::Above) => {
            Gate::Shut(Shut::Paused)
        }
        (Serving::Yes, Pause::Running, Room::None, Backlog::Below | Backlog::Above) => {
            Gate::Shut(Shut::WindowFull)
        }
        (Serving::Yes, Pause::Running, Room::Some, Backlog::Above) => Gate::Shut(Shut::Backlog),
        (Serving::Yes, Pause::Running, Room::Some, Backlog::Below) => Gate::Open,
    }
}

/// The agent sent more than it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooManyPaused;

/// What the agent has said about flow, and what follows from it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Flow {
    /// Our own limit on unanswered events.
    limit: u32,
    /// The concurrency stated in the handshake.
    stated: Option<NonZeroU32>,
    /// The capacity announced last.
    announced: Option<u64>,
    pause: Pause,
    paused_ids: BTreeSet<CorrelationId>,
    max_paused_ids: usize,
}

impl Flow {
    pub(crate) fn new(limit: u32, stated: Option<NonZeroU32>, max_paused_ids: usize) -> Self {
        Self {
            limit,
            stated,
            announced: None,
            pause: Pause::Running,
            paused_ids: BTreeSet::new(),
            max_paused_ids,
        }
    }

    /// Unanswered events that may be on the wire: the smallest of the three limits.
    // Rule: F-WINDOW-1.
    pub(crate) fn window(&self) -> u32 {
        let announced = self.announced.map_or(u32::MAX, |n| u32::try_from(n).unwrap_or(u32::MAX));
        self.limit.min(self.stated.map_or(u32::MAX, NonZeroU32::get)).min(announced)
    }

    pub(crate) fn room(&self, in_flight: usize) -> Room {
        if in_flight < self.window() as usize { Room::Some } else { Room::None }
    }

    pub(crate) const fn pause(&self) -> Pause {
        self.pause
    }

    pub(crate) fn is_paused_id(&self, id: &CorrelationId) -> bool {
        self.paused_ids.contains(id)
    }

    /// Takes what the agent said of the whole connection.
    // Rule: F-CAP-1.
    pub(crate) const fn handle_connection_signal(&mut self, action: FlowAction) {
        match action {
            FlowAction::Pause => self.pause = Pause::Paused,
            FlowAction::Resume => self.pause = Pause::Running,
            FlowAction::UpdateCapacity { buffer_available } => self.announced = Some(buffer_available),
        }
    }

    /// Takes what the agent said of one request. A capacity there says nothing about the window.
    // Rule: F-PAUSE-2.
    pub(crate) fn handle_request_signal(
        &mut self,
        id: &CorrelationId,
        action: FlowAction,
    ) -> Result<(), TooManyPaused> {
        match action {
            FlowAction::Pause if self.paused_ids.contains(id) => {}
            // The set is the agent's to fill, so it has a bound (P5 forbids forgetting one instead).
            FlowAction::Pause if self.paused_ids.len() >= self.max_paused_ids => return Err(TooManyPaused),
            FlowAction::Pause => {
                self.paused_ids.insert(id.clone());
            }
            FlowAction::Resume => {
                self.paused_ids.remove(id);
            }
            FlowAction::UpdateCapacity { .. } => {}
        }
        Ok(())
    }

    /// The request is over; what was said of it is forgotten.
    pub(crate) fn forget(&mut self, id: &CorrelationId) {
        self.paused_ids.remove(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    // Rule: F-WINDOW-1.
    fn the_window_is_the_smallest_limit() {
        let mut flow = Flow::new(8, NonZeroU32::new(4), 1);
        assert_eq!(flow.window(), 4);
        flow.handle_connection_signal(FlowAction::UpdateCapacity { buffer_available: 2 });
        assert_eq!(flow.window(), 2);
        flow.handle_connection_signal(FlowAction::UpdateCapacity { buffer_available: u64::MAX });
        assert_eq!(flow.window(), 4);
        assert_eq!(flow.room(4), Room::None);
        assert_eq!(flow.room(3), Room::Some);
    }

    #[test]
    fn only_one_combination_opens_the_gate() {
        let mut open = 0;
        for serving in [Serving::Yes, Serving::Draining] {
            for pause in [Pause::Running, Pause::Paused] {
                for room in [Room::Some, Room::None] {
                    for backlog in [Backlog::Below, Backlog::Above] {
                        open += usize::from(gate(serving, pause, room, backlog) == Gate::Open);
                    }
                }
            }
        }
        assert_eq!(open, 1);
    }

    #[test]
    // Rule: F-PAUSE-2.
    fn paused_requests_are_bounded() {
        let mut flow = Flow::new(8, None, 1);
        let (a, b) = (CorrelationId::from("a"), CorrelationId::from("b"));
        assert_eq!(flow.handle_request_signal(&a, FlowAction::Pause), Ok(()));
        assert_eq!(flow.handle_request_signal(&a, FlowAction::Pause), Ok(()));
        assert_eq!(flow.handle_request_signal(&b, FlowAction::Pause), Err(TooManyPaused));
        flow.forget(&a);
        assert_eq!(flow.handle_request_signal(&b, FlowAction::Pause), Ok(()));
    }

    #[test]
    // Rule: F-CAP-1, F-PAUSE-1, F-PAUSE-2.
    fn a_capacity_for_one_request_changes_nothing_and_a_signal_for_all_pauses_no_request() {
        let mut flow = Flow::new(8, None, 1);
        let a = CorrelationId::from("a");
        let before = flow.clone();
        let none = FlowAction::UpdateCapacity { buffer_available: 0 };
        assert_eq!(flow.handle_request_signal(&a, none), Ok(()));
        assert_eq!(flow, before);
        flow.handle_connection_signal(FlowAction::Pause);
        assert_eq!((flow.pause(), flow.is_paused_id(&a)), (Pause::Paused, false));
        flow.handle_connection_signal(FlowAction::Resume);
        assert_eq!(flow, before);
        flow.handle_request_signal(&a, FlowAction::Pause).unwrap();
        assert_eq!((flow.pause(), flow.is_paused_id(&a)), (Pause::Running, true));
        flow.handle_request_signal(&a, FlowAction::Resume).unwrap();
        assert_eq!(flow, before);
    }
}
