//! A handler tried on scripted events, without a socket.

use std::fmt;
use std::time::Duration;

use crate::machine::{CloseReason, ConnectionState};
use crate::session::AgentSettings;
use crate::wire::{Answer, CancelReason, Capabilities, Decision, Event, EventKind, Registration};

use super::accept::Acceptor;
use super::agent::{Agent, AgentConfig, AgentController};
use super::ask::{AskError, PendingAnswer};
use super::config::ListenerConfig;
use super::handle::AgentHandle;
use super::handler::Handler;

/// Bytes that the pipe between the two ends holds.
const PIPE: usize = 64 << 10;
/// How often a handler that was told to stop is looked at.
const LOOK: Duration = Duration::from_millis(1);

/// Events for a handler, and what it must answer. Features `testing` and `tokio`.
///
/// A script runs the handler as an agent runs it: a real agent and a real proxy, joined by a pipe in
/// memory. So the events go over the wire, a handler that panics is answered for with a block, and
/// one that does not end is given up. It needs a tokio runtime, and no socket.
///
/// ```
/// use dialback::net::{Handlers, Script};
/// use dialback::wire::{Block, RequestBodyChunk, RequestHeaders};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), dialback::net::ScriptError> {
/// let handler = Handlers::new()
///     .object(|request: &RequestHeaders| request.uri.starts_with("/admin").then(|| Block::new(403)))
///     .object(|chunk: &RequestBodyChunk| chunk.data.contains(&0).then(|| Block::new(400)));
///
/// Script::new()
///     .ask(RequestHeaders::new("1", "GET", "/index.html")).allowed()
///     .ask(RequestHeaders::new("2", "GET", "/admin")).blocked(403)
///     .ask(RequestBodyChunk::new("1", "text")).allowed()
///     .ask(RequestBodyChunk::new("1", &[0; 4])).blocked(400)
///     .run(handler)
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Default)]
#[must_use = "a script does nothing until it is run"]
pub struct Script {
    steps: Vec<Step>,
    timeout: Option<Duration>,
}

/// An event of a [`Script`], of which is yet to be said what must become of it.
#[must_use = "say what must become of the event"]
pub struct Scripted {
    script: Script,
    event: Event,
}

struct Step {
    event: Event,
    expected: Expected,
    with_next: bool,
}

enum Expected {
    /// An answer that the closure agrees to, and what it looks at.
    Answer(String, Box<dyn Fn(&Answer) -> bool + Send + Sync>),
    /// Nobody waits for the answer once the handler has the event.
    GivenUp(CancelReason),
}

impl Script {
    /// No event yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// How long each answer may take. Default 5 s.
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Asks about an event, after the event before has come to its end.
    pub fn ask(self, event: impl Into<Event>) -> Scripted {
        Scripted { script: self, event: event.into() }
    }

    /// Asks about the next event without waiting for the end of the one before.
    pub fn meanwhile(mut self) -> Self {
        if let Some(step) = self.steps.last_mut() {
            step.with_next = true;
        }
        self
    }

    /// Asks the handler about every event, and then lets the agent go. Returns the answers, in the
    /// order of the events that were not given up.
    ///
    /// # Errors
    /// The first event of which not what was expected has come.
    pub async fn run<H: Handler>(self, handler: H) -> Result<Vec<Answer>, ScriptError> {
        let timeout = self.timeout.unwrap_or(Duration::from_secs(5));
        let (near, far) = tokio::io::duplex(PIPE);
        let (controller, running) = Agent::new(config(), handler).serve_stream(far).spawn();
        let acceptor = Acceptor::new(ListenerConfig::default()).map_err(ScriptError::broken)?;
        let agent = acceptor.accept(near).await.map_err(ScriptError::broken)?;
        let stage = Stage { agent, controller, timeout };
        let answers = stage.play(&self.steps).await?;
        stage.controller.shutdown();
        let reason = stage.agent.closed().await;
        match running.await {
            Ok(Ok(())) => Ok(answers),
            Ok(Err(_)) | Err(_) => Err(ScriptError::ended(&reason)),
        }
    }
}

impl Scripted {
    /// The answer allows the event, whatever else it says.
    pub fn allowed(self) -> Script {
        self.satisfies("an allow", Answer::is_allow)
    }

    /// The answer blocks with that status code.
    pub fn blocked(self, status: u16) -> Script {
        self.satisfies(
            format!("a block with status {status}"),
            move |answer| matches!(answer.decision, Decision::Block { status: found, .. } if found == status),
        )
    }

