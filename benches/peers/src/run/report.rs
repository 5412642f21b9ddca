//! Tables, ratios, and whether what is aimed at was seen.

use super::results::{Cell, Results, Spread};
use crate::contender::Contender;
use crate::slice::{Making, Slice};

/// Prints the medians and the ratios.
pub fn print(results: &Results) {
    let (in_flight, connections) = results.axes();
    println!(
        "\n{}; runtimes of {} threads; medians of {} rounds of {} ms; us: microseconds",
        results.machine, results.threads, results.rounds, results.measured_ms
    );
    println!(
        "CPU and allocations: of the asking process, per request; in brackets what the event takes of it:"
    );
    match results.event {
        Making::Kept => println!("each caller keeps its event and gives it another id"),
        Making::Anew => println!("each event is made anew"),
    }
    if let Some(why) = &results.syscalls_missing {
        println!("system calls were not counted: {why}");
    }
    for connections in connections {
        for in_flight in &in_flight {
            print_cell(results, connections, *in_flight);
        }
    }
    print_ratios(results);
}

fn print_cell(results: &Results, connections: usize, in_flight: usize) {
    println!("\n{in_flight} in flight, {}", of_connections(connections));
    println!(
        "  {:<16} {:>11} {:>11} {:>10} {:>10} {:>14} {:>15} {:>9}",
        "", "requests/s", "at best", "p50 us", "p99 us", "CPU us", "allocations", "syscalls"
    );
    for contender in Contender::ALL {
        let cell = Cell { contender, connections, in_flight };
        let median = |number: fn(&Slice) -> f64| results.spread(cell, number).map(|spread| spread.median);
        let Some(per_second) = median(|slice| slice.per_second) else { continue };
        // What disturbs a turn only ever slows it down.
        let best = results.spread(cell, PER_SECOND).map_or(per_second, |spread| spread.most);
        let (p50, p99) = (median(|slice| slice.p50), median(|slice| slice.p99));
        let cpu = with_event(median(|slice| slice.cpu), median(|slice| slice.event_cpu));
        let seen = &results.cells[&cell];
        let allocations = with_event(seen.allocations, seen.event_allocations);
        println!(
            "  {:<16} {per_second:>11.0} {best:>11.0} {:>10} {:>10} {cpu:>14} {allocations:>15} {:>9}",
            contender.name(),
            text(p50),
            text(p99),
            text(seen.syscalls),
        );
    }
}

fn text(number: Option<f64>) -> String {
    number.map_or_else(|| "-".into(), |number| format!("{number:.2}"))
}

fn with_event(all: Option<f64>, event: Option<f64>) -> String {
    match (all, event) {
        (Some(all), Some(event)) if event > 0.0 => format!("{all:.2} ({event:.2})"),
        (all, _) => text(all),
    }
}

fn of_connections(count: usize) -> String {
    if count == 1 { "1 connection".into() } else { format!("{count} connections") }
}

