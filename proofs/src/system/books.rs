//! What callers, applications and the wire have seen: kept by the observer, never asked of a machine.
//!
//! Every method takes note of one observation and says which property it breaks, if it breaks one.

use std::collections::VecDeque;

use dialback::machine::Ending;
use dialback::testing::{Property, Violated, demand};
use dialback::wire::EventKind;

use crate::scenario::Planned;

use super::sight::{Sight, Sights};

/// Payload of an answer to an event that nobody looked at.
pub const UNSEEN: u8 = 0xee;
/// Payload of whatever the adversary puts in.
pub const FOREIGN: u8 = 0xff;

/// How a caller was told the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Told {
    /// With its answer.
    Answered,
    /// Its deadline passed and nothing had been written.
    Expired,
    /// Its deadline passed while the agent had it.
    TimedOut,
    /// It was given up; whether it had been written.
    Cancelled(bool),
    /// A drain began before it was written.
    Refused,
    /// The connection ended; whether it had been written.
    Lost(bool),
}

impl Told {
    const fn of(ending: &Ending<u8>) -> Self {
        match ending {
            Ending::Answered(_) => Self::Answered,
            Ending::Expired => Self::Expired,
            Ending::TimedOut => Self::TimedOut,
            Ending::Cancelled { written, .. } => Self::Cancelled(*written),
            Ending::Refused => Self::Refused,
            Ending::Lost { written } => Self::Lost(*written),
        }
    }

    /// Whether the event must have been written for this end.
    const fn written(self) -> bool {
        match self {
            Self::Answered | Self::TimedOut => true,
            Self::Expired | Self::Refused => false,
            Self::Cancelled(written) | Self::Lost(written) => written,
        }
    }

    /// Whether the caller went away while the agent had the event.
    const fn is_abandonment(self) -> bool {
        match self {
            Self::TimedOut => true,
            Self::Cancelled(written) => written,
            Self::Answered | Self::Expired | Self::Refused | Self::Lost(_) => false,
        }
    }
}

/// How far an event has come at the agent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AtAgent {
    /// It has not come.
    #[default]
    No,
    /// It has been read.
    Arrived,
    /// It was cancelled before its turn: nobody may see it any more.
    Skipped,
    /// The application has it.
    Delivered,
    /// The application has it, and was told that nobody waits.
    Told,
    /// Its answer has been made.
    Done,
}

/// One exchange.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Entry {
    /// The request it belongs to.
    pub lane: u8,
    /// Whether it is that request's last word.
    pub last_word: bool,
    /// It was taken.
    pub admitted: bool,
    /// Its event went into the stream.
    pub written: bool,
    /// How its caller was told the end.
    pub told: Option<Told>,
    /// Cancels written for it.
    pub cancels: u8,
    /// How far it has come at the agent.
    pub at_agent: AtAgent,
    /// An answer that counts as its own has reached the proxy.
    pub resolved: bool,
}

/// One side's life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Life {
    /// It was told that the handshake is done.
    pub opened: bool,
    /// It was told the end.
    pub closed: bool,
    /// Handshake frames it has written.
    pub handshakes: u8,
}

/// What the agent has said about flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Said {
    /// The connection is paused.
    pub paused: bool,
    /// Lanes that are paused, a bit each.
    pub lanes: u8,
    /// The capacity announced last.
    pub capacity: Option<u8>,
}

/// All of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Books {
    /// By number of the plan.
    pub entries: Vec<Entry>,
    /// Planned events submitted so far.
    pub submitted: u8,
    /// The proxy's side.
    pub proxy: Life,
    /// The agent's side.
    pub agent: Life,
    /// What the agent has put into the stream about flow.
    pub sent: Said,
    /// What of it has reached the proxy.
    pub heard: Said,
    /// Whether the proxy has begun to drain.
    pub draining: bool,
    /// Pings that reached the proxy and await its pong.
    pub pings_at_proxy: VecDeque<u8>,
    /// Pings that reached the agent and await its pong.
    pub pings_at_agent: VecDeque<u8>,
    /// Frames that the adversary may still put in.
    pub budget: u8,
    /// Whether a forged answer or Cancel has been put in: from there on the agent's answers need not be what they seem.
    pub forged: bool,
}

impl Books {
    pub(super) fn new(plan: &[Planned], budget: u8) -> Self {
        let entry = |planned: &Planned| Entry {
            lane: planned.lane,
            last_word: planned.kind == EventKind::RequestComplete,
            ..Entry::default()
        };
        Self {
            entries: plan.iter().map(entry).collect(),
            submitted: 0,
            proxy: Life::default(),
            agent: Life::default(),
            sent: Said::default(),
            heard: Said::default(),
            draining: false,
            pings_at_proxy: VecDeque::new(),
            pings_at_agent: VecDeque::new(),
            budget,
            forged: false,
        }
    }

