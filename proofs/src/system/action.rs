//! What can happen next in a system.

use crate::scenario::Injection;

/// One atomic happening. A machine is called at most once in each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    // What goes on by itself, as long as drivers, applications and transport do their part.
    /// The proxy's driver takes one frame and puts it into the stream; or ends the stream after the last.
    ProxyWrites,
    /// The agent's driver, likewise.
    AgentWrites,
    /// The agent reads one frame, or the end of the stream.
    AgentReads,
    /// The proxy reads one frame, or the end of the stream.
    ProxyReads,
    /// The accepting side's application says yes.
    Accept,
    /// The agent's application answers that event.
    Answer(u8),
    /// The agent takes back the pause of the connection.
    Resume,
    /// The agent takes back the pause of that lane.
    ResumeRequest(u8),
    /// The agent announces room again.
    Restore,
    /// The proxy's socket takes bytes again.
    Unstall,
    /// A unit of time passes, and both machines are told.
    Tick,

    // What callers do.
    /// The next planned event is submitted.
    Submit,
    /// That exchange is given up.
    Cancel(u8),
    /// That lane is given up.
    CancelRequest(u8),
    /// The proxy's application drains.
    DrainProxy,
    /// The agent's application drains.
    DrainAgent,
    /// The proxy's application closes.
    CloseProxy,
    /// The agent's application closes.
    CloseAgent,
    /// The accepting side's application says no.
    Reject,

    // What the adversary does.
    /// The transport breaks.
    Sever,
    /// The stream from the proxy ends behind what is in it.
    EndToAgent,
    /// The stream from the agent ends behind what is in it.
    EndToProxy,
    /// Too many bytes wait for the proxy's socket.
    Stall,
    /// A frame is put in.
    Inject(Injection),
}

impl Action {
    /// Whether it comes about sooner or later if it stays possible: no adversary, no caller is needed.
    /// What is left when no such action is possible any more is left for ever.
    #[must_use]
    pub const fn is_fair(self) -> bool {
        match self {
            Self::ProxyWrites
            | Self::AgentWrites
            | Self::AgentReads
            | Self::ProxyReads
            | Self::Accept
            | Self::Answer(_)
            | Self::Resume
            | Self::ResumeRequest(_)
            | Self::Restore
            | Self::Unstall
            | Self::Tick => true,
            Self::Submit
            | Self::Cancel(_)
            | Self::CancelRequest(_)
            | Self::DrainProxy
            | Self::DrainAgent
            | Self::CloseProxy
            | Self::CloseAgent
            | Self::Reject
            | Self::Sever
            | Self::EndToAgent
            | Self::EndToProxy
            | Self::Stall
            | Self::Inject(_) => false,
        }
    }
}
