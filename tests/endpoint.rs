//! Two endpoints joined by a pipe that carries any number of bytes at any moment, breaks, and ends:
//! whatever happens, each comes to its end, tells everything once, and wants nothing afterwards.

use std::collections::BTreeSet;
use std::time::Duration;

use dialback::machine::{ExchangeId, Patience, Timestamp};
use dialback::session::{
    AgentSession, AgentSessionEvent, AgentSettings, EncodedEvent, Endpoint, Grant, ProxySession,
    ProxySessionEvent, ProxySettings, Receipt, Session,
};
use dialback::wire::{Answer, Capabilities, EventKind, Registration, RequestHeaders};
use proptest::collection::vec;
use proptest::prelude::*;

const LINGER: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug)]
enum Op {
    /// Bytes from the proxy to the agent, or the other way.
    Carry {
        from_proxy: bool,
        bytes: usize,
    },
    Act {
        proxy: bool,
    },
    Wait {
        millis: u64,
    },
    Submit,
    Answer,
    Close {
        proxy: bool,
    },
    Drain {
        proxy: bool,
    },
    WriteFails {
        proxy: bool,
    },
    Lost {
        proxy: bool,
    },
}

fn op() -> impl Strategy<Value = Op> {
    let side = any::<bool>;
    prop_oneof![
        12 => (side(), 1_usize..700).prop_map(|(from_proxy, bytes)| Op::Carry { from_proxy, bytes }),
        10 => side().prop_map(|proxy| Op::Act { proxy }),
        4 => (0_u64..3_000).prop_map(|millis| Op::Wait { millis }),
        6 => Just(Op::Submit),
        5 => Just(Op::Answer),
        1 => side().prop_map(|proxy| Op::Close { proxy }),
        1 => side().prop_map(|proxy| Op::Drain { proxy }),
        1 => side().prop_map(|proxy| Op::WriteFails { proxy }),
        1 => side().prop_map(|proxy| Op::Lost { proxy }),
    ]
}

/// One end, and what was heard of it.
struct End<S> {
    endpoint: Endpoint<S>,
    /// What the other end has sent and this one has not read.
    pipe: Vec<u8>,
    /// Whether the other end has ended its half of the stream, and whether that was read.
    ended: (bool, bool),
    closed: usize,
}

impl<S: Session> End<S> {
    fn new(session: S) -> Self {
        let endpoint = Endpoint::new(session, LINGER);
        Self { endpoint, pipe: Vec::new(), ended: (false, false), closed: 0 }
    }

    /// Sends up to so many bytes to `other`, which reads them if it wants to.
    fn carry<T: Session>(&mut self, other: &mut End<T>, bytes: usize, now: Timestamp) {
        let unwritten = self.endpoint.unwritten(now);
        let piece = unwritten.get(..bytes).unwrap_or(unwritten).to_vec();
        if other.endpoint.is_done() && !piece.is_empty() {
            self.endpoint.handle_write_failed(now);
        } else {
            self.endpoint.handle_written(piece.len());
            other.pipe.extend(piece);
        }
        if self.endpoint.wants_shutdown() {
            self.endpoint.handle_shutdown(now);
            other.ended.0 = true;
        }
        other.ended.0 |= self.endpoint.is_done();
        if other.endpoint.wants_bytes() {
            let pipe = std::mem::take(&mut other.pipe);
            other.endpoint.handle_bytes(&pipe, now);
            if other.ended == (true, false) && other.endpoint.wants_bytes() {
                other.ended.1 = true;
                other.endpoint.handle_eof(now);
            }
        }
    }

    fn check(&mut self, now: Timestamp) {
        assert!(self.closed <= 1, "the end was told twice");
        if self.endpoint.is_done() {
            assert_eq!(self.closed, 1, "done before the end was told");
            assert!(self.endpoint.unwritten(now).is_empty() && !self.endpoint.wants_bytes());
            assert!(self.endpoint.poll_timeout().is_none() && !self.endpoint.wants_shutdown());
        }
    }
}

struct World {
    now: Timestamp,
    proxy: End<ProxySession>,
    agent: End<AgentSession>,
    requests: u32,
    open: BTreeSet<ExchangeId>,
    receipts: Vec<Receipt>,
}

impl World {
    fn new() -> Self {
        let now = Timestamp::from_micros(1_000_000);
        let registration = Registration::new(Capabilities::new("a", [EventKind::RequestHeaders]));
        let settings = ProxySettings { write_mark: 300, ..ProxySettings::default() };
        Self {
            now,
            proxy: End::new(ProxySession::accept(settings, now)),
            agent: End::new(AgentSession::dial(AgentSettings::new(registration), now).unwrap()),
            requests: 0,
            open: BTreeSet::new(),
            receipts: Vec::new(),
        }
    }

