//! The agent's machine, asked directly.

use core::time::Duration;

use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;

use super::*;
use crate::machine::closing::Violation;
use crate::machine::frames::FromProxy;
use crate::machine::proxy::DecisionError;
use crate::wire::FrameType;

const QUIET: Duration = Duration::from_secs(15);

fn at(micros: u64) -> Timestamp {
    Timestamp::from_micros(micros)
}

fn open_with(limits: AgentLimits) -> AgentConnection<Vec<u8>> {
    let mut agent = AgentConnection::dial(limits, Vec::new(), Timestamp::ZERO);
    agent.handle_frame(FromProxy::HandshakeAnswer(Ok(())), Timestamp::ZERO);
    frames(&mut agent);
    events(&mut agent);
    agent
}

fn open() -> AgentConnection<Vec<u8>> {
    open_with(AgentLimits::default())
}

fn event(exchange: u64, id: &str, bytes: usize) -> FromProxy<Vec<u8>> {
    let (exchange, kind) = (ExchangeId(exchange), EventKind::RequestHeaders);
    FromProxy::Event { exchange, kind, id: id.into(), echo: None, payload: vec![0; bytes] }
}

fn frames(agent: &mut AgentConnection<Vec<u8>>) -> Vec<ToProxy<Vec<u8>>> {
    core::iter::from_fn(|| agent.poll_transmit()).collect()
}

fn events(agent: &mut AgentConnection<Vec<u8>>) -> Vec<AgentEvent<Vec<u8>>> {
    core::iter::from_fn(|| agent.poll_event()).collect()
}

#[test]
// Rule: F-AGENT-1.
fn it_reads_until_any_one_of_four_limits_is_reached() {
    let mut limits = AgentLimits::default();
    (limits.inbox.saturated, limits.inbox.saturated_bytes, limits.inbox.running) = (3, 100, 1);
    let fresh = open_with(limits);
    assert!(fresh.wants_frames());
    let feed = |count: u64, bytes: usize| {
        let mut agent = fresh.clone();
        (0..count).for_each(|n| agent.handle_frame(event(n, "a", bytes), at(1)));
        agent.wants_frames()
    };
    // Unanswered events, by number and by the bytes of those that wait.
    assert_eq!([feed(2, 1), feed(3, 1), feed(2, 99), feed(2, 100)], [true, false, true, false]);
    let pile = |count: u64, bytes: usize| {
        let mut agent = fresh.clone();
        (0..count).for_each(|_| agent.report(FrameType::MetricsReport, vec![0; bytes]).unwrap());
        agent.wants_frames()
    };
    // Unwritten frames, by number and by bytes.
    assert_eq!([pile(2, 1), pile(3, 1), pile(1, 99), pile(1, 100)], [true, false, true, false]);
    assert!(AgentConnection::dial(limits, vec![0; 100], Timestamp::ZERO).wants_frames(), "the handshake");
}

#[test]
fn questions_are_answered_with_what_is_there() {
    let mut limits = AgentLimits::default();
    (limits.inbox.high_mark, limits.inbox.low_mark) = (3, 1);
    let mut agent = open_with(limits);
    assert_eq!(
        (agent.unanswered(), agent.running(), agent.is_pausing(), agent.handshake()),
        (0, 0, false, None)
    );
    for (exchange, id) in [(1, "a"), (2, "a"), (3, "b")] {
        agent.handle_frame(event(exchange, id, 1), at(1));
    }
    assert_eq!((agent.unanswered(), agent.running(), agent.is_pausing()), (3, 2, true));
    let work = [1, 2, 4].map(|exchange| agent.work(ExchangeId(exchange)));
    assert_eq!(work, [Some(Work::Running), Some(Work::Waiting), None]);
    assert_eq!((agent.inconsistency(), agent.close_reason()), (None, None));
    let State::Open(open) = &mut agent.clone().state else { panic!("it is open") };
    let mut harmed = agent.clone();
    open.inbox.harm();
    harmed.state = State::Open(open.clone());
    assert_eq!(harmed.inconsistency(), Some("waiting bytes"));
    agent.close();
    assert_eq!((agent.unanswered(), agent.running(), agent.is_pausing()), (0, 0, false));
    assert_eq!((agent.state(), agent.close_reason()), (ConnectionState::Closed, Some(&CloseReason::Closed)));
}

