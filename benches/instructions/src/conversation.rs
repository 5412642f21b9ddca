//! The conversations. Each can be held any number of times; nothing in them depends on a clock, a
//! random number or the machine.

use std::hint::black_box;
use std::time::Duration;

use dialback::wire::{CancelReason, Event};

use crate::common::event::{chunk, headers, id};
use crate::common::joined::{Joined, Setup};

/// Requests in flight at once, where it is more than one.
const WINDOW: usize = 64;
/// Pieces of 4 KiB in a body.
const CHUNKS: u32 = 8;

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conversation {
    /// Nobody talks: the event is made, and dropped, as in the others.
    EventAlone,
    /// A request's headers are asked about and allowed, one request after the other.
    OneAtATime,
    /// 64 requests are written, then answered.
    Pipelined,
    /// The same, with exchange ids.
    PipelinedByExchange,
    /// The same by the proxy's session alone; the agent's answers were made without one.
    ProxyAlone,
    /// A request's headers, then its body in pieces.
    Body,
    /// A request in flight is cancelled, and its late answer comes.
    Cancelled,
    /// 64 requests are not answered in time; their late answers come.
    TimedOut,
}

impl Conversation {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::EventAlone,
        Self::OneAtATime,
        Self::Pipelined,
        Self::PipelinedByExchange,
        Self::ProxyAlone,
        Self::Body,
        Self::Cancelled,
        Self::TimedOut,
    ];

    /// Its name in the file of kept counts.
    pub const fn name(self) -> &'static str {
        match self {
            Self::EventAlone => "event-alone",
            Self::OneAtATime => "one-at-a-time",
            Self::Pipelined => "pipelined-64",
            Self::PipelinedByExchange => "pipelined-64-exchange-ids",
            Self::ProxyAlone => "proxy-alone-64",
            Self::Body => "body-8-chunks",
            Self::Cancelled => "cancelled",
            Self::TimedOut => "timed-out-64",
        }
    }

    /// How many requests it is about.
    pub const fn requests(self) -> usize {
        match self {
            Self::EventAlone | Self::OneAtATime | Self::Body | Self::Cancelled => 1,
            Self::Pipelined | Self::PipelinedByExchange | Self::ProxyAlone | Self::TimedOut => WINDOW,
        }
    }

    /// Sets the two sessions up and holds the conversation so many times.
    pub fn hold(self, times: usize) {
        let setup = Setup { exchange_ids: self == Self::PipelinedByExchange, ..Setup::default() };
        let mut joined = Joined::open(&setup);
        for time in 0..times {
            let ids: Vec<String> = (0..self.requests()).map(|n| id(time * self.requests() + n)).collect();
            self.hold_once(&mut joined, &ids);
            assert_eq!(
                (joined.proxy.in_flight(), joined.agent.unanswered()),
                (0, 0),
                "{self:?}: all is said"
            );
        }
    }

    fn hold_once(self, joined: &mut Joined, ids: &[String]) {
        match self {
            Self::EventAlone => ids.iter().for_each(|id| drop(black_box(Event::from(headers(id))))),
            Self::OneAtATime | Self::Pipelined | Self::PipelinedByExchange => {
                ids.iter().for_each(|id| _ = joined.submit(&headers(id).into()));
                joined.move_to_agent();
                joined.allow_all();
                joined.move_to_proxy();
                assert_eq!(joined.endings(), (ids.len(), 0));
            }
            Self::ProxyAlone => {
                ids.iter().for_each(|id| _ = joined.submit(&headers(id).into()));
                joined.write_to_nobody();
                joined.answer_raw(ids.iter().map(String::as_str));
                assert_eq!(joined.endings(), (ids.len(), 0));
            }
            Self::Body => {
                let Some(id) = ids.first() else { return };
                let first = Event::from(headers(id));
                for event in std::iter::once(first).chain((0..CHUNKS).map(|index| chunk(id, index))) {
                    joined.submit(&event);
                    joined.move_to_agent();
                    joined.allow_all();
                    joined.move_to_proxy();
                    assert_eq!(joined.endings(), (1, 0));
                }
            }
            Self::Cancelled => {
                for id in ids {
                    let exchange = joined.submit(&headers(id).into());
                    joined.move_to_agent();
                    joined
                        .proxy
                        .cancel(exchange, CancelReason::ClientDisconnect, joined.now)
                        .expect("it is under way");
                    joined.move_to_agent();
                    joined.allow_all();
                    joined.move_to_proxy();
                    assert_eq!(joined.endings(), (0, 1));
                }
            }
            Self::TimedOut => {
                let within = Duration::from_millis(10);
                ids.iter().for_each(|id| _ = joined.submit_until(&headers(id).into(), within));
                joined.move_to_agent();
                joined.pass(within);
                assert_eq!(joined.endings(), (0, ids.len()));
                joined.move_to_agent();
                joined.allow_all();
                joined.move_to_proxy();
                assert_eq!(joined.endings(), (0, 0), "late answers are nobody's");
            }
        }
    }
}
