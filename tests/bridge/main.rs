//! A bridge between real sessions: what passes, what becomes of it when a side is lost, what is refused.

mod alive;
mod ending;
mod flow;
mod frames;
mod hand;
mod opening;
mod world;

use std::time::Duration;

use dialback::session::bridge::{BridgeEnd, OnAgentLoss, Side};
use world::{Setting, World};

fn setting(seed: u64) -> Setting {
    Setting {
        seed,
        messagepack: seed.is_multiple_of(3),
        exchange_ids: seed.is_multiple_of(2),
        on_loss: if seed.is_multiple_of(5) { OnAgentLoss::Close } else { OnAgentLoss::Block },
        write_mark: if seed.is_multiple_of(7) { 300 } else { 256 << 10 },
    }
}

/// A world in which both handshakes are done.
fn open(seed: u64) -> World {
    let mut world = World::new(setting(seed));
    for _ in 0..200 {
        if world.bridge.is_open() {
            return world;
        }
        world.advance(Duration::from_millis(5));
    }
    panic!("seed {seed}: the bridge never opened: {:?}", world.bridge.end());
}

fn work(world: &mut World, steps: u32) {
    for _ in 0..steps {
        match world.rng.below(10) {
            0..3 => world.submit(),
            3..6 => world.answer(),
            6 if world.rng.per_mille(300) => world.cancel(),
            _ => world.advance(Duration::from_millis(20)),
        }
        world.settle();
    }
}

#[test]
// Rule: X-BRIDGE-1, X-BRIDGE-2, X-BRIDGE-3, F-BRIDGE-1.
fn whatever_dies_every_event_ends_and_none_is_allowed_but_by_the_agent() {
    let (mut answered, mut blocked, mut lost) = (0, 0, 0);
    for seed in 0..300 {
        let mut world = open(seed);
        work(&mut world, 40);
        let side = world.rng.pick(&Side::ALL).unwrap();
        world.kill(side);
        world.run_out();
        assert!(matches!(world.end, Some(BridgeEnd::Peer(at, _)) if at == side), "{seed}: {:?}", world.end);
        let tally = world.check_endings();
        let may_block = side == Side::Agent && setting(seed).on_loss == OnAgentLoss::Block;
        assert!(tally.blocked == 0 || may_block, "seed {seed}: {tally:?}");
        answered += tally.answered;
        blocked += tally.blocked;
        lost += tally.unanswered;
    }
    assert!(answered > 900 && blocked > 300 && lost > 300, "{answered} {blocked} {lost}");
}

#[test]
fn a_drain_carries_what_is_under_way_to_its_end() {
    let mut answered = 0;
    for seed in 0..80 {
        let mut world = open(seed);
        work(&mut world, 30);
        let deadline = world.now.after(Duration::from_secs(60));
        world.bridge.drain(deadline, world.now);
        for _ in 0..400 {
            world.answer();
            world.advance(Duration::from_millis(5));
        }
        world.run_out();
        let tally = world.check_endings();
        assert_eq!(tally.blocked, 0, "seed {seed}");
        answered += tally.answered;
    }
    assert!(answered > 250, "{answered}");
}

#[test]
fn a_drain_that_takes_too_long_ends_at_its_deadline() {
    let mut blocked = 0;
    for seed in (1_u64..70).filter(|seed| !seed.is_multiple_of(5)) {
        let mut world = open(seed);
        work(&mut world, 30);
        // Unanswered from here on.
        world.receipts.clear();
        let deadline = world.now.after(Duration::from_millis(500));
        world.bridge.drain(deadline, world.now);
        world.run_out();
        assert!(world.end.is_some(), "seed {seed}");
        blocked += world.check_endings().blocked;
    }
    assert!(blocked > 30, "{blocked}");
}
