//! The proxy's machine, asked directly.

use core::time::Duration;

use alloc::string::ToString;
use alloc::vec::Vec;

use super::*;
use crate::machine::cancellation::OwedLimits;
use crate::machine::closing::Violation;
use crate::machine::correlation::{Patience, Submission};
use crate::machine::flow::Backlog;
use crate::machine::frames::FromAgent;
use crate::machine::handshake::{EventSet, Matching};
use crate::machine::keepalive::Judged;
use crate::wire::{CancelReason, CorrelationId, EventKind, FlowAction};

fn terms() -> Terms {
    Terms { concurrency: None, matching: Matching::OneAtATime, cancellation: true, events: EventSet::all() }
}

fn at(micros: u64) -> Timestamp {
    Timestamp::from_micros(micros)
}

fn open_with(limits: ProxyLimits, terms: Terms) -> ProxyConnection<Vec<u8>> {
    let mut proxy = ProxyConnection::accept(limits, Timestamp::ZERO);
    proxy.handle_frame(FromAgent::Offer(Vec::new()), Timestamp::ZERO);
    let offer = proxy.poll_offer().unwrap();
    proxy.accept_offer(offer, Vec::new(), terms, Timestamp::ZERO).unwrap();
    frames(&mut proxy);
    events(&mut proxy);
    proxy
}

fn open() -> ProxyConnection<Vec<u8>> {
    open_with(ProxyLimits::default(), terms())
}

fn submission(exchange: u64, id: &str) -> Submission<Vec<u8>> {
    Submission {
        exchange: ExchangeId(exchange),
        id: CorrelationId::from(id),
        kind: EventKind::RequestHeaders,
        payload: alloc::vec![0; 10],
        deadline: Timestamp::NEVER,
        patience: Patience::Wait,
    }
}

fn answer(id: &str) -> FromAgent<Vec<u8>> {
    FromAgent::Answer { id: Some(id.into()), exchange: None, payload: Vec::new() }
}

fn frames(proxy: &mut ProxyConnection<Vec<u8>>) -> Vec<ToAgent<Vec<u8>>> {
    core::iter::from_fn(|| proxy.poll_transmit()).collect()
}

fn events(proxy: &mut ProxyConnection<Vec<u8>>) -> Vec<ProxyEvent<Vec<u8>>> {
    core::iter::from_fn(|| proxy.poll_event()).collect()
}

#[test]
// Rule: X-ID-2, W-EVENT-2, F-WAIT-1.
fn every_refusal_of_an_event_says_why_and_changes_nothing() {
    let limits = ProxyLimits { queue: QueueLimits { count: 2, bytes: 25 }, ..ProxyLimits::default() };
    let mut proxy = open_with(limits, terms());
    proxy.handle_frame(FromAgent::Flow { id: None, action: FlowAction::Pause }, at(1));
    proxy.submit(submission(1, "a"), at(1)).unwrap();
    let (id, next) = ("x".repeat(256), submission(2, "b"));
    let rows = [
        (submission(1, "b"), SubmitError::DuplicateExchange),
        (submission(2, ""), SubmitError::BadCorrelationId { length: 0, limit: 256 }),
        (submission(2, &(id.clone() + "x")), SubmitError::BadCorrelationId { length: 257, limit: 256 }),
        (Submission { deadline: at(1), ..next.clone() }, SubmitError::Late),
        (Submission { patience: Patience::Now, ..next.clone() }, SubmitError::WouldWait(Shut::Paused)),
        (Submission { payload: alloc::vec![0; 16], ..next.clone() }, SubmitError::QueueFull),
    ];
    for (submission, error) in rows {
        let before = proxy.clone();
        assert_eq!(proxy.submit(submission, at(1)), Err(error));
        assert_eq!(proxy, before);
    }
    // What is just within the limits is taken: in length, in time, in bytes.
    let last = Submission { id: id.as_str().into(), deadline: at(2), payload: alloc::vec![0; 15], ..next };
    proxy.submit(last, at(1)).unwrap();
    assert_eq!((proxy.waiting(), proxy.stats().admitted), (2, 2));
    let empty = Submission { payload: Vec::new(), ..submission(3, "c") };
    assert_eq!(proxy.submit(empty, at(1)), Err(SubmitError::QueueFull));

    let mut narrow = open_with(limits, Terms { events: EventSet::default(), ..terms() });
    let kind = EventKind::RequestHeaders;
    assert_eq!(narrow.submit(submission(1, "a"), at(1)), Err(SubmitError::Unsupported(kind)));
    let mut closed = open();
    closed.close();
    assert_eq!(closed.submit(submission(1, "a"), at(1)), Err(SubmitError::Closed));
}

