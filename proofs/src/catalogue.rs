//! Every scenario that is explored, how many states it has, and what must be seen in it.
//!
//! The numbers are pinned: a change of the machines that changes what can happen shows here, and a
//! second, independent explorer must come to the same ones.

use dialback::machine::Matching;

use crate::scenario::{Dialled, Injection, Planned, Powers, Scenario};
use crate::system::Sight;

/// How much of the catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dose {
    /// Seconds, in every run of the tests.
    Small,
    /// A minute or two, before every change goes in.
    Medium,
    /// Everything.
    Full,
}

/// A scenario and what its exploration must come to.
#[derive(Clone, Debug)]
pub struct Case {
    /// The scenario.
    pub scenario: Scenario,
    /// The smallest dose that it is part of.
    pub dose: Dose,
    /// Distinct states.
    pub states: usize,
    /// What must have been seen.
    pub sights: Vec<Sight>,
}

const A: Planned = Planned::of(0);
const B: Planned = Planned::of(1);

/// What happens to requests: answers, cancels, the end of the transport.
fn requests(name: &'static str, plan: Vec<Planned>) -> Scenario {
    Scenario { powers: Powers { cancel: true, sever: true, ..Powers::NONE }, ..Scenario::new(name, plan) }
}

fn exact(scenario: Scenario) -> Scenario {
    Scenario { matching: Matching::ByExchangeId, ..scenario }
}

fn forward(scenario: Scenario) -> Scenario {
    Scenario { dialled: Dialled::ByProxy, ..scenario }
}

/// Both handshakes, both ways of matching, one request and two.
fn conversations() -> Vec<Case> {
    use Sight::{Abandoned, Answered, Behind, Cancel, LateAnswer, LostUnwritten, LostWritten, Withdrawn};
    let usual = || vec![Answered, Abandoned, Withdrawn, LateAnswer, LostWritten, LostUnwritten, Cancel];
    let behind = || [usual(), vec![Behind]].concat();
    let full = || [usual(), vec![Sight::WindowFull]].concat();
    let unseen = || [usual(), vec![Sight::AnsweredUnseen, Sight::ToldCancelled]].concat();
    let case = |scenario, dose, states, sights| Case { scenario, dose, states, sights };
    vec![
        case(requests("one-id", vec![A, A]), Dose::Small, 643, behind()),
        case(requests("two-ids", vec![A, B]), Dose::Small, 1_709, usual()),
        case(exact(requests("one-id-exact", vec![A, A])), Dose::Small, 1_395, unseen()),
        case(forward(requests("forward", vec![A, A])), Dose::Small, 523, behind()),
        case(exact(forward(requests("forward-exact", vec![A, A]))), Dose::Small, 1_223, unseen()),
        case(Scenario { window: 1, ..requests("window-1", vec![A, A, B]) }, Dose::Medium, 2_349, full()),
        case(
            Scenario { window: 1, ..exact(requests("window-1-exact", vec![A, A, B])) },
            Dose::Medium,
            2_349,
            full(),
        ),
        case(requests("three", vec![A, A, B]), Dose::Medium, 8_311, behind()),
        case(exact(requests("three-exact", vec![A, A, B])), Dose::Medium, 9_014, unseen()),
        case(
            Scenario { cancellation: false, ..requests("no-cancels", vec![A, A, B]) },
            Dose::Medium,
            3_202,
            vec![Answered, Abandoned, Withdrawn, LateAnswer],
        ),
        case(
            Scenario {
                powers: Powers { cancel: true, cancel_request: true, close: true, ..Powers::NONE },
                ..exact(requests("whole-requests", vec![A, A, B]))
            },
            Dose::Medium,
            26_085,
            vec![Abandoned, Withdrawn, LostWritten, Cancel],
        ),
        case(requests("four", vec![A, A, B, B]), Dose::Full, 43_622, behind()),
        case(exact(requests("four-exact", vec![A, A, B, A])), Dose::Full, 44_689, unseen()),
        case(
            Scenario { window: 3, ..exact(forward(requests("forward-four-exact", vec![A, B, A, A]))) },
            Dose::Full,
            157_885,
            unseen(),
        ),
    ]
}

