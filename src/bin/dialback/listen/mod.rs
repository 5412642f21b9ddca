//! `dialback listen`: a proxy that accepts agents and asks them about events.

pub mod door;
mod events;

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use dialback::net::{AgentHandle, AskError, Listener, Report};
use dialback::wire::{Answer, Event};
use serde_json::json;
use tokio::task::JoinSet;

use super::decode::{plain, verdict};
use super::failure::Failure;
use super::place::{FORMS, Place};
use super::wait;
use door::DoorOptions;

/// Accepts agents, tells what becomes of them, and asks them about events
///
/// Agents as they come and go are told of on the standard error, their answers on the standard output.
/// Ends on SIGTERM and SIGINT: answers that are owed are waited for.
#[derive(Args, Debug)]
pub struct Options {
    #[arg(value_name = "PLACE", help = format!("Where to listen: {FORMS}"))]
    place: Place,
    /// Asks every agent about one event of each kind that it takes
    #[arg(long, conflicts_with = "events")]
    sample: bool,
    /// Asks every agent about the events in a file of JSON lines, as "decode --format json" and
    /// "agent --echo" write them; "-" is the standard input
    #[arg(long, value_name = "FILE")]
    events: Option<PathBuf>,
    /// How often to ask about all of them
    #[arg(long, value_name = "N", default_value_t = 1)]
    repeat: u64,
    /// How long to wait between two events
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = humantime::parse_duration)]
    interval: Duration,
    /// How long an agent may take to answer
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = humantime::parse_duration)]
    timeout: Duration,
    /// Ends when the first agent has been asked about everything; exit code 1 if an answer is missing
    #[arg(long)]
    once: bool,
    /// Prints answers as JSON lines
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    door: DoorOptions,
}

/// What every agent is asked, and how.
#[derive(Clone)]
struct Questions {
    events: std::sync::Arc<[Event]>,
    repeat: u64,
    interval: Duration,
    timeout: Duration,
    json: bool,
    /// Whether an agent may go when it has been asked.
    once: bool,
}

/// How the asking of one agent went.
enum Asked {
    Everything,
    /// So many answers are missing.
    Missing(u64),
    ClosedPipe,
}

pub async fn run(options: Options) -> Result<(), Failure> {
    let events = match (&options.events, options.sample) {
        (Some(path), _) => events::recorded(path)?,
        (None, true) => events::sample(),
        (None, false) => Vec::new(),
    };
    let questions = Questions {
        events: events.into(),
        repeat: options.repeat,
        interval: options.interval,
        timeout: options.timeout,
        json: options.json,
        once: options.once,
    };
    let signal = wait::signal()?;
    let listener = options.door.bind(&options.place).await?;
    let result = tokio::select! {
        () = signal => Ok(()),
        result = serve(&listener, &questions) => result,
    };
    listener.shutdown(Duration::from_secs(10)).await;
    for (cause, count) in listener.refusals().counts() {
        tracing::info!(cause, count, "registrations refused");
    }
    result
}

async fn serve(listener: &Listener, questions: &Questions) -> Result<(), Failure> {
    let mut agents = JoinSet::new();
    loop {
        tokio::select! {
            agent = listener.accept() => {
                let agent = agent.map_err(Failure::failed)?;
                let questions = questions.clone();
                agents.spawn(async move { attend(agent, &questions).await });
            }
            Some(asked) = agents.join_next() => match asked {
                Ok(Asked::ClosedPipe) => return Err(Failure::ClosedPipe),
                Ok(Asked::Everything) if questions.once => return Ok(()),
                Ok(Asked::Missing(count)) if questions.once => {
                    return Err(Failure::Failed(format!("{count} answers are missing")));
                }
                Ok(Asked::Everything | Asked::Missing(_)) | Err(_) => {}
            },
        }
    }
}

/// Asks one agent about everything, and stays with it until it goes.
async fn attend(agent: AgentHandle, questions: &Questions) -> Asked {
    let capabilities = agent.capabilities();
    let takes: Vec<&str> = capabilities.events().map(|kind| kind.name()).collect();
    tracing::info!(
        agent = agent.agent_id(),
        connection = agent.connection_id(),
        name = %plain(&capabilities.name),
        version = %plain(&capabilities.version),
        encoding = %agent.encoding(),
        at_once = capabilities.concurrency().map_or(0, std::num::NonZeroU32::get),
        takes = takes.join(" "),
        "an agent is here"
    );
    let (reports, teller) = (agent.reports(), agent.clone());
    let reports = tokio::spawn(tell_reports(teller.agent_id().to_owned(), reports));
    drop(teller);
    let asked = ask_all(&agent, questions).await;
    match asked {
        Asked::Everything | Asked::Missing(_) if !questions.once => {
            // It would come back if it were let go, and be asked again.
            agent.closed().await;
            drop(reports.await);
        }
        Asked::Everything | Asked::Missing(_) | Asked::ClosedPipe => reports.abort(),
    }
    asked
}

async fn tell_reports(agent: String, mut reports: dialback::net::Reports) {
    while let Some(report) = reports.next().await {
        match report {
            Report::Health(health) => tracing::info!(agent, state = ?health.state, "health"),
            Report::Metrics(report) => tracing::info!(
                agent,
                counters = report.counters.len(),
                gauges = report.gauges.len(),
                histograms = report.histograms.len(),
                "metrics"
            ),
            Report::ConfigUpdate(request) => {
                tracing::info!(agent, wish = ?request.update_type, "asks for configuration");
            }
        }
    }
}

async fn ask_all(agent: &AgentHandle, questions: &Questions) -> Asked {
    let mut missing = 0_u64;
    for round in 0..questions.repeat {
        for (index, event) in questions.events.iter().enumerate() {
            if !agent.capabilities().supports(event.kind()) {
                continue;
            }
            if round > 0 || index > 0 {
                tokio::time::sleep(questions.interval).await;
            }
            let answer = agent.ask(event.clone()).timeout(questions.timeout).await;
            missing = missing.saturating_add(u64::from(answer.is_err()));
            if tell(agent, event, &answer, questions.json).is_err() {
                return Asked::ClosedPipe;
            }
        }
    }
    if missing == 0 { Asked::Everything } else { Asked::Missing(missing) }
}

fn tell(agent: &AgentHandle, event: &Event, answer: &Result<Answer, AskError>, json: bool) -> io::Result<()> {
    let (kind, id) = (event.kind(), event.correlation_id().as_str());
    let mut out = io::stdout().lock();
    if json {
        let line = json!({
            "agent": agent.agent_id(),
            "connection": agent.connection_id(),
            "type": kind.name(),
            "correlation_id": id,
            "answer": answer.as_ref().ok(),
            "error": answer.as_ref().err().map(ToString::to_string),
        });
        return writeln!(out, "{line}");
    }
    let words = match answer {
        Ok(answer) => verdict(answer),
        Err(error) => format!("no answer: {error}"),
    };
    writeln!(out, "{} {kind} {}: {}", agent.agent_id(), plain(id), plain(&words))
}