#[test]
// Rule: F-WAIT-1, F-MARK-1, F-PAUSE-2.
fn who_will_not_wait_is_told_what_for() {
    let now = |exchange, id: &str| Submission { patience: Patience::Now, ..submission(exchange, id) };
    let shut = |proxy: &mut ProxyConnection<Vec<u8>>, id: &str| proxy.submit(now(9, id), at(1)).err();
    let mut proxy = open_with(ProxyLimits { window: 2, ..ProxyLimits::default() }, terms());
    proxy.handle_frame(FromAgent::Flow { id: Some("p".into()), action: FlowAction::Pause }, at(1));
    assert_eq!(shut(&mut proxy, "p"), Some(SubmitError::WouldWait(Shut::RequestPaused)));
    proxy.submit(now(1, "a"), at(1)).unwrap();
    // One that waits claims its place in the window as one in flight does.
    assert_eq!((shut(&mut proxy, "a"), proxy.in_flight()), (Some(SubmitError::WouldWait(Shut::Behind)), 0));
    assert_eq!(frames(&mut proxy).len(), 1);
    assert_eq!((shut(&mut proxy, "a"), proxy.in_flight()), (Some(SubmitError::WouldWait(Shut::Behind)), 1));
    proxy.handle_backlog(Backlog::Above);
    assert_eq!(shut(&mut proxy, "b"), Some(SubmitError::WouldWait(Shut::Backlog)));
    assert_eq!(proxy.shut(), Some(Shut::Backlog));
    proxy.handle_backlog(Backlog::Below);
    assert_eq!(proxy.shut(), None);
    proxy.submit(now(2, "b"), at(1)).unwrap();
    assert_eq!(shut(&mut proxy, "c"), Some(SubmitError::WouldWait(Shut::WindowFull)));
    proxy.drain(Timestamp::NEVER, at(1));
    assert_eq!(shut(&mut proxy, "c"), Some(SubmitError::Draining));
    assert_eq!(proxy.shut(), Some(Shut::Draining));
}

#[test]
fn questions_are_answered_with_what_is_there() {
    let mut proxy = open_with(ProxyLimits { window: 3, ..ProxyLimits::default() }, terms());
    assert_eq!((proxy.window(), proxy.terms(), proxy.handshake()), (3, Some(terms()), None));
    for (exchange, id) in [(1, "a"), (2, "a"), (3, "b"), (4, "c")] {
        proxy.submit(submission(exchange, id), at(1)).unwrap();
    }
    frames(&mut proxy);
    proxy.cancel(ExchangeId(1), CancelReason::Manual, at(2)).unwrap();
    proxy.cancel(ExchangeId(3), CancelReason::Manual, at(2)).unwrap();
    assert_eq!((proxy.in_flight(), proxy.waiting(), proxy.owed()), (3, 1, 2));
    let stages = [1, 2, 4, 5].map(|exchange| proxy.stage(ExchangeId(exchange)));
    assert_eq!(stages, [Some(Stage::Abandoned), Some(Stage::Queued), Some(Stage::InFlight), None]);
    assert_eq!((proxy.close_reason(), proxy.inconsistency()), (None, None));
    // More debts than are allowed would have closed it.
    proxy.limits.owed.count = 1;
    assert_eq!(proxy.inconsistency(), Some("more owed than allowed"));
    proxy.limits.owed.count = 2;
    assert_eq!(proxy.inconsistency(), None);
    proxy.close();
    assert_eq!((proxy.close_reason(), proxy.state()), (Some(&CloseReason::Closed), ConnectionState::Closed));
    assert_eq!(
        (proxy.window(), proxy.terms(), proxy.in_flight(), proxy.waiting(), proxy.owed()),
        (0, None, 0, 0, 0)
    );
}

