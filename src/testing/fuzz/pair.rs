//! Two honest sessions under operations, watched by the oracle (P1 to P15).

use alloc::vec::Vec;

use crate::testing::pair::{Op, Pair, PairConfig};

use super::Outcome;
use super::input::Input;

/// As many operations as a run has at most.
const MOST_OPS: usize = 60;

/// What the longest segment has at least, in bytes. The fuzzer is led to long runs of short segments,
/// each of which is looked at on clones; cuts byte by byte are for the other targets.
const SHORTEST_LIMIT: usize = 24;

/// As long as one wait or deadline may be, in microseconds: past every silence that a session puts up with.
const LONGEST: u64 = 40_000_000;

/// A pair, and what happens to it, ended by a fair drain.
///
/// # Errors
/// The first property that did not hold.
pub fn pair(data: &[u8]) -> Outcome {
    let mut input = Input::new(data);
    let config = config(&mut input);
    let mut ops = Vec::new();
    while !input.is_empty() && ops.len() < MOST_OPS {
        ops.push(op(&mut input));
    }
    Pair::run(&config, &ops)?;
    Ok(())
}

fn config(input: &mut Input<'_>) -> PairConfig {
    let flags = input.byte();
    PairConfig {
        seed: u64::from(input.byte()),
        window: u32::try_from(input.below(5)).unwrap_or(0).saturating_add(1),
        stated: u32::try_from(input.below(4)).unwrap_or(0),
        exchange_ids: flags & 1 == 1,
        forward: flags & 2 == 2,
        // Little can happen to a pair that never opens.
        reject: flags & 0xf0 == 0xf0,
        queue: input.below(10).saturating_add(1),
        owed: input.below(5).saturating_add(1),
        running: input.below(4).saturating_add(1),
        max_delay: u64::from(input.byte()).saturating_mul(20),
        max_segment: usize::from(input.byte()).saturating_add(SHORTEST_LIMIT),
    }
}

fn short(input: &mut Input<'_>) -> u32 {
    u32::try_from(input.micros().min(LONGEST)).unwrap_or(u32::MAX)
}

fn op(input: &mut Input<'_>) -> Op {
    match input.byte() % 44 {
        0..=9 => Op::Submit {
            id: u8::try_from(input.below(4)).unwrap_or(0),
            wait: input.below(8) != 0,
            deadline: short(input),
        },
        10..=17 => Op::Answer(input.byte()),
        18..=22 => Op::Advance(short(input)),
        23..=25 => Op::Cancel(input.byte()),
        26 => Op::CancelUnknown,
        27 => Op::CancelRequest(input.byte()),
        28 => Op::CancelAll,
        29 => Op::AnswerAgain,
        30 => Op::Pause(which(input)),
        31 => Op::Resume(which(input)),
        32 => Op::Capacity(u8::try_from(input.below(5)).unwrap_or(0)),
        33 => Op::Ping(input.byte()),
        34 => Op::Unknown(input.byte()),
        35 => Op::Stray,
        36 => Op::StallAgent(input.flag()),
        37 => Op::StallProxy(input.flag()),
        38 => Op::DrainProxy(short(input)),
        39 => Op::DrainAgent(short(input)),
        40 => Op::Disconnect,
        41 => Op::HalfCloseAgent,
        42 => Op::HalfCloseProxy,
        _ if input.flag() => Op::CloseProxy,
        _ => Op::CloseAgent,
    }
}

fn which(input: &mut Input<'_>) -> Option<u8> {
    match input.byte() {
        none if none & 1 == 0 => None,
        some => Some(some >> 1),
    }
}