/// What the agent says about flow, and what the socket does.
fn flow() -> Vec<Case> {
    use Injection::{Capacity, Pause, PauseRequest};
    use Sight::{Answered, HeldByBacklog, HeldByPause, HeldByRequestPause, LateAnswer, WindowFull};
    let with = |name, plan, injections: &[Injection], budget| Scenario {
        injections: injections.to_vec(),
        budget,
        powers: Powers { cancel: true, ..Powers::NONE },
        ..Scenario::new(name, plan)
    };
    let case =
        |scenario, dose, states, sights: &[Sight]| Case { scenario, dose, states, sights: sights.to_vec() };
    vec![
        case(with("pause", vec![A, A], &[Pause], 2), Dose::Small, 2_369, &[Answered, HeldByPause]),
        case(
            with("pause-request", vec![A, B], &[PauseRequest(0)], 2),
            Dose::Small,
            12_968,
            &[Answered, HeldByRequestPause],
        ),
        case(
            Scenario { stated: 2, ..with("capacity", vec![A, B], &[Capacity(0), Capacity(1)], 2) },
            Dose::Medium,
            40_486,
            &[Answered, WindowFull, LateAnswer],
        ),
        case(
            exact(with("flow-exact", vec![A, A, B], &[Pause, PauseRequest(0), Capacity(1)], 2)),
            Dose::Medium,
            957_488,
            &[Answered, HeldByPause, HeldByRequestPause, WindowFull],
        ),
        case(
            with("flow", vec![A, A, B], &[Pause, PauseRequest(0), Capacity(0)], 2),
            Dose::Full,
            818_112,
            &[Answered, HeldByPause, HeldByRequestPause, WindowFull],
        ),
        case(
            with("last-word", vec![A, A.last_word(), A], &[PauseRequest(0)], 2),
            Dose::Medium,
            11_759,
            &[Answered, HeldByRequestPause],
        ),
        case(
            Scenario {
                powers: Powers { cancel: true, stall: true, ..Powers::NONE },
                ..with("slow-socket", vec![A, B, A], &[Pause], 1)
            },
            Dose::Medium,
            44_449,
            &[Answered, HeldByBacklog, HeldByPause],
        ),
        case(
            Scenario {
                queue: 1,
                window: 1,
                ..exact(with("impatient", vec![A, A.now(), A, B.now()], &[Pause], 1))
            },
            Dose::Medium,
            7_153,
            &[Answered, Sight::QueueFull, Sight::WouldWait],
        ),
        case(
            Scenario {
                running: 1,
                marks: (2, 1),
                window: 3,
                ..exact(with("agent-backlog", vec![A, A, B], &[], 0))
            },
            Dose::Medium,
            25_584,
            &[Answered, Sight::BacklogPause, HeldByPause, Sight::AnsweredUnseen],
        ),
    ]
}

/// How connections end.
fn ends() -> Vec<Case> {
    use Sight::{
        Answered, DrainDeadline, Drained, HandshakeDeadline, LostUnwritten, LostWritten, PeerClosed,
        PeerDrainDeadline, PeerDrained, Refused, RefusedHandshake, TransportLost,
    };
    let case =
        |scenario, dose, states, sights: &[Sight]| Case { scenario, dose, states, sights: sights.to_vec() };
    let drain =
        |name, plan, powers| Scenario { ticks: 2, drain: 1, linger: 1, powers, ..Scenario::new(name, plan) };
    let every_end = Powers { close: true, sever: true, half_close: true, ..Powers::NONE };
    vec![
        case(
            Scenario { powers: every_end, ..Scenario::new("closes", vec![A, A]) },
            Dose::Small,
            841,
            &[Answered, PeerClosed, TransportLost, LostWritten, LostUnwritten],
        ),
        case(
            drain("proxy-drains", vec![A, A], Powers { drain_proxy: true, ..Powers::NONE }),
            Dose::Small,
            906,
            &[Answered, Drained, DrainDeadline, Refused, PeerClosed],
        ),
        case(
            drain("agent-drains", vec![A, A], Powers { drain_agent: true, ..Powers::NONE }),
            Dose::Small,
            989,
            &[Answered, PeerDrained, PeerDrainDeadline, Drained, DrainDeadline, Refused],
        ),
        case(
            Scenario {
                ticks: 2,
                handshake: 1,
                injections: vec![
                    Injection::OfferToProxy,
                    Injection::UnknownToProxy,
                    Injection::WrongWayToAgent,
                ],
                budget: 1,
                powers: Powers { reject: true, ..every_end },
                ..Scenario::new("handshake", vec![A])
            },
            Dose::Small,
            6_130,
            &[Answered, HandshakeDeadline, RefusedHandshake, Sight::Violation, PeerClosed, TransportLost],
        ),
        case(
            forward(Scenario {
                ticks: 2,
                handshake: 1,
                injections: vec![Injection::OfferToProxy, Injection::UnknownToAgent, Injection::OfferToAgent],
                budget: 1,
                powers: Powers { reject: true, ..every_end },
                ..Scenario::new("forward-handshake", vec![A])
            }),
            Dose::Small,
            4_890,
            &[Answered, HandshakeDeadline, RefusedHandshake, Sight::Violation, PeerClosed, TransportLost],
        ),
        case(
            drain(
                "both-drain",
                vec![A, A, B],
                Powers { drain_proxy: true, drain_agent: true, cancel: true, ..Powers::NONE },
            ),
            Dose::Medium,
            450_062,
            &[Answered, Drained, DrainDeadline, PeerDrained, Refused, Sight::LateAnswer],
        ),
        case(
            exact(drain(
                "every-end",
                vec![A, A, B],
                Powers { drain_proxy: true, drain_agent: true, cancel: true, ..every_end },
            )),
            Dose::Full,
            3_777_076,
            &[Answered, Drained, DrainDeadline, PeerDrained, Refused, TransportLost, PeerClosed],
        ),
    ]
}

