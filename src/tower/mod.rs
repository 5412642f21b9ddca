//! Agents in a tower stack. Feature `tower`.
//!
//! Two things stand here. [`AgentService`] is a connected agent as a `tower::Service` of events: it is
//! ready while its window has room. [`AskLayer`] wraps any HTTP service, of axum, hyper or tonic, and
//! makes it ask an agent about every request and response, as a proxy of this protocol does.
//!
//! ```no_run
//! use axum::{Router, routing::get};
//! use dialback::net::{Listener, ListenerConfig, Pool, PoolConfig};
//! use dialback::tower::AskLayer;
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let pool = Pool::new(PoolConfig::default());
//! let agents = Listener::bind_unix("/run/proxy/agents.sock", ListenerConfig::default()).await?;
//! let serving = pool.clone();
//! tokio::spawn(async move { serving.serve(&agents).await });
//!
//! let app: Router = Router::new()
//!     .route("/", get(|| async { "hello" }))
//!     .layer(AskLayer::pool(pool, "waf"));
//! axum::serve(tokio::net::TcpListener::bind("127.0.0.1:8080").await?, app).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # What a request goes through
//!
//! An agent hears only of the kinds of event that it registered for, all of one request on one
//! connection, each with a deadline of its own:
//!
//! 1. The request's headers. On an allow its changes to the headers are made, within the [`Guard`].
//! 2. Each piece of the request's body, while the service reads it. One frame at most is read ahead: an
//!    agent that is slow, or has paused, slows the client down. A piece is passed on, dropped or replaced.
//! 3. The response's headers, then each piece of its body, likewise.
//! 4. The request's completion, to which nobody waits for an answer.
//!
//! The other kinds, WebSocket frames among them, are not the layer's to send. An agent must take request
//! headers to be asked at all, unless [`AskConfig::needs`] says otherwise.
//!
//! **`needs_more`** holds back what it answers, for the verdict is not final: the headers, and then the
//! pieces, wait until an answer without it, up to [`AskConfig::hold_limit`] bytes. At the end of a body
//! there is no more, and an allow is an allow. Answering the headers with `needs_more` is how an agent
//! sees a body before the service does; its changes to the headers may then come with any piece.
//!
//! **Any other decision** ends the request: with a block's status, headers and body, with a redirect, or
//! with what [`AskConfig::challenge`] makes of a challenge. The service's future is dropped if it runs.
//! Once the response has begun its status can't change any more, so it is cut off: its body ends with a
//! [`CutOff`] error, which closes the connection or resets the stream.
//!
//! **No verdict** is a [`Failure`], and [`FailurePolicy`] says for every cause whether the request is then
//! refused with 503, which is the default, or goes on *without being asked about any further*.
//!
//! **A client that goes away** drops the service's future or the response's body. The question under way
//! is cancelled, and the agent told.
//!
//! # Bodies
//!
//! A body that is asked about loses its `content-length`, since nobody knows what a later answer makes of
//! it; the server or client then frames it anew. If it was held back until its end, its length is known
//! and stated. Trailers are passed on as they are. The bodies of answers to `HEAD`, of upgrades and of
//! tunnels are not asked about.
//!
//! The head of a message leaves before its body was asked about, so the two are written apart. Switch
//! Nagle's algorithm off on the sockets of clients and upstreams (`set_nodelay`), or small bodies wait
//! for an acknowledgement, 40 ms on Linux.
//!
//! # Bytes that are not UTF-8
//!
//! See [`convert`]: an agent sees U+FFFD in their place; [`NotUtf8`] says whether it is asked at all then.

mod agent;
mod body;
mod config;
mod conversation;
pub mod convert;
mod failure;
mod flow;
mod guard;
mod layer;
mod line;
mod summary;
mod verdict;

pub use agent::{AgentService, Answering, PoolService};
pub use body::{AskBody, CutOff};
pub use config::{AskConfig, Challenge, Describe, Hooks, NotUtf8, OnEnd};
pub use failure::{Cause, Failure, FailurePolicy, OnFailure};
pub use guard::Guard;
pub use layer::{AskFuture, AskLayer, AskService};
pub use summary::{Outcome, Routing, Summary};