#[test]
fn how_a_request_is_given_up_is_counted() {
    let mut proxy = open();
    for (exchange, id) in [(1, "a"), (2, "a"), (3, "b")] {
        proxy.submit(submission(exchange, id), at(1)).unwrap();
    }
    frames(&mut proxy);
    assert_eq!(proxy.cancel_request(&"x".into(), CancelReason::Manual, at(2)), 0);
    assert_eq!(proxy.cancel_request(&"a".into(), CancelReason::Manual, at(2)), 2);
    assert_eq!(proxy.cancel_request(&"a".into(), CancelReason::Manual, at(2)), 0);
    assert_eq!(proxy.cancel(ExchangeId(1), CancelReason::Manual, at(2)), Err(CancelError::Unknown));
    assert_eq!(proxy.cancel_all(CancelReason::Manual, at(2)), 1);
    assert_eq!(proxy.stats().cancelled, 3);
}

#[test]
fn what_was_seen_is_counted() {
    let mut proxy = open();
    let wait = |deadline| Submission { deadline, ..submission(1, "z") };
    for (exchange, id) in [(2, "a"), (3, "b"), (4, "c"), (5, "c"), (6, "c")] {
        proxy.submit(submission(exchange, id), at(1)).unwrap();
    }
    proxy.submit(wait(at(9)), at(1)).unwrap();
    frames(&mut proxy);
    proxy.handle_frame(answer("a"), at(4));
    proxy.handle_frame(answer("a"), at(4));
    proxy.handle_timeout(at(9));
    proxy.handle_frame(answer("z"), at(10));
    proxy.cancel(ExchangeId(5), CancelReason::Manual, at(11)).unwrap();
    for frame in [
        FromAgent::Unknown(0x77),
        FromAgent::Unreadable(FrameType::HealthStatus),
        FromAgent::Ping(Vec::new()),
    ] {
        proxy.handle_frame(frame, at(12));
    }
    proxy.handle_timeout(Timestamp::ZERO.after(Duration::from_secs(15)));
    proxy.drain(Timestamp::NEVER, at(13));
    proxy.close();
    let seen = ProxyStats {
        admitted: 6,
        written: 4,
        answered: 1,
        timed_out: 1,
        cancelled: 1,
        refused: 1,
        lost: 2,
        late_answers: 1,
        stray_answers: 1,
        unknown_frames: 1,
        unreadable_frames: 1,
        pings: 1,
        pongs: 1,
    };
    assert_eq!(proxy.stats(), seen);
    assert_eq!(proxy.stats().plus(ProxyStats::default()), seen);
    assert_eq!(ProxyStats::default().plus(seen), seen);
}

#[test]
fn how_long_things_took_is_measured() {
    let mut proxy = open_with(ProxyLimits { window: 1, ..ProxyLimits::default() }, terms());
    proxy.submit(submission(1, "a"), at(100)).unwrap();
    proxy.submit(submission(2, "b"), at(150)).unwrap();
    frames(&mut proxy);
    proxy.handle_frame(answer("a"), at(1_100));
    frames(&mut proxy);
    // #1 was written at 150, the latest time that was told, and #2 when #1 was answered.
    let latency = *proxy.latency();
    assert_eq!((latency.queued.count(), latency.queued.sum()), (2, Duration::from_micros(50 + 950)));
    assert_eq!((latency.answered.count(), latency.answered.sum()), (1, Duration::from_micros(1_000)));
    // Only an answer counts.
    proxy.cancel(ExchangeId(2), CancelReason::Manual, at(2_000)).unwrap();
    proxy.close();
    assert_eq!(proxy.latency(), &latency);
    let both = latency.plus(&latency);
    assert_eq!((both.queued.count(), both.answered.count()), (4, 2));
}