    /// The answer is this one, but for the ids that it is given on the way.
    pub fn answered(self, answer: impl Into<Answer>) -> Script {
        let mut wanted = answer.into();
        let id = self.event.correlation_id().clone();
        let what = format!("{wanted:?}");
        wanted.audit.set_ids(&id, None);
        self.satisfies(what, move |answer| {
            let mut found = answer.clone();
            found.audit.set_ids(&id, None);
            found == wanted
        })
    }

    /// The answer is one that the closure agrees to. `what` says what that is, for the error.
    pub fn satisfies(
        self,
        what: impl Into<String>,
        check: impl Fn(&Answer) -> bool + Send + Sync + 'static,
    ) -> Script {
        self.expects(Expected::Answer(what.into(), Box::new(check)))
    }

    /// Once the handler has the event, nobody waits for the answer any more. The handler hears of it
    /// by its [`super::Context`], and must come to its end, or is dropped after the agent's grace time.
    pub fn given_up(self, reason: CancelReason) -> Script {
        self.expects(Expected::GivenUp(reason))
    }

    fn expects(self, expected: Expected) -> Script {
        let Self { mut script, event } = self;
        script.steps.push(Step { event, expected, with_next: false });
        script
    }
}

/// An agent that takes every kind of event.
fn config() -> AgentConfig {
    let mut capabilities = Capabilities::new("scripted", EventKind::ALL);
    capabilities.features.cancellation = true;
    capabilities.features.exchange_ids = true;
    AgentConfig::new(AgentSettings::new(Registration::new(capabilities)))
}

/// The two ends while a script runs.
struct Stage {
    agent: AgentHandle,
    controller: AgentController,
    timeout: Duration,
}

impl Stage {
    async fn play(&self, steps: &[Step]) -> Result<Vec<Answer>, ScriptError> {
        let (mut answers, mut pending) = (Vec::new(), Vec::new());
        for (number, step) in steps.iter().enumerate() {
            let asked = self.agent.ask(step.event.clone()).timeout(self.timeout).send();
            pending.push((number, step, asked));
            if step.with_next {
                continue;
            }
            for (number, step, asked) in pending.drain(..) {
                match self.settle(step, asked).await {
                    Ok(answer) => answers.extend(answer),
                    Err(found) => return Err(ScriptError::at(number, step, found)),
                }
            }
        }
        Ok(answers)
    }

    /// What came of an event: its answer, if one was awaited; or what came instead.
    async fn settle(
        &self,
        step: &Step,
        asked: Result<PendingAnswer, AskError>,
    ) -> Result<Option<Answer>, String> {
        let asked = asked.map_err(|error| error.to_string())?;
        match &step.expected {
            Expected::Answer(_, check) => match asked.await {
                Ok(answer) if check(&answer) => Ok(Some(answer)),
                Ok(answer) => Err(format!("{answer:?}")),
                Err(error) => Err(error.to_string()),
            },
            Expected::GivenUp(reason) => {
                let answered = self.agent.stats().totals.answered;
                self.until(|| self.controller.unanswered() > 0).await?;
                asked.cancel(*reason);
                self.until(|| self.agent.in_flight() == 0).await?;
                match self.agent.stats().totals.answered == answered {
                    true => Ok(None),
                    false => Err("its answer, before it was given up".to_string()),
                }
            }
        }
    }

    async fn until(&self, condition: impl Fn() -> bool) -> Result<(), String> {
        let waiting = async {
            while !condition() && self.agent.state() == ConnectionState::Open {
                tokio::time::sleep(LOOK).await;
            }
        };
        match tokio::time::timeout(self.timeout, waiting).await {
            Ok(()) => Ok(()),
            Err(_) => Err("nothing in time".to_string()),
        }
    }
}

/// What became of an event that should not have.
#[derive(Clone, PartialEq, Eq)]
pub struct ScriptError {
    words: String,
}

impl ScriptError {
    fn at(number: usize, step: &Step, found: String) -> Self {
        let (kind, id) = (step.event.kind(), step.event.correlation_id());
        let expected = match &step.expected {
            Expected::Answer(what, _) => what.as_str(),
            Expected::GivenUp(_) => "to be given up",
        };
        let number = number.saturating_add(1);
        Self { words: format!("event {number}, {kind} of {id:?}: expected {expected}, got {found}") }
    }

    fn broken(error: impl fmt::Display) -> Self {
        Self { words: format!("the agent did not get through to the proxy: {error}") }
    }

    fn ended(reason: &CloseReason) -> Self {
        Self { words: format!("the agent did not go calmly: {reason}") }
    }
}

impl fmt::Display for ScriptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

/// As for people: what a test prints that unwraps.
impl fmt::Debug for ScriptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for ScriptError {}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Script").field("events", &self.steps.len()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Scripted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scripted").field("kind", &self.event.kind()).finish_non_exhaustive()
    }
}
