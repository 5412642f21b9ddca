//! The fault suite over real sockets, in small doses: what hostile and broken agents do, the
//! bound that held, and an innocent agent beside them whose every request succeeded.
//!
//! `cargo run --release --example faults` inflicts the same in large doses and prints a table.

#![cfg(target_os = "linux")]
// A failed expectation is what a test is for; the examples use more of what they share.
#![allow(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, dead_code)]

#[path = "../examples/common/gauge.rs"]
mod gauge;
#[path = "../examples/common/raw.rs"]
mod raw;
#[path = "../examples/faults/scenarios/mod.rs"]
mod scenarios;

use std::sync::Mutex;

use scenarios::{Dose, Fault, run};

/// Memory, tasks and descriptors are the process's, so the scenarios take turns.
static TURN: Mutex<()> = Mutex::new(());

fn bear(fault: Fault) {
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let report = runtime.expect("a runtime").block_on(run(fault, Dose::Small));
    println!("{}: {}", fault.name(), report.happened);
    for bound in &report.bounds {
        println!("    {} {}", if bound.held { "held" } else { "BROKEN" }, bound.words);
    }
    let broken: Vec<_> = report.bounds.iter().filter(|bound| !bound.held).map(|bound| &bound.words).collect();
    assert!(broken.is_empty(), "{}: {}: {broken:#?}", fault.name(), report.happened);
}

macro_rules! tests {
    ($($name:ident $fault:ident,)*) => {
        $(
            #[test]
            fn $name() {
                bear(Fault::$fault);
            }
        )*

        #[test]
        fn every_fault_has_a_test() {
            assert_eq!(Fault::ALL, [$(Fault::$fault),*]);
        }
    };
}

tests! {
    a_reconnect_storm Storm,
    a_silent_crowd_at_the_door Crowd,
    slow_loris_before_registration LorisBefore,
    half_a_registration HalfRegistration,
    hurtful_registrations HurtfulRegistration,
    slow_loris_after_registration LorisAfter,
    half_frames HalfFrames,
    a_flood_of_unknown_frames UnknownFrames,
    a_flood_of_unknown_ids UnknownIds,
    oversize_frames Oversize,
    hurtful_json HurtfulJson,
    an_agent_that_answers_twice AnswersTwice,
    an_agent_that_never_answers AnswersNever,
    an_agent_that_answers_wrongly AnswersWrongly,
    an_agent_that_stops_reading StalledReader,
    a_ping_flood_unread PingFlood,
    a_ping_flood_read PingsRead,
    a_pause_without_end PausedForEver,
    pauses_of_requests_without_end ManyPauses,
}
