//! `dialback bridge`: an agent that listens joins a proxy that is dialled.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use dialback::net::{Bridge, BridgeConfig, BridgeError};
use dialback::session::bridge::{BridgeSettings, OnAgentLoss};
use dialback::wire::Encoding;
use serde_json::Value;
use tokio::task::JoinSet;

use super::connect::TlsOptions;
use super::failure::Failure;
use super::place::{FORMS, Place};
use super::secrets::{TokenOption, read};
use super::wait;

/// Registers an agent that listens with a proxy that is dialled, and carries everything between them
///
/// The agent needs no change: the bridge is a proxy to it. When either side is lost, both are dialled
/// anew. Ends calmly on SIGTERM and SIGINT: the proxy is told, and what is under way is carried to its end.
#[derive(Args, Debug)]
pub struct Options {
    #[arg(value_name = "AGENT", help = "Where the agent listens: a Unix socket, or HOST:PORT")]
    agent: Place,
    #[arg(value_name = "PROXY", help = format!("Where the proxy listens: {FORMS}"))]
    proxy: Place,
    /// The id to register under; the one that the agent states by default
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// How many connections to keep, each with one of its own to the agent
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    connections: u16,
    /// What becomes of events in flight when the agent is lost
    #[arg(long, value_enum, default_value_t)]
    on_agent_loss: Loss,
    /// Offers MessagePack to the agent, and to the proxy if the agent takes it
    #[arg(long)]
    msgpack: bool,
    /// A JSON file that the agent is given as its configuration in the handshake
    #[arg(long, value_name = "FILE")]
    agent_config: Option<PathBuf>,
    /// Ends when either side refuses it, instead of trying again every 30 s
    #[arg(long)]
    give_up: bool,
    /// How long to wait at the end for answers that the agent owes
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = humantime::parse_duration)]
    drain: Duration,
    #[command(flatten)]
    token: TokenOption,
    #[command(flatten)]
    tls: TlsOptions,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Loss {
    /// Each is answered with a block, status 503; then the connection ends
    #[default]
    Block,
    /// The connection ends, and the proxy does as it does when any agent is lost
    Close,
}

pub async fn run(options: Options) -> Result<(), Failure> {
    if matches!(options.agent, Place::Tls(_)) {
        return Err(Failure::usage("the agent can't be reached over TLS; give a Unix socket or HOST:PORT"));
    }
    let agent = match &options.agent {
        Place::Unix(path) => dialback::net::Target::unix(path),
        Place::Tcp(place) | Place::Tls(place) => dialback::net::Target::tcp_host(place.as_str()),
    };
    let proxy = options.tls.target(&options.proxy)?;
    let config = config(&options)?;
    let signal = wait::signal()?;
    let (mut bridges, mut controllers) = (JoinSet::new(), Vec::new());
    for _ in 0..options.connections {
        let runner = Bridge::new(config.clone(), agent.clone(), proxy.clone()).run();
        controllers.push(runner.controller());
        bridges.spawn(runner);
    }
    tracing::info!(agent = %options.agent, proxy = %options.proxy, "bridging");
    let ended = tokio::select! {
        () = signal => None,
        ended = all(&mut bridges) => Some(ended),
    };
    let result = match ended {
        Some(ended) => ended,
        None => {
            for controller in &controllers {
                controller.shutdown();
            }
            all(&mut bridges).await
        }
    };
    let total = controllers.iter().map(|controller| controller.stats()).reduce(|a, b| a.plus(b));
    let total = total.unwrap_or_default();
    tracing::info!(events = total.events, answers = total.answers, blocked = total.blocked, "ended");
    result.map_err(Failure::failed)
}

/// Waits for all of them; the first error, if there was one.
async fn all(bridges: &mut JoinSet<Result<(), BridgeError>>) -> Result<(), BridgeError> {
    let mut result = Ok(());
    while let Some(ended) = bridges.join_next().await {
        result = result.and(ended.unwrap_or(Ok(())));
    }
    result
}

fn config(options: &Options) -> Result<BridgeConfig, Failure> {
    let agent_config: Option<Value> = match &options.agent_config {
        None => None,
        Some(path) => Some(
            serde_json::from_str(&read(path)?)
                .map_err(|error| Failure::Failed(format!("{}: {error}", path.display())))?,
        ),
    };
    let session = BridgeSettings {
        agent_id: options.id.clone(),
        auth_token: options.token.token()?,
        agent_config,
        encodings: if options.msgpack { vec![Encoding::MessagePack] } else { Vec::new() },
        on_agent_loss: match options.on_agent_loss {
            Loss::Block => OnAgentLoss::Block,
            Loss::Close => OnAgentLoss::Close,
        },
        ..BridgeSettings::default()
    };
    let mut config = BridgeConfig { session, drain_timeout: options.drain, ..BridgeConfig::default() };
    if options.give_up {
        config.retry_refusals = None;
    }
    Ok(config)
}