#[test]
// Rule: C-DRAIN-1, C-DRAIN-2, H-TIME-1.
fn the_next_time_is_the_earliest_of_all() {
    let accepted = ProxyConnection::<Vec<u8>>::accept(ProxyLimits::default(), at(5));
    assert_eq!(accepted.poll_timeout(), Some(at(5).after(Duration::from_secs(10))));
    assert_eq!(accepted.handshake(), Some(handshake::Stage::AwaitingOffer));
    let quiet = Timestamp::ZERO.after(Duration::from_secs(15));
    let mut proxy = open();
    assert_eq!(proxy.poll_timeout(), Some(quiet));
    proxy.submit(Submission { deadline: at(900), ..submission(1, "a") }, at(1)).unwrap();
    assert_eq!(proxy.poll_timeout(), Some(at(900)));
    frames(&mut proxy);
    proxy.drain(at(700), at(1));
    assert_eq!(proxy.poll_timeout(), Some(at(700)));
    // Another drain can bring the deadline forward and no other way.
    proxy.drain(at(800), at(1));
    assert_eq!(proxy.poll_timeout(), Some(at(700)));
    proxy.drain(at(600), at(1));
    assert_eq!(proxy.poll_timeout(), Some(at(600)));
    proxy.handle_timeout(at(599));
    assert_eq!(proxy.state(), ConnectionState::Draining);
    proxy.handle_timeout(at(600));
    assert_eq!((proxy.close_reason(), proxy.poll_timeout()), (Some(&CloseReason::DrainDeadline), None));
    let cancels = frames(&mut proxy);
    assert!(matches!(cancels.as_slice(), [ToAgent::Cancel { reason: CancelReason::ProxyShutdown, .. }]));
}

#[test]
// Rule: C-CANCEL-1.
fn an_agent_that_did_not_ask_for_cancels_gets_none() {
    let mut proxy = open_with(ProxyLimits::default(), Terms { cancellation: false, ..terms() });
    for (exchange, id) in [(1, "a"), (2, "b")] {
        proxy.submit(submission(exchange, id), at(1)).unwrap();
    }
    frames(&mut proxy);
    proxy.cancel(ExchangeId(1), CancelReason::Manual, at(2)).unwrap();
    proxy.drain(at(3), at(2));
    proxy.handle_timeout(at(3));
    assert_eq!((proxy.state(), frames(&mut proxy)), (ConnectionState::Closed, alloc::vec![]));
}

#[test]
// Rule: X-OWED-1.
fn an_agent_that_owes_too_much_is_let_go() {
    let owed = OwedLimits { count: 1, age: Duration::from_micros(50) };
    let limits = ProxyLimits { owed, ..ProxyLimits::default() };
    let mut proxy = open_with(limits, terms());
    for (exchange, id) in [(1, "a"), (2, "b")] {
        proxy.submit(submission(exchange, id), at(1)).unwrap();
    }
    frames(&mut proxy);
    proxy.cancel(ExchangeId(1), CancelReason::Manual, at(10)).unwrap();
    assert_eq!(proxy.poll_timeout(), Some(at(60)));
    let mut late = proxy.clone();
    late.handle_timeout(at(60));
    let oldest = Duration::from_micros(50);
    assert_eq!(late.close_reason(), Some(&CloseReason::Unresponsive { owed: 1, oldest }));
    proxy.cancel(ExchangeId(2), CancelReason::Manual, at(12)).unwrap();
    let oldest = Duration::from_micros(2);
    assert_eq!(proxy.close_reason(), Some(&CloseReason::Unresponsive { owed: 2, oldest }));
}

