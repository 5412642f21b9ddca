//! The simulator: it finds nothing, it repeats itself, it leaves nothing out, and it would find something.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use dialback::testing::sim::{
    Cause, End, Failure, Fault, FaultKind, FaultRates, HandlerContext, Reply, Report, Sim, SimConfig,
    SimHandler, Told, Verdict, What,
};
use dialback::wire::{Answer, CorrelationId, Decision, Event, RequestHeaders};

/// Plays these seeds, on all cores.
fn play(config: &SimConfig, seeds: std::ops::Range<u64>) -> Report {
    let half = seeds.start.midpoint(seeds.end);
    let part = |seeds: std::ops::Range<u64>| {
        let mut sum = Report::default();
        for seed in seeds {
            sum.add(&Sim::run(config, seed).unwrap_or_else(|failure| panic!("{failure}")));
        }
        sum
    };
    std::thread::scope(|scope| {
        let first = scope.spawn(|| part(seeds.start..half));
        let mut sum = part(half..seeds.end);
        sum.add(&first.join().unwrap());
        sum
    })
}

#[test]
fn every_fault_every_end_and_every_close_is_reached_and_every_property_holds() {
    let report = play(&SimConfig::default(), 0..100);
    let missed: Vec<&Fault> = Fault::ALL.iter().filter(|fault| !report.faults.contains_key(fault)).collect();
    assert!(missed.is_empty(), "never brought about: {missed:?}");
    let missed: Vec<End> = End::ALL.into_iter().filter(|end| !report.ends.contains_key(end)).collect();
    assert!(missed.is_empty(), "never reached: {missed:?}");
    let wanted = BTreeSet::from([
        "closed here",
        "drain deadline",
        "drained",
        "handshake deadline",
        "peer closed",
        "peer drained",
        "refused by peer",
        "rejected here",
        "silent",
        "transport lost",
        "unresponsive",
        "violation: frame",
        "violation: huge ping",
        "violation: long id",
        "violation: no handshake",
        "violation: pause flood",
        "violation: ping flood",
        "violation: second handshake",
        "violation: stalled frame",
        "violation: wrong direction",
    ]);
    let reached: BTreeSet<&str> = report.closes.keys().copied().collect();
    assert!(wanted.is_subset(&reached), "never closed so: {:?}", wanted.difference(&reached));
    assert!(report.reconnections > 100 && report.retries > 100 && report.turned_away > 100, "{report:#?}");
}

#[test]
fn the_presets_hold() {
    play(&SimConfig::rough(), 0..8);
    play(&SimConfig::hostile(), 0..8);
    let one = SimConfig { agents: 1, connections: 1, ..SimConfig::default() };
    play(&one, 0..8);
}

#[test]
// Rule: X-ECHO-2, X-MATCH-3.
fn answers_that_are_nobody_s_end_nothing() {
    let faults = [Fault::WrongAnswer, Fault::DuplicateAnswer, Fault::StrayAnswer];
    let rates = faults.iter().fold(FaultRates::none(), |rates, fault| rates.with(*fault, 300));
    let report = play(&SimConfig { faults: rates, ..SimConfig::hostile() }, 0..30);
    assert!(
        faults.iter().all(|fault| report.faults.get(fault).is_some_and(|count| *count > 50)),
        "{report:#?}"
    );
}

#[test]
fn calm_means_that_every_question_is_answered() {
    let report = play(&SimConfig::calm(), 0..10);
    assert_eq!(report.ends, BTreeMap::from([(End::Answered, report.exchanges)]));
    assert!(report.faults.is_empty() && report.reconnections == 0, "{report:#?}");
    assert_eq!(report.closes, BTreeMap::from([("drained", report.connections)]));
}

/// If this number changes although nothing was meant to change that a run can see, something did.
/// Else put the new one here.
const DIGEST_OF_SEED_7: u64 = 0xa3a2_5d60_99fc_7ed4;

#[test]
fn a_seed_repeats_itself_step_by_step() {
    let watched = |seed| {
        let mut steps = Vec::new();
        let sim = Sim::new(SimConfig::default()).with_watch(|step| steps.push(step.clone()));
        let report = sim.play(seed).unwrap();
        (report, steps)
    };
    let ((one, steps), (other, again)) = (watched(7), watched(7));
    assert_eq!(one, other);
    assert_eq!(steps, again);
    assert!(steps.len() > 100);
    assert_ne!(one.path, watched(8).0.path);
    assert_eq!(one.digest(), DIGEST_OF_SEED_7, "the digest of seed 7 is now {:#018x}", one.digest());
}