#[test]
fn what_was_seen_is_counted() {
    let mut limits = AgentLimits::default();
    (limits.inbox.high_mark, limits.inbox.low_mark, limits.inbox.running) = (3, 1, 1);
    let mut agent = open_with(limits);
    for (exchange, id) in [(1, "a"), (2, "b"), (3, "b"), (3, "c")] {
        agent.handle_frame(event(exchange, id, 1), at(1));
    }
    let cancel = |id: &str| FromProxy::Cancel { id: id.into(), echo: None, reason: CancelReason::Timeout };
    agent.handle_frame(cancel("b"), at(1));
    agent.handle_frame(cancel("a"), at(1));
    agent.answer(ExchangeId(1), Vec::new(), at(1)).unwrap();
    agent.handle_frame(cancel("a"), at(1));
    agent.handle_frame(FromProxy::Unknown(0x77), at(1));
    agent.handle_frame(FromProxy::Unreadable(FrameType::Cancel), at(1));
    agent.handle_timeout(Timestamp::ZERO.after(QUIET));
    let seen = AgentStats {
        events: 3,
        answered: 1,
        answered_unseen: 2,
        cancelled: 2,
        late_cancels: 1,
        pauses: 1,
        resumes: 1,
        unknown_frames: 1,
        unreadable_frames: 1,
        pings: 1,
    };
    assert_eq!(agent.stats(), seen);
    assert_eq!(seen.plus(AgentStats::default()), seen);
    assert_eq!(AgentStats::default().plus(seen), seen);
}

#[test]
fn a_cancel_of_what_runs_is_told_once_and_one_of_what_is_over_never() {
    let mut agent = open();
    agent.handle_frame(event(1, "a", 1), at(1));
    events(&mut agent);
    let cancel = FromProxy::Cancel { id: "a".into(), echo: None, reason: CancelReason::Timeout };
    agent.handle_frame(cancel.clone(), at(2));
    let (exchange, reason) = (ExchangeId(1), CancelReason::Timeout);
    assert_eq!(events(&mut agent), [AgentEvent::Cancelled { exchange, reason }]);
    agent.handle_frame(cancel, at(3));
    assert_eq!(events(&mut agent), []);
    assert_eq!(agent.answer(exchange, Vec::new(), at(4)), Ok(()));
    assert_eq!(agent.answer(exchange, Vec::new(), at(4)), Err(AnswerError::Unknown));
}

#[test]
// Rule: C-DRAIN-3, H-TIME-1.
fn the_next_time_is_the_earliest_of_all() {
    let accepted = AgentConnection::<Vec<u8>>::accept(AgentLimits::default(), at(5));
    assert_eq!(accepted.poll_timeout(), Some(at(5).after(Duration::from_secs(10))));
    let mut agent = open();
    assert_eq!(agent.poll_timeout(), Some(Timestamp::ZERO.after(QUIET)));
    agent.handle_frame(event(1, "a", 1), at(1));
    agent.drain(at(900_000), at(2));
    assert_eq!((agent.state(), agent.poll_timeout()), (ConnectionState::Draining, Some(at(900_000))));
    assert_eq!(frames(&mut agent), [ToProxy::Draining]);
    // Another drain can bring the deadline forward and no other way, and is not announced again.
    agent.drain(at(950_000), at(3));
    assert_eq!(agent.poll_timeout(), Some(at(900_000)));
    agent.drain(at(800_000), at(3));
    assert_eq!((agent.poll_timeout(), frames(&mut agent)), (Some(at(800_000)), vec![]));
    // With nothing left it lingers, from the last answer on.
    agent.answer(ExchangeId(1), Vec::new(), at(100_000)).unwrap();
    assert_eq!(agent.poll_timeout(), Some(at(350_000)));
    agent.handle_timeout(at(349_999));
    assert_eq!(agent.state(), ConnectionState::Draining);
    // An event that was under way begins the linger anew.
    agent.handle_frame(event(2, "a", 1), at(200_000));
    agent.answer(ExchangeId(2), Vec::new(), at(300_000)).unwrap();
    assert_eq!(agent.poll_timeout(), Some(at(550_000)));
    agent.handle_timeout(at(550_000));
    assert_eq!((agent.close_reason(), agent.poll_timeout()), (Some(&CloseReason::Drained), None));
}