#[test]
// Rule: F-PAUSE-1, F-PAUSE-2.
fn it_tells_what_is_paused() {
    let mut proxy = open();
    let flow = |id: Option<&str>, action| FromAgent::Flow { id: id.map(Into::into), action };
    proxy.submit(submission(1, "a"), at(1)).unwrap();
    assert!(!proxy.is_paused() && !proxy.is_request_paused(&"a".into()));
    proxy.handle_frame(flow(Some("a"), FlowAction::Pause), at(1));
    assert!(
        !proxy.is_paused() && proxy.is_request_paused(&"a".into()) && !proxy.is_request_paused(&"b".into())
    );
    proxy.handle_frame(flow(None, FlowAction::Pause), at(1));
    assert!(proxy.is_paused());
    proxy.handle_frame(flow(None, FlowAction::Resume), at(1));
    assert!(!proxy.is_paused());
    proxy.close();
    assert!(!proxy.is_paused() && !proxy.is_request_paused(&"a".into()));
}

#[test]
// Rule: H-ORDER-2.
fn an_answer_whose_id_is_lent_is_taken_as_one_that_owns_it() {
    for open_first in [true, false] {
        let mut proxies = [(); 2].map(|()| {
            if open_first { open() } else { ProxyConnection::accept(ProxyLimits::default(), Timestamp::ZERO) }
        });
        if open_first {
            proxies.iter_mut().for_each(|proxy| proxy.submit(submission(1, "a"), at(1)).unwrap());
            proxies.iter_mut().for_each(|proxy| assert_eq!(frames(proxy).len(), 1));
        }
        for _ in 0..2 {
            proxies[0].handle_answer(Some("a"), None, Vec::new(), at(2));
            proxies[1].handle_frame(answer("a"), at(2));
            assert_eq!(proxies[0], proxies[1]);
            proxies.iter_mut().for_each(|proxy| proxy.close());
        }
    }
}

#[test]
// Rule: F-PAUSE-2.
fn a_pause_of_a_request_ends_with_its_last_exchange() {
    let mut proxy = open();
    let flow = |id: &str, action| FromAgent::Flow { id: Some(id.into()), action };
    proxy.submit(submission(1, "a"), at(1)).unwrap();
    frames(&mut proxy);
    proxy.handle_frame(flow("a", FlowAction::Pause), at(1));
    // An answer to an event in the middle of the request is not its last word.
    proxy.handle_frame(answer("a"), at(2));
    proxy.submit(Submission { kind: EventKind::RequestComplete, ..submission(2, "a") }, at(3)).unwrap();
    assert!(frames(&mut proxy).is_empty(), "it is still paused");
    proxy.handle_frame(flow("a", FlowAction::Resume), at(4));
    assert_eq!(frames(&mut proxy).len(), 1);
    proxy.handle_frame(flow("a", FlowAction::Pause), at(4));
    proxy.handle_frame(answer("a"), at(5));
    proxy.submit(submission(3, "a"), at(6)).unwrap();
    assert_eq!(frames(&mut proxy).len(), 1, "a new request may have the id of one that is over");
}

#[test]
// Rule: X-ID-2, F-PAUSE-2.
fn what_an_agent_may_pause_is_bounded() {
    let mut limits = ProxyLimits::default();
    (limits.control.correlation_id, limits.control.paused_requests) = (3, 1);
    let pause = |id: &str| FromAgent::Flow { id: Some(id.into()), action: FlowAction::Pause };
    let mut proxy = open_with(limits, terms());
    proxy.handle_frame(pause("abc"), at(1));
    assert_eq!(proxy.state(), ConnectionState::Open);
    let mut long = proxy.clone();
    long.handle_frame(pause("abcd"), at(1));
    let violation = Violation::LongCorrelationId { length: 4, limit: 3 };
    assert_eq!(long.close_reason(), Some(&CloseReason::Violation(violation)));
    proxy.handle_frame(pause("b"), at(1));
    let violation = Violation::TooManyPausedRequests { limit: 1 };
    assert_eq!(proxy.close_reason(), Some(&CloseReason::Violation(violation)));
}

