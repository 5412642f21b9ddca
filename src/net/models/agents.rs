//! The agent's side: handlers, and what an agent's connections have in common.

use std::sync::Mutex;

use super::*;
use crate::machine::{ConnectionState, Ending, Patience};
use crate::net::agent::AgentConfig;
use crate::net::crew::Crew;
use crate::net::handler::{Context as EventContext, Handler};
use crate::net::line::Line;
use crate::net::worker::{AgentRole, AgentSide};
use crate::session::{AgentSettings, EncodedEvent, Grant, ProxySessionEvent};
use crate::wire::{Answer, CancelReason, HealthState};

type Endings = Arc<Mutex<Vec<Ending<Vec<u8>>>>>;
type Healths = Arc<Mutex<Vec<Option<String>>>>;

/// Answers at once, or waits until nobody does.
#[derive(Default)]
struct Guard {
    waits: bool,
    cancelled: Mutex<Vec<CancelReason>>,
}

impl Handler for Arc<Guard> {
    async fn on_request_headers(&self, _: RequestHeaders, cx: EventContext) -> Answer {
        if self.waits {
            let reason = cx.cancelled().await;
            self.cancelled.lock().unwrap().push(reason);
        }
        Answer::allow()
    }
}

struct Agent {
    crew: Arc<Crew>,
    line: Arc<Line>,
    shared: Arc<Shared<AgentSession>>,
    driver: Driver<AgentRole<Arc<Guard>>, Wire<ProxySession>>,
    far: Far<ProxySession>,
    endings: Endings,
    /// What it has said of its health: the words, since of the state only its number is told.
    healths: Healths,
}

impl Agent {
    /// One that has dialled. The proxy admits it, asks it about `events` events, and goes when all
    /// have ended; if there are none, when it hears that the agent is unwell for the reason "a".
    fn new(events: usize, guard: &Arc<Guard>) -> Self {
        let mut config = AgentConfig::new(AgentSettings::new(registration()));
        config.agent.registration.capabilities.features.health_reporting = true;
        let line = Line::new(0);
        let crew = Arc::new(Crew::new(&config, vec![Arc::clone(&line)]));
        let shared = session(&config);
        let role = AgentRole::new(Arc::new(Arc::clone(guard)), Duration::ZERO, Arc::clone(&crew));
        let (endings, healths) = (Endings::default(), Healths::default());
        let far = proxy(events, Arc::clone(&endings), Arc::clone(&healths));
        let driver = Driver::new(Arc::clone(&shared), role, far.wire(), SECOND);
        Self { crew, line, shared, driver, far, endings, healths }
    }
}

fn session(config: &AgentConfig) -> Arc<Shared<AgentSession>> {
    let clock = Clock::start();
    let session = AgentSession::dial(config.agent.clone(), clock.now()).unwrap();
    Arc::new(Shared::new(session, AgentSide::default(), clock))
}

fn proxy(events: usize, endings: Endings, healths: Healths) -> Far<ProxySession> {
    let clock = Clock::start();
    let session = ProxySession::accept(ProxySettings::default(), clock.now());
    Far::new(session, clock, move |session, event, now| match event {
        ProxySessionEvent::Registration(pending) => {
            let grant = Grant { connection_id: "guard-1".into() };
            session.accept_registration(*pending, grant, now).unwrap();
        }
        ProxySessionEvent::Opened => {
            for number in 0..events {
                let event = headers(&format!("r{number}"));
                let event = EncodedEvent::new(&event, session.encoding()).unwrap();
                session.submit(event, now.after(SECOND), Patience::Wait, now).unwrap();
            }
        }
        ProxySessionEvent::Ended { ending, .. } => {
            let mut endings = endings.lock().unwrap();
            endings.push(ending);
            if endings.len() == events {
                session.drain(now.after(SECOND), now);
            }
        }
        ProxySessionEvent::Health(health) => {
            if events == 0 && health.message.as_deref() == Some("without a") {
                session.drain(now.after(SECOND), now);
            }
            healths.lock().unwrap().push(health.message);
        }
        ProxySessionEvent::Metrics(_)
        | ProxySessionEvent::ConfigUpdate(_)
        | ProxySessionEvent::Draining
        | ProxySessionEvent::Closed(_) => {}
    })
}

#[test]
fn a_handler_answers() {
    explore("a_handler_answers", Bound::None, || {
        let agent = Agent::new(1, &Arc::default());
        block_on(agent.driver);
        assert!(matches!(agent.endings.lock().unwrap()[..], [Ending::Answered(_)]));
        assert_eq!(agent.shared.look(|core| core.session.stats().answered), 1);
    });
}

#[test]
fn two_handlers_answer() {
    explore("two_handlers_answer", Bound::Preemptions, || {
        let agent = Agent::new(2, &Arc::default());
        block_on(agent.driver);
        assert!(matches!(agent.endings.lock().unwrap()[..], [Ending::Answered(_), Ending::Answered(_)]));
    });
}