/// What time does.
fn time() -> Vec<Case> {
    use Sight::{Answered, Expired, LateAnswer, Silent, TimedOut, Unresponsive};
    let case =
        |scenario, dose, states, sights: &[Sight]| Case { scenario, dose, states, sights: sights.to_vec() };
    let timed = |name, plan| Scenario { ticks: 2, ..requests(name, plan) };
    vec![
        case(
            timed("deadlines", vec![A.within(1), A.within(2)]),
            Dose::Small,
            12_109,
            &[Answered, Expired, TimedOut, LateAnswer],
        ),
        case(
            Scenario { owed: 1, owed_age: 1, ..timed("owed", vec![A.within(1), B, A]) },
            Dose::Medium,
            135_666,
            &[Answered, TimedOut, LateAnswer, Unresponsive],
        ),
        case(
            exact(Scenario {
                ticks: 3,
                ..timed("deadlines-exact", vec![A.within(1), A.within(1), B.within(2)])
            }),
            Dose::Full,
            1_034_564,
            &[Answered, Expired, TimedOut, LateAnswer],
        ),
        case(
            Scenario { ticks: 3, keepalive: Some(1), ..Scenario::new("silence", vec![A]) },
            Dose::Medium,
            35_217,
            &[Answered, Silent, Sight::Pong],
        ),
        case(
            Scenario {
                ticks: 4,
                keepalive: Some(2),
                powers: Powers { cancel: true, sever: true, ..Powers::NONE },
                ..Scenario::new("keepalive", vec![A.within(2)])
            },
            Dose::Full,
            113_562,
            &[Answered, Silent, Sight::Pong, TimedOut],
        ),
    ]
}

/// Peers that break the protocol.
fn hostile() -> Vec<Case> {
    use Injection::{
        ForeignAnswer, ForeignCancel, OfferToAgent, OfferToProxy, PingAgent, PingProxy, StrayAnswer,
        UnknownToAgent, UnknownToProxy, UnreadableToProxy, WrongWayToAgent, WrongWayToProxy,
    };
    use Sight::{Answered, Pong, StrayAnswer as Stray, Violation};
    let case =
        |scenario, dose, states, sights: &[Sight]| Case { scenario, dose, states, sights: sights.to_vec() };
    let facing = |name, plan, injections: &[Injection], budget| Scenario {
        injections: injections.to_vec(),
        budget,
        powers: Powers { cancel: true, ..Powers::NONE },
        ..Scenario::new(name, plan)
    };
    let to_proxy = [
        StrayAnswer,
        ForeignAnswer(0),
        PingProxy,
        UnknownToProxy,
        UnreadableToProxy,
        OfferToProxy,
        WrongWayToProxy,
    ];
    let to_agent = [PingAgent, UnknownToAgent, ForeignCancel(0), OfferToAgent, WrongWayToAgent];
    vec![
        case(
            facing("hostile-agent", vec![A, A], &to_proxy, 1),
            Dose::Small,
            2_852,
            &[Answered, Pong, Stray, Violation],
        ),
        case(
            exact(facing("hostile-agent-exact", vec![A, A], &to_proxy, 2)),
            Dose::Medium,
            82_539,
            &[Answered, Pong, Stray, Violation],
        ),
        case(
            facing("hostile-proxy", vec![A, A], &to_agent, 1),
            Dose::Small,
            2_842,
            &[Answered, Pong, Violation],
        ),
        case(
            exact(facing("hostile-proxy-exact", vec![A, A], &to_agent, 2)),
            Dose::Medium,
            70_810,
            &[Answered, Pong, Violation, Sight::AnsweredUnseen],
        ),
        case(
            facing("forgers", vec![A, A, B], &[ForeignAnswer(0), ForeignAnswer(1), StrayAnswer], 3),
            Dose::Full,
            435_472,
            &[Answered, Stray],
        ),
    ]
}

/// Everything at once, as far as it goes.
fn everything() -> Vec<Case> {
    use Injection::{Capacity, Pause, PauseRequest, PingProxy};
    let case =
        |scenario, dose, states, sights: &[Sight]| Case { scenario, dose, states, sights: sights.to_vec() };
    let powers = Powers {
        cancel: true,
        drain_proxy: true,
        drain_agent: true,
        close: true,
        sever: true,
        half_close: true,
        ..Powers::NONE
    };
    let all = |name, plan| Scenario {
        ticks: 2,
        drain: 1,
        linger: 1,
        powers,
        injections: vec![Pause, PauseRequest(0), Capacity(0), PingProxy],
        budget: 1,
        ..Scenario::new(name, plan)
    };
    let seen = [Sight::Answered, Sight::Drained, Sight::HeldByPause, Sight::Refused, Sight::Pong];
    vec![
        case(all("everything", vec![A.within(1), A]), Dose::Full, 2_906_670, &seen),
        case(
            Scenario {
                injections: vec![Pause],
                ..exact(forward(all("everything-forward-exact", vec![A, A])))
            },
            Dose::Full,
            3_619_973,
            &seen[..4],
        ),
    ]
}

/// The whole catalogue.
#[must_use]
pub fn catalogue() -> Vec<Case> {
    [conversations(), flow(), ends(), time(), hostile(), everything()].concat()
}