#[test]
// Rule: H-TIME-1.
fn a_handshake_has_until_its_deadline_and_a_decision_comes_once() {
    let limits = ProxyLimits::default();
    let mut proxy = ProxyConnection::accept(limits, Timestamp::ZERO);
    proxy.handle_frame(FromAgent::Offer(Vec::new()), Timestamp::ZERO);
    let offer = proxy.poll_offer().unwrap();
    let deadline = Timestamp::ZERO.after(limits.handshake_timeout);
    proxy.handle_timeout(at(deadline.as_micros() - 1));
    assert_eq!(proxy.state(), ConnectionState::Opening);
    proxy.handle_timeout(deadline);
    let reason = CloseReason::HandshakeDeadline(limits.handshake_timeout);
    assert_eq!(proxy.close_reason(), Some(&reason));
    let before = proxy.clone();
    let nothing = Err(DecisionError::NothingToDecide);
    assert_eq!(proxy.accept_offer(offer, Vec::new(), terms(), deadline), nothing);
    assert_eq!(proxy.reject_offer(Pending { offer: Vec::new() }, Vec::new()), nothing);
    assert_eq!(proxy, before);
    assert_eq!(frames(&mut proxy), [ToAgent::Refuse(reason)]);
}

#[test]
fn bytes_of_a_half_frame_start_its_time_and_only_once() {
    let mut proxy = open();
    proxy.handle_progress(true, false, at(10));
    proxy.handle_progress(true, false, Timestamp::ZERO.after(Duration::from_secs(14)));
    let stalled = at(10).after(Duration::from_secs(60));
    for second in [20, 30, 40, 50, 59] {
        proxy.handle_progress(true, false, Timestamp::ZERO.after(Duration::from_secs(second)));
    }
    assert_eq!(proxy.poll_timeout(), Some(stalled));
    proxy.handle_timeout(stalled);
    assert_eq!(proxy.close_reason(), Some(&CloseReason::Violation(Violation::StalledFrame)));
}

#[test]
// Rule: C-ALIVE-1.
fn a_pong_is_no_answer_to_anything_else_and_silence_ends() {
    let mut proxy = open();
    let second = |n| Timestamp::ZERO.after(Duration::from_secs(n));
    proxy.handle_timeout(second(15));
    assert_eq!(frames(&mut proxy), [ToAgent::Ping { sequence: 1 }]);
    proxy.handle_frame(FromAgent::Pong, second(16));
    proxy.handle_timeout(second(30));
    assert_eq!(proxy.close_reason(), Some(&CloseReason::Silent(Duration::from_secs(30))));
}

#[test]
fn errors_say_what_to_do() {
    let rows = [
        (SubmitError::NotOpen, "the handshake is not done"),
        (SubmitError::Draining, "the connection drains; use another"),
        (SubmitError::Closed, "the connection is closed"),
        (SubmitError::DuplicateExchange, "ids are never used twice"),
        (SubmitError::BadCorrelationId { length: 9, limit: 8 }, "9 bytes; 1 to 8"),
        (SubmitError::Unsupported(EventKind::Configure), EventKind::Configure.name()),
        (SubmitError::Late, "the deadline has passed"),
        (SubmitError::QueueFull, "the queue is full"),
        (SubmitError::WouldWait(Shut::Draining), "wait: the connection drains"),
        (SubmitError::WouldWait(Shut::Paused), "paused the connection"),
        (SubmitError::WouldWait(Shut::WindowFull), "as many events are unanswered"),
        (SubmitError::WouldWait(Shut::Backlog), "reads slower"),
        (SubmitError::WouldWait(Shut::RequestPaused), "paused this request"),
        (SubmitError::WouldWait(Shut::Behind), "an earlier event"),
    ];
    for (error, words) in rows {
        assert!(error.to_string().contains(words), "{error}");
    }
    assert!(CancelError::Unknown.to_string().contains("ended already"));
    assert!(DecisionError::NothingToDecide.to_string().contains("no offer"));
    assert_eq!(ExchangeId(7).to_string(), "#7");
}

