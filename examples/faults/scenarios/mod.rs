//! What hostile and broken agents do to a proxy, over real sockets, and the bounds that must hold.
//!
//! Every scenario runs beside an innocent agent on the same listener, whose every request must
//! succeed meanwhile, and ends with nothing left over. One list, run in small doses by
//! `cargo test --test hostile` and in large ones by `cargo run --release --example faults`.

mod answers;
mod bytes;
mod flow;
mod opening;
mod stage;

use crate::gauge::{self, Gauge};
use stage::{GOODBYE, Stage};

/// How much of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dose {
    /// For every test run.
    Small,
    /// For a look at the figures.
    Large,
}

impl Dose {
    /// The one or the other.
    pub const fn of(self, small: usize, large: usize) -> usize {
        match self {
            Self::Small => small,
            Self::Large => large,
        }
    }
}

/// One statement, and whether it held.
#[derive(Debug)]
pub struct Bound {
    /// The statement.
    pub words: String,
    /// Whether it held.
    pub held: bool,
}

/// What came of a fault.
#[derive(Debug)]
pub struct Report {
    /// What happened.
    pub happened: String,
    /// What had to hold.
    pub bounds: Vec<Bound>,
    /// Bytes that both ends together may have needed at most beyond what was there before.
    memory: usize,
    /// Tasks, likewise.
    tasks: usize,
}

impl Report {
    fn new() -> Self {
        Self { happened: String::new(), bounds: Vec::new(), memory: 1 << 20, tasks: 16 }
    }

    fn check(&mut self, held: bool, words: impl Into<String>) {
        self.bounds.push(Bound { words: words.into(), held });
    }

    fn exactly(&mut self, what: &str, figure: usize, wanted: usize) {
        self.check(figure == wanted, format!("{what}: {figure} = {wanted}"));
    }

    fn at_most(&mut self, what: &str, figure: usize, limit: usize) {
        self.check(figure <= limit, format!("{what}: {figure} <= {limit}"));
    }

    fn at_least(&mut self, what: &str, figure: usize, limit: usize) {
        self.check(figure >= limit, format!("{what}: {figure} >= {limit}"));
    }

    /// Whether everything held.
    pub fn held(&self) -> bool {
        self.bounds.iter().all(|bound| bound.held)
    }
}

/// Declares the faults: a variant, its name for a reader, and the function that inflicts it.
macro_rules! faults {
    ($($variant:ident, $name:literal, $function:path;)*) => {
        /// What is inflicted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Fault {
            $(#[doc = $name] $variant,)*
        }

        impl Fault {
            /// Every fault.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Its name for a reader.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            async fn inflict(self, stage: &Stage, dose: Dose, report: &mut Report) {
                match self {
                    $(Self::$variant => $function(stage, dose, report).await,)*
                }
            }
        }
    };
}

faults! {
    Storm, "reconnect storm", opening::storm;
    Crowd, "silent crowd at the door", opening::crowd;
    LorisBefore, "slow-loris before registration", opening::loris;
    HalfRegistration, "half a registration", opening::half;
    HurtfulRegistration, "hurtful registrations", opening::hurtful;
    LorisAfter, "slow-loris after registration", bytes::loris;
    HalfFrames, "half frames of 16 MiB", bytes::half;
    UnknownFrames, "flood of unknown frames", bytes::unknown_frames;
    UnknownIds, "flood of unknown ids", bytes::unknown_ids;
    Oversize, "oversize and empty frames", bytes::oversize;
    HurtfulJson, "hurtful JSON", bytes::hurtful;
    AnswersTwice, "answers everything twice", answers::twice;
    AnswersNever, "never answers", answers::never;
    AnswersWrongly, "answers wrongly", answers::wrongly;
    StalledReader, "stops reading", flow::stalled;
    PingFlood, "ping flood, pongs unread", flow::pings_unread;
    PingsRead, "ping flood, pongs read", flow::pings_read;
    PausedForEver, "pauses and never resumes", flow::paused;
    ManyPauses, "pauses requests without end", flow::many_pauses;
}

/// Inflicts one fault on a proxy of its own, and tells what came of it.
pub async fn run(fault: Fault, dose: Dose) -> Report {
    let before = Gauge::now();
    let stage = Stage::start().await;
    let mut report = Report::new();
    let during = Gauge::now();
    gauge::reset_peak();
    fault.inflict(&stage, dose, &mut report).await;
    let peak = gauge::peak().saturating_sub(during.heap);
    let most_tasks = stage.most_tasks().saturating_sub(during.tasks);
    report.at_most("memory, KiB", peak >> 10, report.memory >> 10);
    report.at_most("tasks", most_tasks, report.tasks);
    stage.end(&mut report).await;
    let left = before.wait_for_return(GOODBYE).await;
    let (fds, tasks) = (left.fds.saturating_sub(before.fds), left.tasks.saturating_sub(before.tasks));
    report.check(fds == 0 && tasks == 0, format!("left over: {fds} descriptors, {tasks} tasks"));
    report
}
