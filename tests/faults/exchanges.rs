//! Events and their answers on a registered connection.

use std::time::Duration;

use dialback::machine::{CloseReason, ConnectionState, Shut, SubmitError};
use dialback::net::{AskError, PendingAnswer};
use dialback::wire::{CancelReason, RequestBodyChunk};
use serde_json::json;

use crate::raw::*;
use crate::site::*;

/// Short enough to be waited for, for what must time out.
const SHORT: Duration = Duration::from_millis(300);

/// Upstream: the caller learns of the agent's death when its own time is over, and so does the
/// next one, who asks the dead connection.
///
/// Here: everything in flight or waiting ends at once and says whether the agent had it; the next
/// question is refused at once.
#[tokio::test]
// Rule: C-CLOSE-1.
async fn fault_01_an_agent_that_dies_ends_its_callers_at_once() {
    let site = Site::new().await;
    let (mut raw, handle) = site.agent("a").await;
    let asked: Vec<_> = ["1", "2", "3"].iter().map(|id| ask(&handle, id)).collect();
    // It waits for the answer to the event of its request that is on the wire.
    let waiting = handle.ask(chunk("1", "x")).send().unwrap();
    for id in ["1", "2", "3"] {
        assert_eq!(raw.expect(HEADERS).await.id(), id);
    }
    drop(raw);
    let lost = |written| AskError::ConnectionLost { written, reason: Some(CloseReason::PeerClosed) };
    for pending in asked {
        assert_eq!(soon(pending).await, Err(lost(true)));
    }
    assert_eq!(soon(waiting).await, Err(lost(false)));
    assert_eq!(soon(handle.closed()).await, CloseReason::PeerClosed);
    assert_eq!(
        soon(handle.ask(headers("4")).into_future()).await,
        Err(AskError::Refused(SubmitError::Closed))
    );
    assert_eq!(handle.stats().totals.lost, 4);
    until("its place is free", || site.listener.connections() == 0).await;
}

/// Upstream: reads the pause, and goes on sending events.
///
/// Here: nothing is written between a pause and its resume, of the connection or of one request,
/// in either spelling; what waits then flows; who won't wait is told why.
#[tokio::test]
// Rule: F-PAUSE-1.
async fn fault_02_a_paused_agent_is_sent_no_event() {
    let site = Site::new().await;
    let (mut raw, handle) = site.agent("a").await;
    let integer = (json!(1), json!(2));
    let tagged = (json!({"type": "pause"}), json!({"type": "resume"}));
    for (round, (pause, resume)) in [integer, tagged].into_iter().enumerate() {
        let flow = |action| json!({"correlation_id": null, "action": action, "timestamp_ms": 0}).to_string();
        raw.send(FLOW, flow(pause)).await;
        assert!(raw.said().await.is_empty());
        assert!(handle.is_paused() && !handle.can_accept());
        let id = format!("waits-{round}");
        let waits = ask(&handle, &id);
        let paused = AskError::Refused(SubmitError::WouldWait(Shut::Paused));
        assert_eq!(handle.ask(headers("hurries")).fail_fast().await, Err(paused));
        assert_eq!(kinds(&raw.said().await), NOTHING);
        assert_eq!(handle.stats().waiting, 1);
        raw.send(FLOW, flow(resume)).await;
        assert_eq!(raw.expect(HEADERS).await.id(), id);
        raw.allow(&id, "").await;
        assert!(soon(waits).await.unwrap().is_allow());
    }

    raw.flow(Some("held"), 1).await;
    assert!(raw.said().await.is_empty());
    let (held, free) = (ask(&handle, "held"), ask(&handle, "free"));
    let said = raw.said().await;
    assert_eq!((said.len(), said[0].id().as_str()), (1, "free"));
    raw.allow("free", "").await;
    assert!(soon(free).await.unwrap().is_allow());
    raw.flow(Some("held"), 2).await;
    assert_eq!(raw.expect(HEADERS).await.id(), "held");
    raw.block("held", 403).await;
    assert!(!soon(held).await.unwrap().is_allow());
}

