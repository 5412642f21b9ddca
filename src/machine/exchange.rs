//! One event and its answer: the life of an exchange, decided by one total table.
//!
//! ```text
//! queued --> in flight --> answered
//!   |            |--> abandoned (timed out | cancelled) --> its answer comes, dropped
//!   |            '--> lost (connection closed)
//!   '--> refused | expired | cancelled | lost          (nothing was ever written)
//! ```

use core::fmt;

use crate::wire::CancelReason;

/// Names an exchange within one connection.
///
/// Whoever drives a machine hands the ids out and never uses one twice on a connection. The
/// machine refuses an id that is still live. Ids order the waiting events: the smallest goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExchangeId(pub u64);

impl fmt::Display for ExchangeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// Where a live exchange stands on the proxy's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Admitted, and not a byte of it written.
    Queued,
    /// Its event is on the wire and a caller waits for the answer.
    InFlight,
    /// Its event is on the wire, its caller has had an end, its answer is still owed.
    Abandoned,
}

impl Stage {
    /// Every stage, in the order of a life.
    pub const ALL: [Self; 3] = [Self::Queued, Self::InFlight, Self::Abandoned];
}

/// What can happen to a live exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fact {
    /// Its event was handed to the transport.
    Written,
    /// Its answer arrived.
    Answered,
    /// Its deadline passed.
    DeadlinePassed,
    /// Its caller gave it up, by call or by going away.
    Cancelled,
    /// The connection began to drain.
    DrainBegan,
    /// The connection closed.
    Closed,
}

impl Fact {
    /// Every fact.
    pub const ALL: [Self; 6] = [
        Self::Written,
        Self::Answered,
        Self::DeadlinePassed,
        Self::Cancelled,
        Self::DrainBegan,
        Self::Closed,
    ];
}

/// How an exchange ended, as its caller is told, without the answer itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum End {
    /// The agent answered.
    Answered,
    /// The deadline passed before the event was written.
    Expired,
    /// The deadline passed while the agent had the event.
    TimedOut,
    /// The caller gave it up.
    Cancelled,
    /// The connection began to drain before the event was written.
    Refused,
    /// The connection closed first.
    Lost,
}

impl End {
    /// Every end.
    pub const ALL: [Self; 6] =
        [Self::Answered, Self::Expired, Self::TimedOut, Self::Cancelled, Self::Refused, Self::Lost];
}

/// What becomes of an exchange, and what is to be done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// The fact changes nothing for an exchange at this stage.
    Stay,
    /// The event goes out; the exchange is in flight.
    Write,
    /// The exchange is over; its caller is told.
    Finish(End),
    /// The caller is told, one Cancel is written, the entry stays until the owed answer comes.
    Abandon(End),
    /// The owed answer has come, or never will; the entry goes and nobody is told again.
    Forget,
    /// An answer to an event that was never written: the agent's mistake, nothing changes.
    Stray,
}

/// The life of an exchange (P1, P2, P6): total over every stage and fact, and the only place
/// where an end is decided.
// Rule: X-ONCE-2.
pub const fn step(stage: Stage, fact: Fact) -> Step {
    match stage {
        Stage::Queued => match fact {
            Fact::Written => Step::Write,
            Fact::Answered => Step::Stray,
            Fact::DeadlinePassed => Step::Finish(End::Expired),
            Fact::Cancelled => Step::Finish(End::Cancelled),
            Fact::DrainBegan => Step::Finish(End::Refused),
            Fact::Closed => Step::Finish(End::Lost),
        },
        Stage::InFlight => match fact {
            Fact::Written | Fact::DrainBegan => Step::Stay,
            Fact::Answered => Step::Finish(End::Answered),
            Fact::DeadlinePassed => Step::Abandon(End::TimedOut),
            Fact::Cancelled => Step::Abandon(End::Cancelled),
            Fact::Closed => Step::Finish(End::Lost),
        },
        Stage::Abandoned => match fact {
            Fact::Written | Fact::DeadlinePassed | Fact::Cancelled | Fact::DrainBegan => Step::Stay,
            Fact::Answered | Fact::Closed => Step::Forget,
        },
    }
}

/// How an exchange ended, told to its caller exactly once (P1).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Ending<P> {
    /// The agent answered; this is the answer's payload.
    Answered(P),
    /// The deadline passed while the event waited; nothing was written.
    Expired,
    /// The deadline passed while the agent had the event; one Cancel was written.
    TimedOut,
    /// It was given up. `written` says whether the agent ever saw the event.
    Cancelled {
        /// Why.
        reason: CancelReason,
        /// Whether the event had been written, and a Cancel with it.
        written: bool,
    },
    /// The connection began to drain while the event waited; nothing was written.
    Refused,
    /// The connection closed first. `written` says whether the agent may have seen the event.
    Lost {
        /// Whether the event had been written.
        written: bool,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    // Rule: X-ONCE-2.
    fn a_caller_is_told_at_most_once_along_every_path() {
        // From each stage, follow every pair of facts and count the ends told.
        for first in Fact::ALL {
            for second in Fact::ALL {
                for stage in Stage::ALL {
                    let already = matches!(stage, Stage::Abandoned);
                    let mut told = usize::from(already);
                    let mut live = Some(stage);
                    for fact in [first, second] {
                        let Some(stage) = live else { continue };
                        live = match step(stage, fact) {
                            Step::Stay | Step::Stray => Some(stage),
                            Step::Write => Some(Stage::InFlight),
                            Step::Finish(_) => {
                                told += 1;
                                None
                            }
                            Step::Abandon(_) => {
                                told += 1;
                                Some(Stage::Abandoned)
                            }
                            Step::Forget => None,
                        };
                    }
                    assert!(told <= 1, "{stage:?} {first:?} {second:?}");
                }
            }
        }
    }

    #[test]
    fn closing_ends_every_stage() {
        for stage in Stage::ALL {
            assert!(matches!(step(stage, Fact::Closed), Step::Finish(End::Lost) | Step::Forget));
        }
    }
}