    fn act_proxy(&mut self) {
        let (end, now) = (&mut self.proxy, self.now);
        while let Some(event) = end.endpoint.poll_event() {
            assert_eq!(end.closed, 0, "{event:?} was told after the end");
            match event {
                ProxySessionEvent::Registration(pending) => {
                    let grant = Grant { connection_id: "c".into() };
                    let _ = end.endpoint.session_mut().accept_registration(*pending, grant, now);
                }
                ProxySessionEvent::Ended { exchange, .. } => assert!(self.open.remove(&exchange)),
                ProxySessionEvent::Closed(_) => end.closed += 1,
                ProxySessionEvent::Opened
                | ProxySessionEvent::Health(_)
                | ProxySessionEvent::Metrics(_)
                | ProxySessionEvent::ConfigUpdate(_)
                | ProxySessionEvent::Draining => {}
            }
        }
    }

    fn act_agent(&mut self) {
        let end = &mut self.agent;
        while let Some(event) = end.endpoint.poll_event() {
            assert_eq!(end.closed, 0, "{event:?} was told after the end");
            match event {
                AgentSessionEvent::Event(receipt) => self.receipts.push(*receipt),
                AgentSessionEvent::Closed(_) => end.closed += 1,
                AgentSessionEvent::Handshake(_)
                | AgentSessionEvent::Opened { .. }
                | AgentSessionEvent::Cancelled { .. } => {}
            }
        }
    }

    fn submit(&mut self) {
        self.requests += 1;
        let session = self.proxy.endpoint.session_mut();
        let request = RequestHeaders::new(format!("request-{}", self.requests), "GET", "/");
        let event = EncodedEvent::new(&request, session.encoding()).unwrap();
        let deadline = self.now.after(Duration::from_secs(3));
        self.open.extend(session.submit(event, deadline, Patience::Wait, self.now));
    }

    fn answer(&mut self) {
        for receipt in self.receipts.drain(..) {
            let answer = receipt.encode(Answer::allow()).unwrap();
            let _ = self.agent.endpoint.session_mut().answer(answer, self.now);
        }
    }

    fn wait(&mut self, span: Duration) {
        self.now = self.now.after(span);
        self.proxy.endpoint.handle_timeout(self.now);
        self.agent.endpoint.handle_timeout(self.now);
    }

    fn apply(&mut self, op: Op) {
        let now = self.now;
        let later = now.after(Duration::from_secs(5));
        let (proxy, agent) = (&mut self.proxy, &mut self.agent);
        match op {
            Op::Carry { from_proxy: true, bytes } => proxy.carry(agent, bytes, now),
            Op::Carry { from_proxy: false, bytes } => agent.carry(proxy, bytes, now),
            Op::Act { proxy: true } => self.act_proxy(),
            Op::Act { proxy: false } => self.act_agent(),
            Op::Wait { millis } => self.wait(Duration::from_millis(millis)),
            Op::Submit => self.submit(),
            Op::Answer => self.answer(),
            Op::Close { proxy: true } => proxy.endpoint.session_mut().close(),
            Op::Close { proxy: false } => agent.endpoint.session_mut().close(),
            Op::Drain { proxy: true } => proxy.endpoint.session_mut().drain(later, now),
            Op::Drain { proxy: false } => agent.endpoint.session_mut().drain(later, now),
            Op::WriteFails { proxy: true } => proxy.endpoint.handle_write_failed(now),
            Op::WriteFails { proxy: false } => agent.endpoint.handle_write_failed(now),
            Op::Lost { proxy: true } => proxy.endpoint.handle_transport_lost(now),
            Op::Lost { proxy: false } => agent.endpoint.handle_transport_lost(now),
        }
        self.proxy.check(self.now);
        self.agent.check(self.now);
    }

    /// Everything that a calm driver does, until both ends are done.
    fn finish(&mut self) {
        self.apply(Op::Drain { proxy: true });
        for _ in 0..200 {
            for proxy in [true, false] {
                self.apply(Op::Carry { from_proxy: proxy, bytes: 100 });
                self.apply(Op::Act { proxy });
            }
            self.apply(Op::Answer);
            self.apply(Op::Wait { millis: 100 });
            if self.proxy.endpoint.is_done() && self.agent.endpoint.is_done() {
                return;
            }
        }
        panic!("not done after 20 s: {:?}, {:?}", self.proxy.endpoint, self.agent.endpoint);
    }
}

proptest! {
    #[test]
    fn both_ends_come_to_their_end_and_tell_everything_once(ops in vec(op(), 0..120)) {
        let mut world = World::new();
        for op in ops {
            world.apply(op);
        }
        world.finish();
        prop_assert_eq!((world.proxy.closed, world.agent.closed), (1, 1));
        prop_assert!(world.open.is_empty(), "{:?} were not told", world.open);
    }
}