// ---- what a user brings ----

fn is_admin(event: &Event) -> bool {
    matches!(event, Event::RequestHeaders(request) if request.uri == "/admin/users")
}

/// A handler with state, that names its delays and hears of cancellations.
#[derive(Default)]
struct Counting {
    handled: u64,
    cancelled: u64,
}

impl SimHandler for &mut Counting {
    fn handle(&mut self, event: &Event, context: &HandlerContext) -> Reply {
        assert!(context.connection > 0);
        self.handled += 1;
        let after = Duration::from_millis(if self.handled.is_multiple_of(10) { 400 } else { 1 });
        let answer = if is_admin(event) { Answer::block(403) } else { Answer::allow() };
        Reply { answer, after: Some(after) }
    }

    fn cancelled(&mut self, id: &CorrelationId, _: &HandlerContext) {
        assert!(!id.is_empty());
        self.cancelled += 1;
    }
}

#[test]
fn a_handler_with_state_runs_under_faults() {
    let (mut counting, mut told) = (Counting::default(), 0_u64);
    for seed in 0..10 {
        let judge = |outcome: &Told<'_>| {
            told += 1;
            let answered = outcome.end == End::Answered;
            let (Event::RequestHeaders(request), true, true) = (outcome.event, outcome.honest, answered)
            else {
                return Ok(());
            };
            let answer = outcome.answer.as_ref().ok_or("an honest answer can't be read")?;
            let blocked = matches!(answer.decision, Decision::Block { .. });
            (blocked == (request.uri == "/admin/users")).then_some(()).ok_or_else(|| "wrong".to_string())
        };
        let sim = Sim::new(SimConfig::default()).with_handler(&mut counting).with_judge(judge);
        sim.play(seed).unwrap_or_else(|failure| panic!("{failure}"));
    }
    assert!(counting.handled > 500 && counting.cancelled > 10, "{} {}", counting.handled, counting.cancelled);
    assert!(told > counting.handled / 2, "{told}");
}

fn fails(seed: u64) -> Failure {
    let judge = |told: &Told<'_>| if is_admin(told.event) { Err("seen".to_string()) } else { Ok(()) };
    Sim::new(SimConfig::default()).with_judge(judge).play(seed).unwrap_err()
}

#[test]
fn a_failure_names_its_seed_shows_its_steps_and_repeats_itself() {
    let failure = fails(3);
    assert_eq!(failure, fails(3));
    assert_eq!((failure.seed, &failure.cause), (3, &Cause::Judge("seen".into())));
    let last = failure.trace.last().unwrap();
    assert!(matches!(last.what, What::Ended { .. }), "{last}");
    let text = failure.to_string();
    assert!(text.contains("seed 3") && text.contains("ends: "), "{text}");
}

#[test]
fn the_user_brings_the_workload_and_the_policy() {
    let workload = |n: u64, _: &mut dialback::testing::Rng| {
        let request = RequestHeaders::new(format!("mine-{n}"), "GET", "/mine");
        vec![request.clone().into(), request.into()]
    };
    let policy = |registration: &dialback::wire::Registration| match registration.agent_id.as_str() {
        "agent-0" => Verdict::Accept,
        _ => Verdict::Reject { reason: "unknown".into(), retry_after: None },
    };
    let mut told = 0;
    let judge = |outcome: &Told<'_>| {
        told += 1;
        let mine = matches!(outcome.event, Event::RequestHeaders(request) if request.uri == "/mine");
        (mine && outcome.agent == 0).then_some(()).ok_or_else(|| format!("{outcome:?}"))
    };
    let mut config = SimConfig::calm();
    config.proxy.forward = 0;
    let sim = Sim::new(config).with_workload(workload).with_policy(policy).with_judge(judge);
    let report = sim.play(1).unwrap_or_else(|failure| panic!("{failure}"));
    assert!(told > 0 && report.unserved > 0 && report.closes.contains_key("rejected here"), "{report:#?}");
}

#[test]
fn rates_are_what_they_were_set_to() {
    let rates = FaultRates::none().with_kind(FaultKind::Network, 5).with(Fault::Reset, 0);
    assert_eq!((rates.of(Fault::Disconnect), rates.of(Fault::Reset), rates.of(Fault::Mute)), (5, 0, 0));
    let config = SimConfig { faults: rates, ..SimConfig::default() };
    let report = play(&config, 0..8);
    assert!(report.faults.keys().all(|fault| fault.kind() == FaultKind::Network && *fault != Fault::Reset));
}
