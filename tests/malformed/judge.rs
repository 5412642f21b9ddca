//! Drives a row in every way and compares what happened with what the table says.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use dialback::machine::{CloseReason, ConnectionState, Ending};
use dialback::wire::{Answer, Encoding};

use super::row::*;
use super::subject::{End, Subject, Written};

/// Rows that send no more than this are cut in two at every position; longer ones at some.
const SHORT: usize = 400;

/// How a row's bytes are cut.
#[derive(Clone, Copy, Debug)]
enum Cut {
    Whole,
    EveryByte,
    /// In two, so many bytes from the start.
    At(usize),
}

/// What must not depend on the cut.
#[derive(Debug, PartialEq)]
struct Essence {
    closed: Vec<CloseReason>,
    dropped: [u64; 4],
    endings: Vec<String>,
    handed_out: usize,
    written: Vec<Written>,
}

/// Runs a row in every way. An error says which went wrong, and how.
pub fn judge(row: &Row) -> Result<(), String> {
    let size = row.size();
    let stride = (size / SHORT).max(1) * if size > SHORT { 16 } else { 1 };
    let cuts = [Cut::Whole, Cut::EveryByte].into_iter().chain((1..size).step_by(stride).map(Cut::At));
    let start = Subject::new(row.to, row.rules);
    let mut first = None;
    for cut in cuts {
        let run = || run(row, start.clone(), cut);
        let essence = catch_unwind(AssertUnwindSafe(run)).map_err(|panic| {
            let words = panic.downcast_ref::<String>().cloned();
            let words = words.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
            format!("{cut:?}: {}", words.unwrap_or_default())
        })?;
        match &first {
            None => first = Some(essence),
            Some(first) if *first == essence => {}
            Some(first) => return Err(format!("{cut:?} differs:\n    {essence:?}\n    {first:?}")),
        }
    }
    Ok(())
}

fn run(row: &Row, mut subject: Subject, cut: Cut) -> Essence {
    let before = subject.dropped();
    let already_written = subject.out.len();
    subject.deaf = row.deaf;
    let mut sent = 0;
    for act in &row.acts {
        match act {
            Act::Send(bytes) => {
                for piece in pieces(bytes, cut, sent) {
                    subject.feed(piece);
                }
                sent += bytes.len();
            }
            Act::End | Act::Silence | Act::Breath => subject.act(act),
        }
    }
    let essence = essence(&subject, already_written);
    check(row, &mut subject, before);
    essence
}

fn pieces(bytes: &[u8], cut: Cut, sent: usize) -> Vec<&[u8]> {
    match cut {
        Cut::Whole => Vec::from([bytes]),
        Cut::EveryByte => bytes.chunks(1).collect(),
        Cut::At(place) => match bytes.split_at_checked(place.saturating_sub(sent)) {
            Some((left, right)) => Vec::from([left, right]),
            None => Vec::from([bytes]),
        },
    }
}

fn essence(subject: &Subject, already_written: usize) -> Essence {
    let mut fresh = subject.clone();
    fresh.out.drain(..already_written);
    let mut written = fresh.written();
    // Which of two frames goes first may follow from when the bytes came.
    written.sort();
    Essence {
        closed: subject.closed.clone(),
        dropped: subject.dropped(),
        endings: subject.exchanges.iter().map(|entry| format!("{entry:?}")).collect(),
        handed_out: subject.receipts.len(),
        written,
    }
}

fn check(row: &Row, subject: &mut Subject, before: [u64; 4]) {
    let dropped = subject.dropped();
    let grown: Vec<u64> = dropped.iter().zip(before).map(|(after, before)| after - before).collect();
    let wanted = match row.gets {
        Outcome::Dropped(Counter::Unknown) => [1, 0, 0, 0],
        Outcome::Dropped(Counter::Unreadable) => [0, 1, 0, 0],
        Outcome::Dropped(Counter::Stray) => [0, 0, 1, 0],
        Outcome::Refused(_)
        | Outcome::Closed(_)
        | Outcome::BadAnswer(_)
        | Outcome::BadEvent(_)
        | Outcome::Taken(_) => [0; 4],
    };
    assert_eq!(grown, wanted, "counted: unknown, unreadable, stray, late");
    match row.gets {
        Outcome::Refused(words) => check_refused(subject, words),
        Outcome::Closed(words) => check_closed(subject, words),
        Outcome::Dropped(_) | Outcome::Taken(_) => {}
        Outcome::BadAnswer(words) => check_bad_answer(subject, words),
        Outcome::BadEvent(words) => check_bad_event(subject, words),
    }
    match row.gets {
        Outcome::Refused(_) | Outcome::Closed(_) => subject.check_over(),
        Outcome::Dropped(_) | Outcome::Taken(_) | Outcome::BadAnswer(_) | Outcome::BadEvent(_) => {
            assert_eq!(subject.closed, [], "it closed");
            assert_eq!((subject.state(), subject.opened), (ConnectionState::Open, 1));
            subject.serve();
        }
    }
}

fn check_refused(subject: &mut Subject, words: &str) {
    subject.deaf = false;
    let responses = subject.responses();
    let [response] = &responses[..] else { panic!("{} responses on the wire", responses.len()) };
    assert_eq!(response["success"], false);
    let error = response["error"].as_str().unwrap_or_default();
    assert!(error.contains(words), "refused with: {error}");
    // A reason is one readable line of bounded length, whatever the peer sent.
    assert!(error.len() < 400 && !error.contains(char::is_control), "not fit for a log: {error:?}");
    let Some(reason) = subject.closed.first() else { panic!("not closed") };
    assert!(*reason == CloseReason::Rejected || reason.to_string() == error, "closed: {reason}");
    assert_eq!(subject.opened, 0);
    for secret in ["tok-", "12345"] {
        assert!(!error.contains(secret), "a secret in words: {error}");
    }
}

fn check_closed(subject: &Subject, words: &str) {
    let Some(reason) = subject.closed.first() else { panic!("not closed") };
    let told = reason.to_string();
    assert!(told.contains(words), "closed: {told}");
    assert!(told.len() < 400 && !told.contains(char::is_control), "not fit for a log: {told:?}");
    assert!(subject.responses().iter().all(|response| response["success"] == true), "refused as well");
}

/// The exchange of `one` has ended, with an answer that its caller can't read.
fn check_bad_answer(subject: &Subject, words: &str) {
    let ended: BTreeMap<_, _> = subject.exchanges.iter().filter(|(_, endings)| !endings.is_empty()).collect();
    assert_eq!(ended.len(), 1, "{} exchanges ended", ended.len());
    let [Ending::Answered(payload)] = &ended[&dialback::machine::ExchangeId(1)][..] else {
        panic!("{ended:?}")
    };
    match Encoding::Json.decode::<Answer>(payload) {
        Ok(answer) => panic!("it was read: {answer:?}"),
        Err(error) => assert!(error.to_string().contains(words), "the caller is told: {error}"),
    }
}

/// One event more has been handed out, and can't be read.
fn check_bad_event(subject: &Subject, words: &str) {
    assert!(matches!(subject.end, End::Agent(_)));
    let [_, _, receipt] = &subject.receipts[..] else { panic!("{} handed out", subject.receipts.len()) };
    match receipt.event() {
        Ok(event) => panic!("it was read: {event:?}"),
        Err(error) => assert!(error.to_string().contains(words), "the handler's side is told: {error}"),
    }
}