#[test]
fn a_ping_is_sent_though_something_else_waits_and_never_twice() {
    let due = Timestamp::ZERO.after(Duration::from_secs(15));
    let mut proxy = open();
    proxy.submit(Submission { deadline: due, ..submission(1, "r") }, Timestamp::ZERO).unwrap();
    frames(&mut proxy);
    // The Cancel of the exchange that times out at the same moment is no question to the peer.
    proxy.handle_timeout(due);
    let written = frames(&mut proxy);
    assert!(matches!(written.as_slice(), [ToAgent::Cancel { .. }, ToAgent::Ping { .. }]), "{written:?}");
}

#[test]
// Rule: C-PING-1, C-PING-2.
fn pongs_that_are_not_read_are_bounded_and_those_that_are_read_are_not() {
    let mut limits = ProxyLimits::default();
    limits.control.pongs = 2;
    let mut proxy = open_with(limits, terms());
    // Frames that are no pongs don't count.
    for (exchange, id) in [(1, "a"), (2, "b"), (3, "c")] {
        proxy.submit(submission(exchange, id), at(1)).unwrap();
    }
    frames(&mut proxy);
    assert_eq!(proxy.cancel_all(CancelReason::Manual, at(1)), 3);
    for round in 0..2 {
        proxy.handle_frame(FromAgent::Ping(alloc::vec![round]), at(1));
        proxy.handle_frame(FromAgent::Ping(alloc::vec![round + 9]), at(1));
        let pongs: Vec<_> =
            frames(&mut proxy).into_iter().filter(|frame| matches!(frame, ToAgent::Pong(_))).collect();
        assert_eq!(pongs, [ToAgent::Pong(alloc::vec![round]), ToAgent::Pong(alloc::vec![round + 9])]);
    }
    for _ in 0..3 {
        proxy.handle_frame(FromAgent::Ping(Vec::new()), at(1));
    }
    let violation = Violation::PingFlood { limit: 2 };
    assert_eq!(proxy.close_reason(), Some(&CloseReason::Violation(violation)));
}

#[test]
// Rule: C-ALIVE-1.
fn a_ping_that_is_not_written_yet_asks_for_the_next_one_too() {
    let mut limits = ProxyLimits::default();
    limits.keepalive.judged = Judged::WhoAnswered;
    let mut proxy = open_with(limits, terms());
    for round in 1..=3 {
        proxy.handle_timeout(Timestamp::ZERO.after(Duration::from_secs(15 * round)));
    }
    assert_eq!((frames(&mut proxy), proxy.stats().pings), (alloc::vec![ToAgent::Ping { sequence: 1 }], 1));
}

#[test]
// Rule: C-ALIVE-1.
fn an_agent_that_has_answered_a_ping_is_held_to_it() {
    let mut limits = ProxyLimits::default();
    limits.keepalive.judged = Judged::WhoAnswered;
    for (answers, held) in [(true, true), (false, false)] {
        let mut proxy = open_with(limits, terms());
        let second = |n| Timestamp::ZERO.after(Duration::from_secs(n));
        proxy.handle_timeout(second(15));
        if answers {
            proxy.handle_frame(FromAgent::Pong, second(16));
        }
        proxy.handle_timeout(second(30));
        assert_eq!(proxy.state() == ConnectionState::Closed, held);
    }
}
