//! `dialback agent`: an agent that answers by rules from a file.

mod forward;
mod handler;
mod pattern;
mod rules;

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use dialback::net::{AgentConfig, AgentError, Fleet, FleetError};
use dialback::session::AgentSettings;
use dialback::wire::{Capabilities, Encoding, EventKind, Features, Limits, Registration};

use super::connect::TlsOptions;
use super::failure::Failure;
use super::place::{FORMS, Place};
use super::secrets::TokenOption;
use super::wait;
use handler::RuleHandler;
use rules::Rules;

/// Answers a proxy's events by rules from a file, or allows them all
///
/// Connects, and connects again when the connection is lost. Ends calmly on SIGTERM and SIGINT: it
/// announces that it goes, and answers what it owes. See the manual of rules in docs/tool.md.
#[derive(Args, Debug)]
pub struct Options {
    #[arg(value_name = "PROXY", help = format!("Where the proxy listens, or with --listen this agent: {FORMS}"), required_unless_present = "check")]
    proxy: Option<Place>,
    /// Does not dial: listens on the place, and proxies dial it, as they do today's agents
    #[arg(long, conflicts_with_all = ["connections", "give_up", "token_file", "ca"])]
    listen: bool,
    /// The id to register under
    #[arg(long, value_name = "ID", default_value = "dialback-agent")]
    id: String,
    /// The rules, in TOML; without them every event is allowed
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
    /// Reads the rules, says what is wrong with them, and ends
    #[arg(long, requires = "rules")]
    check: bool,
    /// Prints every event and its answer as a JSON line
    #[arg(long)]
    echo: bool,
    /// How many connections to keep
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    connections: u16,
    /// How many events to state that it takes at once
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    concurrency: u32,
    /// Ends when it is refused, instead of trying again every 30 s
    #[arg(long)]
    give_up: bool,
    #[command(flatten)]
    token: TokenOption,
    #[command(flatten)]
    tls: TlsOptions,
}

pub fn run(options: Options) -> Result<(), Failure> {
    let rules = match &options.rules {
        Some(path) => Rules::from_file(path)?,
        None => Rules::default(),
    };
    if options.check {
        return Ok(writeln!(std::io::stdout(), "{} rules", rules.len())?);
    }
    wait::on(serve(options, rules))
}

async fn serve(options: Options, rules: Rules) -> Result<(), Failure> {
    let Some(place) = &options.proxy else {
        return Err(Failure::usage("give the place where the proxy listens"));
    };
    let config = config(&options)?;
    let signal = wait::signal()?;
    let handler = RuleHandler::new(rules, options.echo);
    let pipe = handler.closed_pipe();
    if options.listen {
        return tokio::select! {
            ended = forward::serve(place, config, handler) => ended,
            () = signal => Ok(()),
            () = pipe => Err(Failure::ClosedPipe),
        };
    }
    let target = options.tls.target(place)?.connections(usize::from(options.connections));
    let fleet = Fleet::new(config, handler).target(target).run().map_err(Failure::failed)?;
    let ended = tokio::select! {
        ended = fleet.run_until(signal) => ended,
        () = pipe => return Err(Failure::ClosedPipe),
    };
    ended.map_err(|error| explain(&error))
}

fn config(options: &Options) -> Result<AgentConfig, Failure> {
    let registration =
        Registration { auth_token: options.token.token()?, ..Registration::new(capabilities(options)) };
    let settings =
        AgentSettings { encodings: vec![Encoding::MessagePack], ..AgentSettings::new(registration) };
    let mut config = AgentConfig::new(settings);
    if options.give_up {
        config.retry_refusals = None;
    }
    Ok(config)
}

/// With one proxy there is one reason.
fn explain(error: &FleetError) -> Failure {
    match error.targets.first() {
        Some((place, AgentError::Refused(words))) => {
            Failure::Failed(format!("{place} refused this agent: {words}"))
        }
        Some((place, error)) => Failure::Failed(format!("{place}: {error}")),
        None => Failure::failed(error),
    }
}

fn capabilities(options: &Options) -> Capabilities {
    Capabilities {
        version: env!("CARGO_PKG_VERSION").into(),
        features: Features {
            streaming_body: true,
            websocket: true,
            guardrails: true,
            concurrent_requests: options.concurrency,
            cancellation: true,
            flow_control: true,
            health_reporting: true,
            exchange_ids: true,
            ..Features::default()
        },
        limits: Limits { max_concurrency: options.concurrency, ..Limits::default() },
        ..Capabilities::new(options.id.as_str(), EventKind::ALL)
    }
}