/// Upstream: one frame of a type it does not know ends the connection, and all later requests
/// time out.
///
/// Here: the frame is skipped and counted, whatever its length, and changes nothing else.
#[tokio::test]
// Rule: W-TYPE-2.
async fn fault_04_a_frame_of_unknown_type_is_skipped() {
    let site = Site::new().await;
    let (mut raw, handle) = site.agent("a").await;
    let asked = ask(&handle, "1");
    raw.expect(HEADERS).await;
    for (kind, payload) in
        [(0x00, vec![]), (0x18, b"{}".to_vec()), (0x7f, vec![0xff; 9]), (0xff, vec![7; 1 << 20])]
    {
        raw.send(kind, payload).await;
    }
    raw.allow("1", "").await;
    assert!(soon(asked).await.unwrap().is_allow());
    let asked = ask(&handle, "2");
    raw.expect(HEADERS).await;
    raw.block("2", 403).await;
    assert!(!soon(asked).await.unwrap().is_allow());
    assert_eq!(handle.stats().totals.unknown_frames, 4);
    assert_eq!(handle.state(), ConnectionState::Open);
}

/// Upstream: with two events of one request in flight, both callers are told that the connection
/// was closed.
///
/// Here: the second waits for the answer to the first, and each caller gets its own; an agent that
/// echoes exchange ids gets both at once, and may answer them in any order.
#[tokio::test]
// Rule: X-ECHO-1.
async fn fault_05_two_events_of_one_request_each_get_their_own_answer() {
    let site = Site::new().await;
    let (mut raw, handle) = site.agent("a").await;
    let first = ask(&handle, "r");
    let second = handle.ask(chunk("r", "body")).send().unwrap();
    assert_eq!(kinds(&raw.said().await), [HEADERS]);
    raw.allow("r", "of the headers").await;
    raw.expect(CHUNK).await;
    raw.block("r", 403).await;
    assert_eq!(soon(first).await.unwrap().audit.tags, ["of the headers"]);
    assert!(!soon(second).await.unwrap().is_allow());

    let mut exact = registration("exact");
    exact["capabilities"]["features"]["exchange_ids"] = json!(true);
    let (mut raw, handle) = site.agent_as(&exact).await;
    let first = ask(&handle, "r");
    let second = handle.ask(chunk("r", "body")).send().unwrap();
    let (head, body) = (raw.expect(HEADERS).await.json(), raw.expect(CHUNK).await.json());
    for (event, tag) in [(body, "of the body"), (head, "of the headers")] {
        let custom = json!({"correlation_id": "r", "exchange_id": event["exchange_id"]});
        let answer = json!({"version": 2, "decision": "allow", "audit": {"tags": [tag], "custom": custom}});
        raw.send(ANSWER, answer.to_string()).await;
    }
    assert_eq!(soon(first).await.unwrap().audit.tags, ["of the headers"]);
    assert_eq!(soon(second).await.unwrap().audit.tags, ["of the body"]);
}

/// Upstream: a caller that drops its future leaves the count of requests in flight one too high
/// for ever, and the agent works on.
///
/// Here: the agent is told with one Cancel, unless the event never left; the place is free once
/// the answer it owes has come.
#[tokio::test]
// Rule: C-CANCEL-1.
async fn fault_06_a_dropped_future_frees_its_place_and_tells_the_agent() {
    let site = Site::with(|config| config.proxy.limits.window = 1).await;
    let (mut raw, handle) = site.agent("a").await;
    for round in 1..=5 {
        let (dropped, waiting) = (ask(&handle, "dropped"), ask(&handle, "never sent"));
        assert_eq!(raw.expect(HEADERS).await.id(), "dropped");
        drop((waiting, dropped));
        let cancel = raw.expect(CANCEL).await;
        assert_eq!((cancel.id().as_str(), &cancel.json()["reason"]), ("dropped", &json!(0)));
        assert_eq!((handle.in_flight(), handle.stats().waiting), (1, 0));
        raw.allow("dropped", "").await;
        assert_eq!(kinds(&raw.said().await), NOTHING);
        assert_eq!(handle.in_flight(), 0);
        assert_eq!(handle.stats().totals.late_answers, round);
    }
    let asked = ask(&handle, "last");
    assert_eq!(raw.expect(HEADERS).await.id(), "last");
    raw.allow("last", "").await;
    assert!(soon(asked).await.unwrap().is_allow());
    let totals = handle.stats().totals;
    assert_eq!((totals.cancelled, totals.written, totals.answered), (10, 6, 1));
}

