//! Opening a connection: one offer, one decision, a deadline, and nothing else before it.
//!
//! Who dials sends the offer (0x01) and awaits the answer (0x02); who accepts awaits the offer
//! and decides. On a reverse connection the agent dials and its offer is the registration; on a
//! forward connection the proxy dials. Both roles run this one machine.
//!
//! ```text
//! accepter: awaiting offer --offer--> deciding --accepted--> open
//! dialer:   awaiting answer --accepted--> open
//! everything else, the deadline included --> closed
//! ```

use core::num::NonZeroU32;
use core::time::Duration;

use crate::wire::EventKind;

use super::closing::{CloseReason, Violation};
use super::time::Timestamp;

/// Where the handshake stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Accepter: the peer has sent nothing yet that counts.
    AwaitingOffer,
    /// Accepter: the offer is with the application.
    Deciding,
    /// Dialer: our offer is out.
    AwaitingAnswer,
}

impl Stage {
    /// Every stage.
    pub const ALL: [Self; 3] = [Self::AwaitingOffer, Self::Deciding, Self::AwaitingAnswer];
}

/// What can happen during a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Input {
    /// A HandshakeRequest that could be read.
    Offer,
    /// A HandshakeResponse that says yes.
    AnswerAccepts,
    /// A HandshakeResponse that says no.
    AnswerRefuses,
    /// Any other frame, known or unknown.
    OtherFrame,
    /// The application accepts the offer.
    Accept,
    /// The application rejects the offer.
    Reject,
    /// The deadline for the whole handshake passed.
    Deadline,
}

impl Input {
    /// Every input.
    pub const ALL: [Self; 7] = [
        Self::Offer,
        Self::AnswerAccepts,
        Self::AnswerRefuses,
        Self::OtherFrame,
        Self::Accept,
        Self::Reject,
        Self::Deadline,
    ];
}

/// What follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Hand the offer to the application.
    Decide,
    /// Answer yes and open.
    ReplyAndOpen,
    /// Answer no, with the application's words, and close.
    ReplyAndClose,
    /// The peer said yes: open.
    Open,
    /// The peer said no: close.
    Refused,
    /// The peer broke the rules: tell it so if it awaits an answer of ours, and close.
    Violation,
    /// Too slow: tell it so if it awaits an answer of ours, and close.
    TooSlow,
    /// The application decided where there is nothing to decide: an error for it alone.
    Misuse,
}

impl Step {
    /// Every step.
    pub const ALL: [Self; 8] = [
        Self::Decide,
        Self::ReplyAndOpen,
        Self::ReplyAndClose,
        Self::Open,
        Self::Refused,
        Self::Violation,
        Self::TooSlow,
        Self::Misuse,
    ];
}

/// The handshake's table (P7): total over every stage and input.
// Rule: H-ORDER-1.
pub const fn step(stage: Stage, input: Input) -> Step {
    match stage {
        Stage::AwaitingOffer => match input {
            Input::Offer => Step::Decide,
            Input::AnswerAccepts | Input::AnswerRefuses | Input::OtherFrame => Step::Violation,
            Input::Accept | Input::Reject => Step::Misuse,
            Input::Deadline => Step::TooSlow,
        },
        Stage::Deciding => match input {
            Input::Offer | Input::AnswerAccepts | Input::AnswerRefuses | Input::OtherFrame => Step::Violation,
            Input::Accept => Step::ReplyAndOpen,
            Input::Reject => Step::ReplyAndClose,
            Input::Deadline => Step::TooSlow,
        },
        Stage::AwaitingAnswer => match input {
            Input::AnswerAccepts => Step::Open,
            Input::AnswerRefuses => Step::Refused,
            Input::Offer | Input::OtherFrame => Step::Violation,
            Input::Accept | Input::Reject => Step::Misuse,
            Input::Deadline => Step::TooSlow,
        },
    }
}