#[test]
// Rule: C-DRAIN-2.
fn a_drain_ends_at_its_deadline_with_what_is_unanswered() {
    let mut agent = open();
    agent.handle_frame(event(1, "a", 1), at(1));
    agent.drain(at(900), at(2));
    let mut gone = agent.clone();
    gone.handle_eof();
    assert_eq!(gone.close_reason(), Some(&CloseReason::PeerClosed), "an event is unanswered");
    agent.handle_timeout(at(899));
    assert_eq!(agent.state(), ConnectionState::Draining);
    agent.handle_timeout(at(900));
    assert_eq!(agent.close_reason(), Some(&CloseReason::DrainDeadline));
    // A drain with nothing left is over when the proxy closes; without a drain the proxy just left.
    let mut idle = open();
    idle.drain(at(900), at(2));
    idle.handle_eof();
    assert_eq!(idle.close_reason(), Some(&CloseReason::Drained));
    let mut serving = open();
    serving.handle_eof();
    assert_eq!(serving.close_reason(), Some(&CloseReason::PeerClosed));
    // Before it is open there is nothing to drain.
    let mut opening = AgentConnection::dial(AgentLimits::default(), Vec::new(), Timestamp::ZERO);
    opening.drain(at(900), at(2));
    assert_eq!(opening.close_reason(), Some(&CloseReason::Drained));
}

#[test]
// Rule: H-FWD-1, H-TIME-1.
fn a_handshake_has_until_its_deadline_and_a_decision_comes_once() {
    let limits = AgentLimits::default();
    let mut agent = AgentConnection::accept(limits, Timestamp::ZERO);
    agent.handle_frame(FromProxy::Offer(vec![1]), Timestamp::ZERO);
    let offer = agent.poll_offer().unwrap();
    assert_eq!((offer.offer.as_slice(), agent.poll_offer()), ([1].as_slice(), None));
    let mut rejected = agent.clone();
    rejected.reject_offer(Pending { offer: vec![1] }, vec![2]).unwrap();
    assert_eq!(rejected.close_reason(), Some(&CloseReason::Rejected));
    assert_eq!(frames(&mut rejected), [ToProxy::HandshakeAnswer(vec![2])]);
    let mut accepted = agent.clone();
    accepted.accept_offer(Pending { offer: vec![1] }, vec![2], at(1)).unwrap();
    assert_eq!((accepted.state(), events(&mut accepted)), (ConnectionState::Open, vec![AgentEvent::Opened]));
    assert_eq!(frames(&mut accepted), [ToProxy::HandshakeAnswer(vec![2])]);
    let deadline = Timestamp::ZERO.after(limits.handshake_timeout);
    agent.handle_timeout(at(deadline.as_micros() - 1));
    assert_eq!(agent.handshake(), Some(handshake::Stage::Deciding));
    agent.handle_timeout(deadline);
    let reason = CloseReason::HandshakeDeadline(limits.handshake_timeout);
    assert_eq!(agent.close_reason(), Some(&reason));
    let before = agent.clone();
    let nothing = Err(DecisionError::NothingToDecide);
    assert_eq!(agent.accept_offer(offer, Vec::new(), deadline), nothing);
    assert_eq!(agent.reject_offer(Pending { offer: Vec::new() }, Vec::new()), nothing);
    assert_eq!(agent, before);
    assert_eq!(frames(&mut agent), [ToProxy::Refuse(reason)]);
}