/// Upstream: an agent that says it takes two events at once is sent ten.
///
/// Here: no more are unanswered on the wire than the agent said, in whichever of the two fields
/// it said so, or announces later.
#[tokio::test]
// Rule: F-CAP-1.
async fn fault_08_an_agent_is_sent_no_more_than_it_can_take() {
    let site = Site::new().await;
    for (group, field) in [("limits", "max_concurrency"), ("features", "concurrent_requests")] {
        let mut narrow = registration("narrow");
        narrow["capabilities"][group][field] = json!(2);
        let (mut raw, handle) = site.agent_as(&narrow).await;
        let mut asked: Vec<PendingAnswer> = (0..10).map(|n| ask(&handle, &format!("r{n}"))).collect();
        let mut unanswered: Vec<String> = raw.said().await.iter().map(Frame::id).collect();
        while !unanswered.is_empty() {
            let left = asked.len();
            assert_eq!((unanswered.len(), handle.in_flight()), (left.min(2), left.min(2)), "{field}");
            assert_eq!(handle.stats().waiting, left.saturating_sub(2));
            raw.allow(&unanswered.remove(0), "").await;
            assert!(soon(asked.remove(0)).await.unwrap().is_allow());
            unanswered.extend(raw.said().await.iter().map(Frame::id));
        }
        assert_eq!(handle.stats().totals.answered, 10);

        // It may say so later, too.
        let capacity = json!({"correlation_id": null, "timestamp_ms": 0, "action": 3, "buffer_available": 1});
        raw.send(FLOW, capacity.to_string()).await;
        assert_eq!(kinds(&raw.said().await), NOTHING);
        let _asked: Vec<_> = (0..3).map(|n| ask(&handle, &format!("r{n}"))).collect();
        assert_eq!(kinds(&raw.said().await), [HEADERS]);
    }
}

/// Upstream: a request times out, the next event of its id goes out, and the late answer to the
/// first is given to the second: an Allow for the headers lets the body pass.
///
/// Here: the id is shut until the late answer has come and been dropped. The second event then
/// goes out and gets its own verdict.
#[tokio::test]
// Rule: X-MATCH-2.
async fn fault_09_a_late_answer_is_never_anothers_verdict() {
    let site = Site::new().await;
    let (mut raw, handle) = site.agent("a").await;
    let error = soon(handle.ask(headers("r")).timeout(SHORT).into_future()).await.unwrap_err();
    assert_eq!(error, AskError::TimedOut);
    raw.expect(HEADERS).await;
    let cancel = raw.expect(CANCEL).await;
    assert_eq!((cancel.id().as_str(), &cancel.json()["reason"]), ("r", &json!(1)));

    let second = handle.ask(chunk("r", "attack")).send().unwrap();
    assert_eq!(
        handle.ask(chunk("r", "x")).fail_fast().await,
        Err(AskError::Refused(SubmitError::WouldWait(Shut::Behind)))
    );
    assert_eq!(kinds(&raw.said().await), NOTHING);
    raw.allow("r", "late").await;
    assert_eq!(raw.expect(CHUNK).await.json()["data"], "YXR0YWNr");
    raw.block("r", 403).await;
    let answer = soon(second).await.unwrap();
    assert!(!answer.is_allow() && !answer.audit.tags.contains(&"late".into()));
    let totals = handle.stats().totals;
    assert_eq!((totals.timed_out, totals.late_answers, totals.answered), (1, 1, 1));
}