/// A set of event kinds.
///
/// ```
/// use dialback::machine::EventSet;
/// use dialback::wire::EventKind;
///
/// let set: EventSet = [EventKind::RequestHeaders].into_iter().collect();
/// assert!(set.contains(EventKind::RequestHeaders));
/// assert!(!set.contains(EventKind::Configure));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventSet(u16);

impl EventSet {
    /// Every kind there is.
    pub fn all() -> Self {
        EventKind::ALL.into_iter().collect()
    }

    /// Whether `kind` is in the set.
    pub const fn contains(self, kind: EventKind) -> bool {
        self.0 & Self::bit(kind) != 0
    }

    /// The set with `kind` in it.
    #[must_use]
    pub const fn with(self, kind: EventKind) -> Self {
        Self(self.0 | Self::bit(kind))
    }

    const fn bit(kind: EventKind) -> u16 {
        1 << (kind as u16)
    }
}

impl FromIterator<EventKind> for EventSet {
    fn from_iter<I: IntoIterator<Item = EventKind>>(kinds: I) -> Self {
        kinds.into_iter().fold(Self::default(), Self::with)
    }
}

/// How answers find their events on this connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Matching {
    /// The agent says nothing about order: one unanswered event per correlation id at a time.
    OneAtATime,
    /// The agent echoes exchange ids: answers match exactly, events of one id are pipelined.
    ByExchangeId,
}

impl Matching {
    /// Both.
    pub const ALL: [Self; 2] = [Self::OneAtATime, Self::ByExchangeId];
}

/// What the handshake settled, as far as a proxy's machine needs to know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Terms {
    /// The concurrency that the agent stated, if it stated one.
    pub concurrency: Option<NonZeroU32>,
    /// How answers find their events.
    pub matching: Matching,
    /// Whether the agent wants to be told of cancellations.
    pub cancellation: bool,
    /// The events that the agent takes.
    pub events: EventSet,
}

/// A handshake in progress.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Opening<P> {
    position: Position<P>,
    began: Timestamp,
    limit: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Position<P> {
    AwaitingOffer,
    /// `None` once the application has fetched the offer.
    Deciding(Option<P>),
    AwaitingAnswer,
}

impl<P> Opening<P> {
    /// The side that was dialled.
    pub(crate) const fn accepter(limit: Duration, now: Timestamp) -> Self {
        Self { position: Position::AwaitingOffer, began: now, limit }
    }

    /// The side that dialled; its offer is on its way out.
    pub(crate) const fn dialer(limit: Duration, now: Timestamp) -> Self {
        Self { position: Position::AwaitingAnswer, began: now, limit }
    }

    pub(crate) const fn stage(&self) -> Stage {
        match self.position {
            Position::AwaitingOffer => Stage::AwaitingOffer,
            Position::Deciding(_) => Stage::Deciding,
            Position::AwaitingAnswer => Stage::AwaitingAnswer,
        }
    }

    pub(crate) const fn limit(&self) -> Duration {
        self.limit
    }

    // Rule: H-TIME-1.
    pub(crate) const fn deadline(&self) -> Timestamp {
        self.began.after(self.limit)
    }

    pub(crate) fn decide(&mut self, offer: P) {
        self.position = Position::Deciding(Some(offer));
    }

    /// The offer, the first time it is asked for.
    pub(crate) const fn take_offer(&mut self) -> Option<P> {
        match &mut self.position {
            Position::Deciding(offer) => offer.take(),
            Position::AwaitingOffer | Position::AwaitingAnswer => None,
        }
    }

    /// Whether the application may give this decision now.
    pub(crate) const fn decidable(&self, decision: Input) -> bool {
        match step(self.stage(), decision) {
            Step::ReplyAndOpen | Step::ReplyAndClose => true,
            Step::Decide | Step::Open | Step::Refused | Step::Violation | Step::TooSlow | Step::Misuse => {
                false
            }
        }
    }

