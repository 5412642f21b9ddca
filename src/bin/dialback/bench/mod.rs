//! `dialback bench`: load against a live peer.

mod load;
mod report;

use std::io::{self, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use dialback::net::{AgentHandle, dial_forward};
use dialback::session::ProxySettings;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::net::{TcpStream, UnixStream};

use super::failure::Failure;
use super::listen::door::DoorOptions;
use super::place::{FORMS, Place};
use super::wait;
use load::{Counts, Load, Plan};

/// Asks an agent as fast as it answers, and shows how long it takes
///
/// As a proxy that waits for an agent to dial in, or as one that dials an agent which listens. Progress goes to
/// the standard error, the figures to the standard output. Exit code 1 if an answer is missing.
#[derive(Args, Debug)]
#[command(group = clap::ArgGroup::new("peer").required(true))]
pub struct Options {
    #[arg(long, value_name = "PLACE", group = "peer", help = format!("Waits here for an agent: {FORMS}"))]
    listen: Option<Place>,
    /// Dials an agent that listens here: a Unix socket, or HOST:PORT
    #[arg(long, value_name = "PLACE", group = "peer")]
    dial: Option<Place>,
    /// How many events to ask about
    #[arg(long, short = 'n', value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    events: u64,
    /// How long to go on; as long as --events takes by default
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, conflicts_with = "events")]
    duration: Option<Duration>,
    /// How many events to have under way at once
    #[arg(long, short = 'c', value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    concurrency: u16,
    /// Asks about pieces of bodies of so many bytes instead of request headers
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(..=8_388_608))]
    body: Option<u32>,
    /// How long an agent may take to answer
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = humantime::parse_duration)]
    timeout: Duration,
    /// Prints the figures as a JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    door: DoorOptions,
}

pub async fn run(options: Options) -> Result<(), Failure> {
    let signal = wait::signal()?;
    let work = async {
        match (&options.listen, &options.dial) {
            (Some(place), _) => {
                let listener = options.door.bind(place).await?;
                let agent = listener.accept().await.map_err(Failure::failed)?;
                let result = measure(&agent, &options).await;
                listener.shutdown(Duration::from_secs(1)).await;
                result
            }
            (None, Some(place)) => measure(&dial(place).await?, &options).await,
            (None, None) => Err(Failure::usage("give --listen PLACE or --dial PLACE")),
        }
    };
    tokio::select! {
        result = work => result,
        () = signal => Err(Failure::failed("interrupted before there were figures")),
    }
}

/// Reaches an agent that listens.
async fn dial(place: &Place) -> Result<AgentHandle, Failure> {
    const HANDSHAKE: Duration = Duration::from_secs(30);
    let unreached = |error: io::Error| Failure::Failed(format!("can't reach the agent at {place}: {error}"));
    let settings = ProxySettings::default();
    let agent = match place {
        Place::Unix(path) => {
            let io = UnixStream::connect(path).await.map_err(unreached)?;
            dial_forward(io, settings, None, HANDSHAKE).await
        }
        Place::Tcp(place) => {
            let io = TcpStream::connect(place).await.map_err(unreached)?;
            io.set_nodelay(true).map_err(unreached)?;
            dial_forward(io, settings, None, HANDSHAKE).await
        }
        Place::Tls(_) => {
            return Err(Failure::usage("an agent that listens can't be reached over TLS; use --listen"));
        }
    };
    agent.map_err(|error| Failure::Failed(format!("{place}: {error}")))
}

async fn measure(agent: &AgentHandle, options: &Options) -> Result<(), Failure> {
    let plan = Plan {
        events: if options.duration.is_some() { u64::MAX } else { options.events },
        until: options.duration.and_then(|span| Instant::now().checked_add(span)),
        timeout: options.timeout,
        body: options.body,
    };
    if !agent.capabilities().supports(plan.kind()) {
        return Err(Failure::Failed(format!("{} does not take {} events", agent.agent_id(), plan.kind())));
    }
    tracing::info!(agent = agent.agent_id(), encoding = %agent.encoding(), "asking");
    let counts = Arc::new(Counts::default());
    let bar = bar(options);
    let began = Instant::now();
    let progress = tokio::spawn(show(bar.clone(), Arc::clone(&counts), options.duration));
    let load = Load::run(agent, &plan, options.concurrency, &counts).await;
    let took = began.elapsed();
    progress.abort();
    bar.finish_and_clear();
    let load = load?;
    let figures = report::Figures::new(agent, &load, took, options.concurrency, plan.kind());
    let mut out = io::stdout().lock();
    if options.json {
        writeln!(out, "{}", figures.json())?;
    } else {
        figures.write(&mut out)?;
    }
    match load.failed() {
        0 => Ok(()),
        missing => Err(Failure::Failed(format!("{missing} answers are missing"))),
    }
}

/// A bar on the standard error, which draws nothing unless that is a terminal.
fn bar(options: &Options) -> ProgressBar {
    let (length, template) = match options.duration {
        Some(span) => (span.as_millis(), "{bar:40} {elapsed} of the time, {msg}"),
        None => (u128::from(options.events), "{bar:40} {pos} of {len}, {msg}"),
    };
    let bar = ProgressBar::new(u64::try_from(length).unwrap_or(u64::MAX));
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

async fn show(bar: ProgressBar, counts: Arc<Counts>, span: Option<Duration>) {
    const PACE: Duration = Duration::from_millis(200);
    let began = Instant::now();
    loop {
        tokio::time::sleep(PACE).await;
        let (answered, elapsed) = (counts.answered(), began.elapsed());
        let position = match span {
            Some(_) => u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
            None => answered,
        };
        bar.set_message(format!("{:.0} per second", answered as f64 / elapsed.as_secs_f64().max(0.001)));
        bar.set_position(position);
    }
}