#[test]
// Rule: X-ID-2.
fn an_id_as_long_as_allowed_is_taken() {
    let mut limits = AgentLimits::default();
    limits.control.correlation_id = 3;
    let mut agent = open_with(limits);
    agent.handle_frame(event(1, "abc", 1), at(1));
    assert_eq!((agent.state(), agent.unanswered()), (ConnectionState::Open, 1));
    agent.handle_frame(event(2, "abcd", 1), at(1));
    let violation = Violation::LongCorrelationId { length: 4, limit: 3 };
    assert_eq!(agent.close_reason(), Some(&CloseReason::Violation(violation)));
}

#[test]
// Rule: C-ALIVE-1, C-ALIVE-2.
fn a_proxy_that_has_answered_a_ping_is_held_to_it_and_half_a_frame_has_a_deadline() {
    let second = |n| Timestamp::ZERO.after(Duration::from_secs(n));
    let mut agent = open();
    for round in 1..=3 {
        agent.handle_timeout(second(15 * round));
    }
    // What is not written yet is asked once, however often it is due.
    assert_eq!(frames(&mut agent), [ToProxy::Ping { sequence: 1 }]);
    agent.handle_frame(FromProxy::Pong, second(46));
    agent.handle_progress(false, true, second(46));
    agent.handle_timeout(second(61));
    agent.handle_timeout(second(76));
    assert_eq!(agent.close_reason(), Some(&CloseReason::Silent(Duration::from_secs(30))));
    let mut half = open();
    half.handle_progress(true, false, second(1));
    half.handle_progress(true, false, second(60));
    half.handle_timeout(second(61));
    assert_eq!(half.close_reason(), Some(&CloseReason::Violation(Violation::StalledFrame)));
}

#[test]
fn an_end_is_told_last_and_takes_back_what_was_not_fetched() {
    let mut agent = AgentConnection::dial(AgentLimits::default(), Vec::new(), Timestamp::ZERO);
    agent.handle_frame(FromProxy::HandshakeAnswer(Ok(())), Timestamp::ZERO);
    agent.handle_frame(event(1, "a", 1), at(1));
    agent.report(FrameType::MetricsReport, Vec::new()).unwrap();
    let mut lost = agent.clone();
    agent.close();
    agent.close();
    assert_eq!(events(&mut agent), [AgentEvent::Opened, AgentEvent::Closed(CloseReason::Closed)]);
    // What was made is still written where somebody may read it.
    assert_eq!(frames(&mut agent).len(), 2);
    lost.handle_transport_lost();
    assert_eq!(
        (frames(&mut lost).len(), lost.report(FrameType::MetricsReport, vec![])),
        (0, Err(AnswerError::NotOpen))
    );
}

#[test]
fn errors_say_what_to_do() {
    assert!(AnswerError::Unknown.to_string().contains("answered already"));
    assert!(AnswerError::NotOpen.to_string().contains("not open"));
}

#[test]
// Rule: C-PING-1, C-PING-2.
fn pongs_that_are_not_read_are_bounded_and_those_that_are_read_are_not() {
    let mut limits = AgentLimits::default();
    limits.control.pongs = 2;
    let mut agent = open_with(limits);
    // Frames that are no pongs don't count.
    (0..3).for_each(|_| agent.report(FrameType::MetricsReport, Vec::new()).unwrap());
    for round in 0..2 {
        agent.handle_frame(FromProxy::Ping(vec![round]), at(1));
        agent.handle_frame(FromProxy::Ping(vec![round + 9]), at(1));
        let pongs: Vec<_> =
            frames(&mut agent).into_iter().filter(|frame| matches!(frame, ToProxy::Pong(_))).collect();
        assert_eq!(pongs, [ToProxy::Pong(vec![round]), ToProxy::Pong(vec![round + 9])]);
    }
    for _ in 0..3 {
        agent.handle_frame(FromProxy::Ping(Vec::new()), at(1));
    }
    let violation = Violation::PingFlood { limit: 2 };
    assert_eq!(agent.close_reason(), Some(&CloseReason::Violation(violation)));
}