    /// The rule that a frame breaks by coming now.
    pub(crate) const fn violation(&self, type_byte: u8) -> Violation {
        match self.position {
            Position::Deciding(_) => Violation::EarlyFrame(type_byte),
            Position::AwaitingOffer | Position::AwaitingAnswer => Violation::NotAHandshake(type_byte),
        }
    }

    /// Whether a handshake that ends for `reason` must still tell the dialer so. Every refusal
    /// carries its reason; one by the application carries the application's words already.
    // Rule: H-REFUSE-1.
    pub(crate) fn owes_refusal(&self, reason: &CloseReason) -> bool {
        let accepter = match self.position {
            Position::AwaitingOffer | Position::Deciding(_) => true,
            Position::AwaitingAnswer => false,
        };
        accepter && reason.flushes() && *reason != CloseReason::Rejected
    }
}

/// An offer that awaits this side's decision, and the right to decide it.
///
/// There is one per connection. It is accepted or rejected by value; dropping it leaves the
/// connection to its handshake deadline.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "an offer that is neither accepted nor rejected holds the connection until its deadline"]
pub struct Pending<P> {
    /// The offer as it came.
    pub offer: P,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    // Rule: H-ORDER-1.
    fn exactly_one_input_opens_each_side() {
        for stage in Stage::ALL {
            let opening = Input::ALL
                .into_iter()
                .filter(|input| matches!(step(stage, *input), Step::Open | Step::ReplyAndOpen))
                .count();
            assert_eq!(opening, usize::from(stage != Stage::AwaitingOffer), "{stage:?}");
        }
    }

    #[test]
    fn every_kind_has_its_own_bit() {
        let mut seen = EventSet::default();
        for kind in EventKind::ALL {
            assert!(!seen.contains(kind));
            seen = seen.with(kind);
        }
        assert_eq!(seen, EventSet::all());
    }

    #[test]
    fn the_numbers_of_an_opening() {
        let (limit, began) = (Duration::from_micros(7), Timestamp::from_micros(3));
        let mut opening = Opening::accepter(limit, began);
        assert_eq!((opening.limit(), opening.deadline()), (limit, Timestamp::from_micros(10)));
        assert_eq!(opening.take_offer(), None);
        assert_eq!(opening.violation(0x41), Violation::NotAHandshake(0x41));
        assert!(!opening.decidable(Input::Accept) && !opening.decidable(Input::Reject));
        opening.decide(5);
        assert_eq!(
            (opening.stage(), opening.take_offer(), opening.take_offer()),
            (Stage::Deciding, Some(5), None)
        );
        assert_eq!(opening.violation(0x41), Violation::EarlyFrame(0x41));
        assert!(opening.decidable(Input::Accept) && opening.decidable(Input::Reject));
        let dialer = Opening::<u8>::dialer(limit, began);
        assert_eq!(
            (dialer.stage(), dialer.violation(1)),
            (Stage::AwaitingAnswer, Violation::NotAHandshake(1))
        );
    }

    #[test]
    // Rule: H-REFUSE-1.
    fn who_dialled_is_told_why_unless_it_was_or_is_gone() {
        let accepter = Opening::<u8>::accepter(Duration::ZERO, Timestamp::ZERO);
        let dialer = Opening::<u8>::dialer(Duration::ZERO, Timestamp::ZERO);
        for (reason, owed) in [
            (CloseReason::HandshakeDeadline(Duration::ZERO), true),
            (CloseReason::Drained, true),
            (CloseReason::Rejected, false),
            (CloseReason::PeerClosed, false),
        ] {
            assert_eq!(accepter.owes_refusal(&reason), owed, "{reason}");
            assert!(!dialer.owes_refusal(&reason), "{reason}");
        }
    }

    #[test]
    fn a_kind_that_is_named_twice_is_in_the_set() {
        let set = EventSet::default().with(EventKind::Configure);
        assert_eq!(set.with(EventKind::Configure), set);
    }
}