/// Two contenders, and what their ratio is of.
type Comparison = (Contender, Contender, &'static str, fn(&Slice) -> f64);

const PER_SECOND: fn(&Slice) -> f64 = |slice| slice.per_second;
const P50: fn(&Slice) -> f64 = |slice| slice.p50;
const CPU: fn(&Slice) -> f64 = |slice| slice.cpu;
/// What the library takes: without making the event, which is the same work for everybody.
const OWN_CPU: fn(&Slice) -> f64 = |slice| slice.cpu - slice.event_cpu;

const COMPARISONS: [Comparison; 11] = [
    (Contender::Ours, Contender::Upstream, "requests/s", PER_SECOND),
    (Contender::Ours, Contender::Upstream, "p50", P50),
    (Contender::Ours, Contender::Upstream, "CPU", CPU),
    (Contender::Ours, Contender::Upstream, "CPU without the event", OWN_CPU),
    (Contender::EndToEnd, Contender::Upstream, "requests/s", PER_SECOND),
    (Contender::EndToEnd, Contender::Tonic, "requests/s", PER_SECOND),
    (Contender::EndToEnd, Contender::Tonic, "p50", P50),
    (Contender::Ours, Contender::BareJson, "p50", P50),
    (Contender::Ours, Contender::BareJson, "requests/s", PER_SECOND),
    // What there is to be had without any protocol.
    (Contender::BareJson, Contender::Upstream, "requests/s", PER_SECOND),
    (Contender::BareJson, Contender::Upstream, "CPU", CPU),
];

fn print_ratios(results: &Results) {
    let (in_flight, connections) = results.axes();
    println!("\nratios, taken round by round: the median and its spread");
    for connections in connections {
        println!("\n  {}", of_connections(connections));
        print!("  {:<50}", "");
        in_flight.iter().for_each(|count| print!(" {count:>21}"));
        println!();
        for (upper, lower, what, number) in COMPARISONS {
            let ratio = |in_flight: usize| {
                let cell = |contender| Cell { contender, connections, in_flight };
                results.ratio(cell(upper), cell(lower), number)
            };
            if in_flight.iter().all(|count| ratio(*count).is_none()) {
                continue;
            }
            print!("  {:<50}", format!("{} / {}: {what}", upper.name(), lower.name()));
            for count in &in_flight {
                let shown = ratio(*count).map_or_else(String::new, |Spread { median, least, most }| {
                    format!("{median:.2} [{least:.2}, {most:.2}]")
                });
                print!(" {shown:>21}");
            }
            println!();
        }
    }
}

/// Which side of the bound is right.
#[derive(Clone, Copy)]
enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

impl Bound {
    fn holds(self, number: f64) -> bool {
        match self {
            Self::AtLeast(least) => number >= least,
            Self::AtMost(most) => number <= most,
        }
    }

    fn text(self) -> String {
        match self {
            Self::AtLeast(least) => format!("at least {least}"),
            Self::AtMost(most) => format!("at most {most}"),
        }
    }
}

/// Prints each aim beside what was seen. Returns whether all that could be judged hold.
pub fn verdict(results: &Results) -> bool {
    let (_, connections) = results.axes();
    let verdicts: Vec<bool> = connections.into_iter().map(|count| verdict_of(results, count)).collect();
    verdicts.into_iter().all(|holds| holds)
}

fn verdict_of(results: &Results, connections: usize) -> bool {
    use Contender::{BareJson, EndToEnd, Ours, Tonic, Upstream};
    let ratio = |upper, lower, in_flight, number: fn(&Slice) -> f64| {
        let cell = |contender| Cell { contender, connections, in_flight };
        results.ratio(cell(upper), cell(lower), number).map(|spread| spread.median)
    };
    let allocations = |in_flight| {
        let seen = results.cells.get(&Cell { contender: Ours, connections, in_flight })?;
        Some(seen.allocations? - seen.event_allocations?)
    };
    let p50 = ratio(Ours, Upstream, 1, P50);
    let near_limit = ratio(Ours, BareJson, 1, P50);
    let mut lines = vec![
        (
            "ours / upstream, requests/s, 64 in flight",
            ratio(Ours, Upstream, 64, PER_SECOND),
            Bound::AtLeast(5.0),
            ratio(BareJson, Upstream, 64, PER_SECOND),
        ),
        (
            "ours / upstream, requests/s, 256 in flight",
            ratio(Ours, Upstream, 256, PER_SECOND),
            Bound::AtLeast(5.0),
            ratio(BareJson, Upstream, 256, PER_SECOND),
        ),
        (
            "ours / upstream, CPU without the event, 64 in flight",
            ratio(Ours, Upstream, 64, OWN_CPU),
            Bound::AtMost(0.25),
            ratio(BareJson, Upstream, 64, CPU),
        ),
        ("ours, allocations without the event, 64 in flight", allocations(64), Bound::AtMost(10.0), None),
        (
            "ours at both ends / tonic, requests/s, 64 in flight",
            ratio(EndToEnd, Tonic, 64, PER_SECOND),
            Bound::AtLeast(4.0),
            None,
        ),
        ("ours / upstream, p50, 1 in flight", p50, Bound::AtMost(0.5), ratio(BareJson, Upstream, 1, P50)),
    ];
    // The socket may be the limit; then being near it is what counts.
    if p50.is_some_and(|p50| p50 > 0.5) {
        lines.pop();
        lines.push(("ours / bare socket and JSON, p50, 1 in flight", near_limit, Bound::AtMost(1.35), None));
    }
    println!("\naimed at, with {}:", of_connections(connections));
    let mut all = true;
    for (what, seen, bound, limit) in lines {
        let Some(number) = seen else { continue };
        let holds = bound.holds(number);
        all &= holds;
        let word = if holds { "holds" } else { "DOES NOT HOLD" };
        let limit =
            limit.map_or_else(String::new, |limit| format!("; the socket and the JSON alone: {limit:.2}"));
        println!("  {what:<56} {:<14} seen {number:>7.2}   {word}{limit}", bound.text());
    }
    all
}