#[test]
fn a_handler_is_told_that_nobody_waits() {
    explore("a_handler_is_told_that_nobody_waits", Bound::Preemptions, || {
        let guard = Arc::new(Guard { waits: true, ..Guard::default() });
        let mut agent = Agent::new(1, &guard);
        // As far as the handler.
        assert!(now(&mut agent.driver).is_none());
        let far = agent.far;
        let other = run(move || {
            assert_eq!(far.act(|session, now| session.cancel_all(CancelReason::Timeout, now)), 1);
        });
        block_on(agent.driver);
        other.join().unwrap();
        let endings = agent.endings.lock().unwrap();
        assert!(matches!(endings[..], [Ending::Cancelled { reason: CancelReason::Timeout, .. }]));
        assert_eq!(agent.shared.look(|core| core.session.stats().answered), 1);
    });
}

#[test]
fn a_handler_outlives_its_connection() {
    explore("a_handler_outlives_its_connection", Bound::Preemptions, || {
        let guard = Arc::new(Guard { waits: true, ..Guard::default() });
        let mut agent = Agent::new(1, &guard);
        assert!(now(&mut agent.driver).is_none());
        let far = agent.far;
        let other = run(move || far.act(|session, _| session.close()));
        // A handler that is never told makes this a deadlock.
        block_on(agent.driver);
        other.join().unwrap();
    });
}

/// Drives an agent as far as its first sleep, in which it is open.
fn opened() -> Agent {
    let mut agent = Agent::new(0, &Arc::default());
    assert!(now(&mut agent.driver).is_none());
    assert_eq!(agent.shared.look(|core| core.session.state()), ConnectionState::Open);
    agent
}

#[test]
fn a_stop_finds_a_connection_that_is_just_made() {
    explore("a_stop_finds_a_connection_that_is_just_made", Bound::None, || {
        let agent = opened();
        let (line, crew, made) =
            (Arc::clone(&agent.line), Arc::clone(&agent.crew), Arc::clone(&agent.shared));
        let keeper = run(move || {
            line.attach(&made);
            crew.handle_attached(&made);
        });
        agent.crew.shutdown();
        keeper.join().unwrap();
        assert_ne!(agent.shared.look(|core| core.session.state()), ConnectionState::Open, "nobody drains it");
    });
}

#[test]
fn a_proxy_that_is_just_reached_hears_of_the_health() {
    explore("a_proxy_that_is_just_reached_hears_of_the_health", Bound::None, || {
        let agent = Agent::new(0, &Arc::default());
        agent.line.attach(&agent.shared);
        let crew = Arc::clone(&agent.crew);
        let driver = run(move || block_on(agent.driver));
        crew.set_health(unwell("a"), None);
        // The proxy closes when it hears of it; if it does not, nobody ever does.
        driver.join().unwrap();
        assert!(!agent.healths.lock().unwrap().is_empty());
    });
}

#[test]
fn of_two_reports_that_cross_the_latest_is_told_last() {
    explore("of_two_reports_that_cross_the_latest_is_told_last", Bound::Preemptions, || {
        let agent = opened();
        agent.line.attach(&agent.shared);
        let crew = Arc::clone(&agent.crew);
        let other = run(move || crew.set_health(unwell("b"), None));
        agent.crew.set_health(unwell("c"), None);
        other.join().unwrap();
        let mut driver = agent.driver;
        assert!(now(&mut driver).is_none());
        let told = agent.healths.lock().unwrap().last().cloned();
        // What is said again is what is held.
        agent.crew.announce_health();
        assert!(now(&mut driver).is_none());
        assert_eq!(told, agent.healths.lock().unwrap().last().cloned());
    });
}

fn unwell(reason: &str) -> HealthState {
    HealthState::Degraded { disabled_features: vec![reason.into()], timeout_multiplier: 1.0 }
}

#[test]
fn a_tally_does_not_shrink_when_the_connection_changes() {
    explore("a_tally_does_not_shrink_when_the_connection_changes", Bound::None, || {
        let line = Line::new(0);
        let config = AgentConfig::new(AgentSettings::new(registration()));
        let agent = opened();
        // A frame of a type that nobody knows, which is counted.
        agent.shared.command(|core, now| core.session.handle_bytes(&[0, 0, 0, 1, 0x7f], now));
        line.attach(&agent.shared);
        let theirs = Arc::clone(&line);
        let keeper = run(move || theirs.attach(&session(&config)));
        for _ in 0..2 {
            assert_eq!(line.tally().stats.unknown_frames, 1);
        }
        keeper.join().unwrap();
        assert_eq!(line.tally().stats.unknown_frames, 1);
    });
}
