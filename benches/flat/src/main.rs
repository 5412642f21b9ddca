//! What a request costs, the more there is of everything else.

#[path = "../../common/mod.rs"]
mod common;
mod cost;
mod judge;
mod machines;
mod networks;
mod plot;
mod series;
mod sessions;

use std::env::args;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use cost::Cost;
use judge::Verdict;
use series::Series;

const USAGE: &str = "usage: dialback-flat run DIRECTORY [--quick] | dialback-flat once SERIES COUNT";

fn main() -> ExitCode {
    let args: Vec<String> = args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match args.as_slice() {
        ["once", name, count] => once(name, count),
        ["run", directory] => run(Path::new(directory), false),
        ["run", directory, "--quick"] => run(Path::new(directory), true),
        _ => Err(USAGE.into()),
    };
    done.unwrap_or_else(|error| {
        eprintln!("flat: {error}");
        ExitCode::from(2)
    })
}

/// What `valgrind` runs.
fn once(name: &str, count: &str) -> Result<ExitCode, String> {
    let series = Series::ALL.into_iter().find(|series| series.name() == name);
    let series = series.ok_or_else(|| format!("no series is called {name:?}"))?;
    let count = count.parse().map_err(|_| format!("{count:?} is no count"))?;
    series.measure(count)?;
    Ok(ExitCode::SUCCESS)
}

fn run(directory: &Path, quick: bool) -> Result<ExitCode, String> {
    println!(
        "per request: instructions in user space; CPU time in ns, the least of several runs, caches and kernel included"
    );
    let mut flat = true;
    let mut drawn = Vec::new();
    for series in Series::ALL {
        let mut costs = Vec::new();
        println!("\n{}: {}", series.name(), series.text());
        println!("  {:>8} {:>14} {:>12}", "count", "instructions", "CPU ns");
        for count in series.counts(quick) {
            let cost = Cost::of(series, count)?;
            println!("  {count:>8} {:>14.0} {:>12.0}", cost.instructions, cost.cpu);
            costs.push((count, cost));
        }
        let points: Vec<_> = costs.iter().map(|(count, cost)| (*count as f64, cost.instructions)).collect();
        let verdict = Verdict::on(&points);
        println!("  {verdict}");
        flat &= verdict.holds();
        drawn.push((series, costs));
    }
    fs::create_dir_all(directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    let file = directory.join("flat.svg");
    plot::draw(&drawn, &file)?;
    println!("\nwritten: {}", file.display());
    println!(
        "{}",
        if flat { "Nothing grows faster than log n." } else { "SOMETHING GROWS FASTER THAN log n." }
    );
    Ok(if flat { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
