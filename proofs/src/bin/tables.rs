//! Prints every decision table of the machines as JSON: what the unbounded proof is built from.
//!
//! A table is its name, the values that a row may have, and its rows: the inputs, then the result,
//! each in the words of `Debug`.

use std::fmt::Debug;

use dialback::machine::closing::{DrainCause, Left, drain_step};
use dialback::machine::correlation::lane_gate;
use dialback::machine::exchange::{End, Fact, Stage, Step};
use dialback::machine::flow::{Gate, Pause, Room, Serving, Shut, gate};
use dialback::machine::inbox::{Level, Signal, Work, WorkFact, WorkStep, backpressure};
use dialback::machine::keepalive::{Probe, Pulse, Sign, Standing};
use dialback::machine::{Backlog, CloseReason, Matching, exchange, handshake, inbox, keepalive};
use dialback::wire::FlowAction;

struct Table {
    name: &'static str,
    values: Vec<String>,
    rows: Vec<(Vec<String>, String)>,
}

impl Table {
    fn new<V: Debug>(name: &'static str, values: impl IntoIterator<Item = V>) -> Self {
        Self {
            name,
            values: values.into_iter().map(|value| format!("{value:?}")).collect(),
            rows: Vec::new(),
        }
    }

    fn row(&mut self, inputs: &[&dyn Debug], result: &dyn Debug) {
        let result = format!("{result:?}");
        assert!(self.values.contains(&result), "{} knows no value {result}", self.name);
        self.rows.push((inputs.iter().map(|input| format!("{input:?}")).collect(), result));
    }
}

fn exchanges() -> Table {
    let plain = [Step::Stay, Step::Write, Step::Forget, Step::Stray];
    let told = End::ALL.into_iter().flat_map(|end| [Step::Finish(end), Step::Abandon(end)]);
    let mut table = Table::new("exchange::step", plain.into_iter().chain(told));
    for stage in Stage::ALL {
        for fact in Fact::ALL {
            table.row(&[&stage, &fact], &exchange::step(stage, fact));
        }
    }
    table
}

fn gate_values() -> impl Iterator<Item = Gate> {
    core::iter::once(Gate::Open).chain(Shut::ALL.into_iter().map(Gate::Shut))
}

fn gates() -> Table {
    let mut table = Table::new("flow::gate", gate_values());
    for serving in Serving::ALL {
        for pause in Pause::ALL {
            for room in Room::ALL {
                for backlog in Backlog::ALL {
                    table.row(&[&serving, &pause, &room, &backlog], &gate(serving, pause, room, backlog));
                }
            }
        }
    }
    table
}

fn lane_gates() -> Table {
    let mut table = Table::new("correlation::lane_gate", gate_values());
    for matching in Matching::ALL {
        for unanswered in [false, true] {
            for paused in [false, true] {
                table.row(&[&matching, &unanswered, &paused], &lane_gate(matching, unanswered, paused));
            }
        }
    }
    table
}

fn works() -> Table {
    let mut table = Table::new("inbox::step", WorkStep::ALL);
    for work in Work::ALL {
        for fact in WorkFact::ALL {
            table.row(&[&work, &fact], &inbox::step(work, fact));
        }
    }
    table
}

fn signals() -> Table {
    let values = [None, Some(FlowAction::Pause), Some(FlowAction::Resume)];
    let mut table = Table::new("inbox::backpressure", values);
    for signal in Signal::ALL {
        for level in Level::ALL {
            table.row(&[&signal, &level], &backpressure(signal, level));
        }
    }
    table
}

fn drains() -> Table {
    let reasons = [
        CloseReason::Drained,
        CloseReason::DrainDeadline,
        CloseReason::PeerDrained,
        CloseReason::PeerDrainDeadline,
    ];
    let mut table =
        Table::new("closing::drain_step", core::iter::once(None).chain(reasons.into_iter().map(Some)));
    for cause in DrainCause::ALL {
        for left in Left::ALL {
            for passed in [false, true] {
                table.row(&[&cause, &left, &passed], &drain_step(cause, left, passed));
            }
        }
    }
    table
}

fn handshakes() -> Table {
    let mut table = Table::new("handshake::step", handshake::Step::ALL);
    for stage in handshake::Stage::ALL {
        for input in handshake::Input::ALL {
            table.row(&[&stage, &input], &handshake::step(stage, input));
        }
    }
    table
}

fn pulses() -> Table {
    let mut table = Table::new("keepalive::step", Pulse::ALL);
    for probe in Probe::ALL {
        for standing in Standing::ALL {
            for sign in Sign::ALL {
                table.row(&[&probe, &standing, &sign], &keepalive::step(probe, standing, sign));
            }
        }
    }
    table
}

/// Names of variants need no escapes.
fn list(items: &[String]) -> String {
    let quoted: Vec<String> = items.iter().map(|item| format!("\"{item}\"")).collect();
    format!("[{}]", quoted.join(", "))
}

fn main() {
    let tables = [exchanges(), gates(), lane_gates(), works(), signals(), drains(), handshakes(), pulses()]
        .map(|table| {
            let rows: Vec<String> = table
                .rows
                .iter()
                .map(|(inputs, result)| format!("    [{}, \"{result}\"]", list(inputs)))
                .collect();
            format!(
                "  \"{}\": {{\"values\": {}, \"rows\": [\n{}\n  ]}}",
                table.name,
                list(&table.values),
                rows.join(",\n")
            )
        });
    println!("{{\n{}\n}}", tables.join(",\n"));
}