/// Upstream: an agent's Ping gets no answer.
///
/// Here: it is answered with its payload, byte for byte, whether or not that is JSON, and while
/// requests are in flight.
#[tokio::test]
// Rule: C-PING-1.
async fn fault_10_a_ping_is_answered_with_its_payload() {
    let site = Site::new().await;
    let (mut raw, handle) = site.agent("a").await;
    let asked = ask(&handle, "1");
    raw.expect(HEADERS).await;
    for payload in [&br#"{"sequence":18446744073709551615,"timestamp_ms":7}"#[..], b"", b"\x00\xff not JSON"]
    {
        raw.send(PING, payload).await;
        assert_eq!(raw.expect(PONG).await.payload, payload);
    }
    raw.allow("1", "").await;
    assert!(soon(asked).await.unwrap().is_allow());
    assert_eq!(handle.stats().totals.pongs, 3);
}

/// Upstream: once the socket is full, the request timeout does not hold any more, and neither
/// cancelling nor removing the agent ever returns.
///
/// Here: a deadline covers the way to the socket too, and no command waits for the agent.
#[tokio::test]
async fn fault_11_an_agent_that_stops_reading_holds_nobody() {
    let big = |n: usize| RequestBodyChunk::new(format!("r{n}"), vec![7; 64 << 10]);
    let site = Site::new().await;
    let (_deaf, handle) = site.agent("deaf").await;
    let written = || handle.stats().totals.written;
    let first = handle.ask(big(0)).timeout(SHORT * 4).send().unwrap();
    until("the first is on its way", || written() == 1).await;
    let patient: Vec<_> = (1..40).map(|n| handle.ask(big(n)).send().unwrap()).collect();
    until("the socket is full", || handle.shut() == Some(Shut::Backlog)).await;
    let hurried = |n| handle.ask(big(n)).timeout(SHORT).send().unwrap();
    for pending in (40..200).map(hurried).collect::<Vec<_>>() {
        assert_eq!(soon(pending).await, Err(AskError::Expired));
    }
    assert_eq!(soon(first).await, Err(AskError::TimedOut));
    let written = written() - 1;
    assert!(written < 39, "the socket took everything");

    let theirs = handle.clone();
    assert_eq!(returns(move || theirs.cancel_all(CancelReason::Manual)).await, 39);
    for (n, pending) in (0..).zip(patient) {
        let cancelled = AskError::Cancelled { reason: CancelReason::Manual, written: n < written };
        assert_eq!(soon(pending).await, Err(cancelled));
    }
    assert_eq!(soon(handle.drain(SHORT)).await, CloseReason::DrainDeadline);

    let (_deaf, handle) = site.agent("deaf").await;
    let asked: Vec<_> = (0..50).map(|n| handle.ask(big(n)).send().unwrap()).collect();
    let theirs = handle.clone();
    returns(move || theirs.close()).await;
    for pending in asked {
        let lost = soon(pending).await.unwrap_err();
        assert!(
            matches!(&lost, AskError::ConnectionLost { reason: Some(CloseReason::Closed), .. }),
            "{lost}"
        );
    }

    let (_deaf, handle) = site.agent("deaf").await;
    let _asked: Vec<_> = (0..50).map(|n| handle.ask(big(n)).send().unwrap()).collect();
    soon(site.listener.shutdown(SHORT)).await;
    assert!(handle.is_closed());
    assert_eq!(site.listener.connections(), 0);
}

/// Upstream: an event of 17 MiB ends the connection and every innocent request on it.
///
/// Here: its caller alone is told that it is too large, and nothing is written. The longest that
/// fits goes through.
#[tokio::test]
// Rule: W-FRAME-6.
async fn fault_13_an_oversize_event_fails_alone() {
    let site = Site::new().await;
    let (mut raw, handle) = site.agent("a").await;
    let innocent = ask(&handle, "innocent");
    raw.expect(HEADERS).await;
    let error = handle.ask(RequestBodyChunk::new("big", vec![0; 17 << 20])).await.unwrap_err();
    let AskError::TooLarge { length, limit } = error else { panic!("{error}") };
    assert!(length > 17 << 20 && limit == 16 << 20, "{length} of {limit}");
    assert_eq!(kinds(&raw.said().await), NOTHING);
    raw.block("innocent", 403).await;
    assert!(!soon(innocent).await.unwrap().is_allow());

    let fits = handle.ask(RequestBodyChunk::new("fits", vec![0; (12 << 20) - 1_024])).send().unwrap();
    let event = raw.expect(CHUNK).await;
    assert!(event.payload.len() > 16_000_000 && event.payload.len() < 16 << 20);
    raw.allow("fits", "").await;
    assert!(soon(fits).await.unwrap().is_allow());
    assert_eq!(handle.stats().totals.answered, 2);
}

/// Upstream: after three slow answers in a row an agent counts as unhealthy, and nothing ever
/// makes it well again.
///
/// Here: what an agent owes counts against it only until it has come. Then it serves as before.
#[tokio::test]
async fn fault_16_slow_answers_do_not_mark_an_agent_for_ever() {
    let site = Site::with(|config| config.proxy.limits.window = 6).await;
    let (mut raw, handle) = site.agent("slow").await;
    let late = |round| handle.ask(headers(&format!("r{round}"))).timeout(SHORT).send().unwrap();
    for pending in (0..6).map(late).collect::<Vec<_>>() {
        assert_eq!(soon(pending).await, Err(AskError::TimedOut));
    }
    assert_eq!((handle.in_flight(), handle.can_accept()), (6, false));
    for round in 0..6 {
        raw.allow(&format!("r{round}"), "late").await;
    }
    assert_eq!(kinds(&raw.said().await), [[HEADERS; 6], [CANCEL; 6]].concat());
    assert_eq!((handle.in_flight(), handle.can_accept()), (0, true));
    assert_eq!(handle.state(), ConnectionState::Open);
    for id in ["r0", "new"] {
        let asked = ask(&handle, id);
        assert_eq!(raw.expect(HEADERS).await.id(), id);
        raw.allow(id, "in time").await;
        assert_eq!(soon(asked).await.unwrap().audit.tags, ["in time"]);
    }
    assert_eq!(handle.stats().totals.late_answers, 6);
}

/// Upstream: with two agents in one pool and the same correlation id at both, the body chunk that
/// is meant for one is sent to the other.
///
/// Here: a handle is a connection, and ids live within it.
#[tokio::test]
async fn fault_17_two_agents_keep_the_same_correlation_id_apart() {
    let site = Site::new().await;
    let (mut waf, to_waf) = site.agent("waf").await;
    let (mut auth, to_auth) = site.agent("auth").await;
    let asked = (ask(&to_waf, "same"), ask(&to_auth, "same"));
    for raw in [&mut waf, &mut auth] {
        assert_eq!(raw.expect(HEADERS).await.id(), "same");
    }
    waf.allow("same", "waf").await;
    auth.allow("same", "auth").await;
    assert_eq!(soon(asked.0).await.unwrap().audit.tags, ["waf"]);
    assert_eq!(soon(asked.1).await.unwrap().audit.tags, ["auth"]);

    let asked = (
        to_waf.ask(chunk("same", "for waf")).send().unwrap(),
        to_auth.ask(chunk("same", "for auth")).send().unwrap(),
    );
    assert_eq!(waf.expect(CHUNK).await.json()["data"], "Zm9yIHdhZg==");
    assert_eq!(auth.expect(CHUNK).await.json()["data"], "Zm9yIGF1dGg=");
    waf.block("same", 403).await;
    auth.allow("same", "auth").await;
    assert!(!soon(asked.0).await.unwrap().is_allow());
    assert!(soon(asked.1).await.unwrap().is_allow());
    assert_eq!((kinds(&waf.said().await), kinds(&auth.said().await)), (NOTHING.into(), NOTHING.into()));
}
