//! What the two ends of the conversation have agreed on.

use std::time::Duration;

/// Answered when [`MEETING`] of them are there at once, and not before.
pub const MEET: &str = "/meet";
/// Blocked with status 403.
pub const BLOCK: &str = "/block";
/// Held until nobody waits for one of those that are held. Then all of them are answered.
pub const HOLD: &str = "/hold";
/// The agent's process ends at once, with [`DEATH`].
pub const DIE: &str = "/die";
/// Answered; then the agent drains.
pub const LEAVE: &str = "/leave";

/// Requests that have to meet.
pub const MEETING: usize = 4;
/// Unanswered events at which the agent asks for a pause.
pub const HIGH_MARK: usize = 8;
/// Unanswered events at which the agent takes events again.
pub const LOW_MARK: usize = 2;
/// Pieces of the body, which the agent turns into capitals.
pub const CHUNKS: u32 = 6;
/// Bytes of each.
pub const CHUNK: usize = 64 << 10;
/// The exit code of an agent that was told to die.
pub const DEATH: i32 = 42;
/// Time that suffices for everything that is to happen.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// Time for what is not to happen.
pub const IMPATIENCE: Duration = Duration::from_millis(50);
/// What the agent calls itself.
pub const AGENT: &str = "embedded";