    /// The numbers of those for which `wanted` holds.
    fn numbers(&self, wanted: impl Fn(&Entry) -> bool) -> impl Iterator<Item = u8> {
        (0u8..).zip(&self.entries).filter(move |(_, entry)| wanted(entry)).map(|(number, _)| number)
    }

    /// Exchanges whose caller has not been told.
    pub fn untold(&self) -> impl Iterator<Item = u8> {
        self.numbers(|entry| entry.admitted && entry.told.is_none())
    }

    /// Events on the wire whose answer has not reached the proxy.
    #[must_use]
    pub fn unresolved(&self) -> usize {
        self.entries.iter().filter(|entry| entry.written && !entry.resolved).count()
    }

    /// Exchanges that were taken, not written and not told.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.entries.iter().filter(|entry| entry.admitted && !entry.written && entry.told.is_none()).count()
    }

    pub(super) fn entry(&mut self, number: u8) -> Result<&mut Entry, Violated> {
        self.entries.get_mut(usize::from(number)).ok_or_else(|| Violated {
            property: Property::P2,
            detail: format!("event {number} was never planned"),
        })
    }

    // ---- the proxy's application ----

    pub(super) fn admitted(&mut self, number: u8) -> Result<(), Violated> {
        let (life, draining) = (self.proxy, self.draining);
        demand(life.opened && !life.closed, Property::P7, || format!("{number} taken while not open"))?;
        demand(!draining, Property::P9, || format!("{number} taken while draining"))?;
        self.entry(number)?.admitted = true;
        self.submitted += 1;
        Ok(())
    }

    pub(super) fn ended(
        &mut self,
        number: u8,
        ending: &Ending<u8>,
        sights: &mut Sights,
    ) -> Result<(), Violated> {
        let closed = self.proxy.closed;
        demand(!closed, Property::P8, || format!("{number} ended behind the close"))?;
        let forged = self.forged;
        let entry = self.entry(number)?;
        demand(entry.admitted && entry.told.is_none(), Property::P1, || {
            format!("{number} told {ending:?} after {:?}", entry.told)
        })?;
        if let Ending::Answered(payload) = ending {
            demand(*payload == number || forged, Property::P2, || {
                format!("{number} was given the answer to {payload}")
            })?;
            demand(entry.resolved, Property::P2, || format!("{number} answered out of thin air"))?;
        }
        let told = Told::of(ending);
        demand(entry.written == told.written(), Property::P1, || {
            format!("{number} told {told:?}, but written is {}", entry.written)
        })?;
        entry.told = Some(told);
        let gone = !entry.written || told == Told::Answered;
        self.forget_request(number, gone);
        sights.add(Sight::of_told(told));
        Ok(())
    }

    pub(super) fn proxy_closed(&mut self) -> Result<(), Violated> {
        demand(!self.proxy.closed, Property::P8, || "the proxy closed twice".to_string())?;
        self.proxy.closed = true;
        let left: Vec<u8> = self.untold().collect();
        demand(left.is_empty(), Property::P1, || format!("{left:?} untold at the close"))
    }

    // ---- what the proxy writes ----

    pub(super) fn event_written(&mut self, number: u8, exact: bool, limit: u32) -> Result<(), Violated> {
        let lane = self.entry(number)?.lane;
        demand(self.proxy.opened, Property::P7, || format!("{number} written before the handshake"))?;
        demand(!self.draining, Property::P9, || format!("{number} written while draining"))?;
        let paused = self.heard.paused || self.heard.lanes & (1 << lane) != 0;
        demand(!paused, Property::P5, || format!("{number} written while paused"))?;
        let window = self.heard.capacity.map_or(limit, |capacity| limit.min(u32::from(capacity)));
        let in_flight = self.unresolved();
        demand(in_flight < window as usize, Property::P4, || {
            format!("{number} written with {in_flight} in flight of {window}")
        })?;
        for (other, entry) in (0u8..).zip(&self.entries) {
            if entry.lane != lane || other == number {
                continue;
            }
            let overtaken = other < number && entry.admitted && !entry.written && entry.told.is_none();
            demand(!overtaken, Property::P3, || format!("{number} overtook {other}"))?;
            demand(exact || !entry.written || entry.resolved, Property::P2, || {
                format!("{number} written while {other} of its id is unanswered")
            })?;
        }
        let entry = self.entry(number)?;
        demand(entry.admitted && !entry.written, Property::P1, || {
            format!("{number} written twice or untaken")
        })?;
        demand(entry.told.is_none(), Property::P1, || format!("{number} written after its end"))?;
        entry.written = true;
        Ok(())
    }

    /// `number`: the exchange that the Cancel names, or the last of its lane that was written.
    pub(super) fn cancel_written(&mut self, number: Option<u8>) -> Result<(), Violated> {
        let closed = self.proxy.closed;
        let Some(number) = number else {
            return demand(false, Property::P6, || "a Cancel for what was never written".to_string());
        };
        let entry = self.entry(number)?;
        demand(entry.written, Property::P6, || format!("a Cancel for {number}, which was not written"))?;
        let due =
            entry.told.is_some_and(|told| told.is_abandonment() || (closed && told == Told::Lost(true)));
        demand(due, Property::P6, || format!("a Cancel for {number}, told {:?}", entry.told))?;
        entry.cancels += 1;
        demand(entry.cancels == 1, Property::P6, || format!("two Cancels for {number}"))
    }

    // ---- what reaches the proxy ----

    /// An answer was read that counts as that of `number`, if of any.
    pub(super) fn answer_arrived(
        &mut self,
        number: Option<u8>,
        payload: u8,
        sights: &mut Sights,
    ) -> Result<(), Violated> {
        self.forged |= payload == FOREIGN && number.is_some();
        let Some(number) = number else {
            sights.add(Sight::StrayAnswer);
            return Ok(());
        };
        let entry = self.entry(number)?;
        entry.resolved = true;
        let late = entry.told.is_some();
        if late {
            sights.add(Sight::LateAnswer);
        }
        self.forget_request(number, late);
        Ok(())
    }

    /// With a request's last word goes what the agent said of the request.
    fn forget_request(&mut self, number: u8, gone: bool) {
        if let Some(entry) = self.entries.get(usize::from(number))
            && gone
            && entry.last_word
        {
            self.heard.lanes &= !(1 << entry.lane);
        }
    }

    /// Which exchange an answer belongs to that names these.
    #[must_use]
    pub fn find(&self, exact: bool, lane: Option<u8>, exchange: Option<u8>) -> Option<u8> {
        let mut open = self.numbers(|entry| entry.written && !entry.resolved);
        let of = |number: &u8| self.entries.get(usize::from(*number)).map(|entry| entry.lane);
        open.find(|number| {
            if exact {
                Some(*number) == exchange && (lane.is_none() || lane == of(number))
            } else {
                lane.is_some() && lane == of(number)
            }
        })
    }

    /// The event of a lane that was written last.
    #[must_use]
    pub fn last_written(&self, lane: u8) -> Option<u8> {
        self.numbers(|entry| entry.written && entry.lane == lane).last()
    }

    // ---- the agent ----

    pub(super) fn delivered(&mut self, number: u8) -> Result<(), Violated> {
        let lane = self.entry(number)?.lane;
        for (other, entry) in (0u8..).zip(&self.entries) {
            let before = entry.lane == lane && other < number && entry.written;
            let over = matches!(entry.at_agent, AtAgent::Done | AtAgent::Skipped);
            demand(!before || over, Property::P3, || {
                format!("{number} given out before {other} of its id was answered")
            })?;
        }
        let entry = self.entry(number)?;
        demand(entry.at_agent == AtAgent::Arrived, Property::P3, || {
            format!("{number} given out at {:?}", entry.at_agent)
        })?;
        entry.at_agent = AtAgent::Delivered;
        Ok(())
    }

    /// A Cancel was read: what it names is skipped if nobody has seen it.
    pub(super) fn cancel_arrived(&mut self, lane: u8, exchange: Option<u8>) {
        for (number, entry) in (0u8..).zip(&mut self.entries) {
            let named = entry.lane == lane && exchange.is_none_or(|exchange| exchange == number);
            if named && entry.at_agent == AtAgent::Arrived {
                entry.at_agent = AtAgent::Skipped;
            }
        }
    }

    /// The least possible answer was written, to what was skipped.
    pub(super) fn answered_unseen(&mut self, lane: u8, exchange: Option<u8>) -> Result<(), Violated> {
        let mut skipped = self.numbers(|entry| entry.lane == lane && entry.at_agent == AtAgent::Skipped);
        let Some(number) = skipped.find(|number| exchange.is_none_or(|exchange| exchange == *number)) else {
            drop(skipped);
            return demand(false, Property::P3, || format!("an answer for nobody in lane {lane}"));
        };
        drop(skipped);
        self.entry(number)?.at_agent = AtAgent::Done;
        Ok(())
    }

    pub(super) fn told_cancelled(&mut self, number: u8) -> Result<(), Violated> {
        let entry = self.entry(number)?;
        demand(entry.at_agent == AtAgent::Delivered, Property::P6, || {
            format!("the application was told of the Cancel of {number} at {:?}", entry.at_agent)
        })?;
        entry.at_agent = AtAgent::Told;
        Ok(())
    }

    pub(super) fn agent_closed(&mut self) -> Result<(), Violated> {
        demand(!self.agent.closed, Property::P8, || "the agent closed twice".to_string())?;
        self.agent.closed = true;
        Ok(())
    }

    /// A handshake frame was written. There is one from each side, and none before it.
    pub(super) fn handshake_written(life: &mut Life, who: &str) -> Result<(), Violated> {
        life.handshakes += 1;
        demand(life.handshakes == 1, Property::P7, || format!("the {who} wrote two handshakes"))
    }
}
