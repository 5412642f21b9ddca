//! The tokio adapter: sockets, tasks and wakers around the sessions. Feature `tokio`.
//!
//! No rule of the protocol is decided here; see [`crate::session`] and [`crate::machine`].
//!
//! # A proxy
//!
//! Bind a [`Listener`], fetch each agent that registers, ask it. A question ends with the agent's
//! answer or with an error that says whether the agent saw it, at the latest after its timeout.
//!
//! ```no_run
//! use std::time::Duration;
//! use dialback::net::{Listener, ListenerConfig};
//! use dialback::wire::RequestHeaders;
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let listener = Listener::bind_unix("/run/proxy/agents.sock", ListenerConfig::default()).await?;
//! let agent = listener.accept().await?;
//! println!("{} is here", agent.agent_id());
//!
//! let request = RequestHeaders::new("request-1", "GET", "/index.html");
//! match agent.request_headers(request).timeout(Duration::from_millis(200)).await {
//!     Ok(answer) if answer.is_allow() => println!("goes on"),
//!     Ok(answer) => println!("decided: {:?}", answer.decision),
//!     Err(error) => println!("no answer: {error}"),
//! }
//!
//! listener.shutdown(Duration::from_secs(10)).await;
//! # Ok(())
//! # }
//! ```
//!
//! # An agent
//!
//! Write a [`Handler`], hand it to an [`Agent`], run it. It dials, registers, answers, dials again
//! when the connection is lost, and goes calmly when it is told to.
//!
//! ```no_run
//! use dialback::net::{Agent, AgentConfig, Context, Handler, shutdown_signal};
//! use dialback::session::AgentSettings;
//! use dialback::wire::{Answer, Capabilities, EventKind, Registration, RequestHeaders};
//!
//! struct NoAdmin;
//!
//! impl Handler for NoAdmin {
//!     async fn on_request_headers(&self, event: RequestHeaders, _: Context) -> Answer {
//!         if event.uri.starts_with("/admin") { Answer::block(403) } else { Answer::allow() }
//!     }
//! }
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let capabilities = Capabilities::new("no-admin", [EventKind::RequestHeaders]);
//! let config = AgentConfig::new(AgentSettings::new(Registration::new(capabilities)));
//! let signal = shutdown_signal()?;
//! Agent::new(config, NoAdmin).run_unix("/run/proxy/agents.sock").run_until(signal).await?;
//! # Ok(())
//! # }
//! ```
//!
//! [`Handlers`] makes a handler of closures.
//!
//! A [`Fleet`] does the same with several connections to each of several proxies, and one handler.
//!
//! # Dropping
//!
//! Dropping is a command: a [`PendingAnswer`] that is dropped cancels its event, the last
//! [`AgentHandle`] of a connection closes it, a [`Listener`] stops accepting, an [`AgentRunner`]
//! or a [`FleetRunner`] drops its connections.

mod accept;
mod admission;
mod agent;
mod ask;
mod bridge;
mod cancellation;
mod clock;
mod config;
mod crew;
mod denied;
mod driver;
mod fleet;
mod gate;
mod handle;
mod handler;
mod handlers;
mod hook;
mod line;
mod listener;
#[cfg(all(test, any(dialback_loom, dialback_shuttle)))]
mod models;
mod names;
mod pool;
mod proxy;
#[cfg(feature = "metrics")]
mod publish;
mod refusals;
mod reporting;
#[cfg(feature = "testing")]
mod script;
mod shared;
mod side;
mod signal;
mod slot;
mod sockets;
mod sync;
mod target;
#[cfg(all(test, not(any(dialback_loom, dialback_shuttle))))]
mod tests;
#[cfg(feature = "tls")]
pub mod tls;
#[cfg(unix)]
mod unix;
mod wakers;
#[cfg(all(test, not(any(dialback_loom, dialback_shuttle))))]
mod waking;
mod worker;

pub use crate::machine::Backoff;
pub use accept::{AcceptError, Acceptor, dial_forward};
pub use agent::{Agent, AgentConfig, AgentController, AgentError, AgentRunner};
pub use ask::{AnswerFuture, Ask, AskError, PendingAnswer};
pub use bridge::{Bridge, BridgeConfig, BridgeController, BridgeError, BridgeRunner, BridgeState};
pub use config::{ConfigError, ListenerConfig};
pub use driver::Stream;
pub use fleet::{Fleet, FleetController, FleetError, FleetRunner, TargetView};
pub use gate::Gate;
pub use handle::{AgentHandle, Stats};
pub use handler::{Context, Handler};
pub use handlers::Handlers;
pub use hook::{AdmissionHook, Applicant, BoxFuture, Peer};
pub use line::LinkState;
pub use listener::{BindError, Listener, ListenerClosed};
pub use pool::{AgentView, ConnectionView, Pool, PoolConfig, PoolError, Request, RequestAnswer, RequestAsk};
#[cfg(feature = "metrics")]
pub use publish::publish;
pub use refusals::Refusals;
pub use reporting::MetricsExport;
#[cfg(feature = "testing")]
pub use script::{Script, ScriptError, Scripted};
pub use shared::Traffic;
pub use side::{Report, Reports};
pub use signal::shutdown_signal;
pub use target::Target;
