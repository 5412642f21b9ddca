//! Arithmetic over whole machine words: times, rates, waits, buckets, windows.

use core::num::NonZeroU32;
use core::time::Duration;

use dialback::machine::admission::{AdmissionPolicy, Occupancy, Rate, RegistrationRefusal, Throttle};
use dialback::machine::{Attempt, Backoff, Next, Pace, Timestamp};
use dialback::testing::inner;

/// Any span there can be, or `None` where the nanoseconds are no part of a second.
fn span(seconds: u64, nanos: u32) -> Option<Duration> {
    (nanos < 1_000_000_000).then(|| Duration::new(seconds, nanos))
}

const OUT_OF_RANGE: u64 = 9;

/// A point in time and any span after it.
#[unsafe(no_mangle)]
extern "C" fn time_after(micros: u64, seconds: u64, nanos: u32) -> u64 {
    let Some(span) = span(seconds, nanos) else { return OUT_OF_RANGE };
    let at = Timestamp::from_micros(micros);
    let later = at.after(span);
    assert!(later >= at, "later is earlier");
    let exact = u128::from(micros) + u128::from(seconds) * 1_000_000 + u128::from(nanos / 1_000);
    if exact >= u128::from(u64::MAX) {
        assert!(later == Timestamp::NEVER);
        return 1;
    }
    assert!(u128::from(later.as_micros()) == exact);
    0
}

/// Any two points in time.
#[unsafe(no_mangle)]
extern "C" fn time_since(one: u64, other: u64) -> u64 {
    let (one, other) = (Timestamp::from_micros(one), Timestamp::from_micros(other));
    let between = one.since(other);
    if one < other {
        assert!(between == Duration::ZERO);
        return 1;
    }
    // Back again is `time_after`'s to show; in one term the two divisions are too much for the solver.
    assert!(between == Duration::from_micros(one.as_micros() - other.as_micros()));
    0
}

/// Any time at all: no arithmetic on the way to a frame's milliseconds is lost.
#[unsafe(no_mangle)]
extern "C" fn time_millis(micros: u64) -> u64 {
    let millis = Timestamp::from_micros(micros).as_millis();
    assert!(millis <= micros / 1_000 && micros - millis * 1_000 < 1_000);
    0
}

/// Two takes at any two times, under any rate. A refusal changes nothing, the bucket never holds more than
/// the burst, and time that goes back earns nothing.
#[unsafe(no_mangle)]
extern "C" fn throttle_takes(per_second: u32, burst: u32, start: u64, first: u64, second: u64) -> u64 {
    let rate = Rate { per_second, burst };
    let mut throttle = Throttle::new(rate, Timestamp::from_micros(start));
    let mut taken = 0;
    for at in [first, second] {
        let before = throttle.clone();
        match throttle.take(Timestamp::from_micros(at)) {
            Ok(()) => taken += 1,
            Err(wait) => {
                assert!(throttle == before, "a refusal that changes something");
                assert!(wait > Duration::ZERO);
                assert!((wait == Duration::MAX) == (per_second == 0 || burst == 0));
            }
        }
    }
    // The first is there at once, or never. So is the second, where the burst allows two.
    assert!((taken == 0) == (burst == 0));
    assert!(taken == 2 || burst < 2);
    if burst == 1 && taken == 2 {
        // One had to be earned, and a full bucket earns nothing before the first take.
        assert!(second > first.max(start), "earned in no time");
    }
    taken
}

/// After one take from a bucket of one, the wait that is told is enough and not a microsecond too long.
#[unsafe(no_mangle)]
extern "C" fn throttle_wait(per_second: u32, start: u64, pause: u64) -> u64 {
    // No deadline that saturates: nobody can wait that long.
    if per_second == 0 || start > 1 << 62 || pause > 1 << 40 {
        return OUT_OF_RANGE;
    }
    let start = Timestamp::from_micros(start);
    let mut throttle = Throttle::new(Rate { per_second, burst: 1 }, start);
    assert!(throttle.take(start) == Ok(()));
    let now = start.after(Duration::from_micros(pause));
    let Err(wait) = throttle.clone().take(now) else { return 0 };
    assert!(wait <= Duration::from_secs(1));
    assert!(throttle.clone().take(now.after(wait)) == Ok(()), "the wait is too short");
    let early = now.after(wait - Duration::from_micros(1));
    assert!(throttle.take(early).is_err(), "the wait is too long");
    1
}

/// Whether there is room for one more connection, for every limit and every occupancy.
#[unsafe(no_mangle)]
extern "C" fn admission_room(per_agent: usize, all: usize, of_agent: usize, total: usize) -> u64 {
    let policy = AdmissionPolicy {
        max_connections_per_agent: per_agent,
        max_connections: all,
        ..AdmissionPolicy::default()
    };
    match policy.room(Occupancy { of_agent, total }) {
        Ok(()) => {
            assert!(of_agent < per_agent && total < all);
            0
        }
        Err(RegistrationRefusal::AgentFull { limit }) => {
            assert!(limit == per_agent && of_agent >= per_agent);
            1
        }
        Err(_) => {
            assert!(of_agent < per_agent && total >= all);
            2
        }
    }
}

fn pace(min: Duration, max: Duration, stable_after: Duration) -> Pace {
    Pace::new(Backoff { min, max, stable_after }, None)
}

/// `failures` attempts that fail under any first and last ceiling, in seconds: each ceiling is the double of
/// the one before until the last is reached, and none is above the last.
#[unsafe(no_mangle)]
extern "C" fn backoff_ceiling(min: u32, max: u32, failures: u32) -> u64 {
    let (first, last) = (Duration::from_secs(min.into()), Duration::from_secs(max.into()));
    let mut pace = pace(first, last, Duration::ZERO);
    let mut exact = u64::from(min);
    for _ in 0..failures {
        assert!(pace.ceiling() == Duration::from_secs(exact.min(max.into())));
        assert!(pace.next(Attempt::Failed, 0) == Next::Wait(Duration::ZERO), "the least draw is no wait");
        exact *= 2;
    }
    u64::from(pace.ceiling() == last)
}

/// One attempt under any settings whatever: no panic, the ceiling is kept, and how long a connection lived
/// decides alone whether the pace begins anew.
#[unsafe(no_mangle)]
extern "C" fn backoff_any(min: u64, max: u64, stable_after: u64, lived: u64, part: u32) -> u64 {
    let Some(min) = span(min, part) else { return OUT_OF_RANGE };
    let (max, stable_after) = (Duration::from_secs(max), Duration::from_secs(stable_after));
    let mut pace = pace(min, max, stable_after);
    let begin = pace;
    assert!(pace.ceiling() == min.min(max));
    pace.next(Attempt::Failed, 0);
    assert!(pace.ceiling() == min.saturating_mul(2).min(max) || min >= max);
    let lived = Duration::from_secs(lived);
    pace.next(Attempt::Ended { lived }, 0);
    if lived >= stable_after {
        let mut other = begin;
        other.next(Attempt::Failed, 0);
        assert!(pace == other, "a stable life, and not the first pace");
        return 0;
    }
    1
}

/// Every draw under one ceiling: never above it, the extremes reached.
#[unsafe(no_mangle)]
extern "C" fn backoff_draw(ceiling: u64, asked: u64, random: u64) -> u64 {
    if asked > 1 << 40 {
        return OUT_OF_RANGE;
    }
    let (span, asked) = (Duration::from_millis(ceiling), Duration::from_millis(asked));
    let mut pace = pace(span, span, Duration::ZERO);
    let Next::Wait(wait) = pace.next(Attempt::RefusedFor(asked), random) else { panic!("gave up") };
    assert!(wait >= asked && wait <= asked + span);
    if random >> 32 == u64::from(u32::MAX) {
        assert!(wait == asked + span);
        return 1;
    }
    0
}

/// Every number of microseconds falls into the bucket whose bounds hold it.
#[unsafe(no_mangle)]
extern "C" fn histogram_bucket(micros: u64) -> u64 {
    let bucket = inner::bucket_of(micros);
    assert!(bucket < BUCKETS, "counted nowhere");
    assert!(bucket == 0 || micros > 1 << (bucket - 1), "a bucket too high");
    assert!(bucket == BUCKETS - 1 || micros <= 1 << bucket, "a bucket too low");
    u64::from(bucket == BUCKETS - 1)
}

/// What `Histogram` says of itself.
const BUCKETS: usize = 40;

/// The window is the smallest of three limits, and there is room exactly below it.
#[unsafe(no_mangle)]
extern "C" fn window(limit: u32, stated: u32, announced: u64, told: u32, in_flight: usize) -> u64 {
    let (stated, announced) = (NonZeroU32::new(stated), (told & 1 == 1).then_some(announced));
    let (window, room) = inner::window(limit, stated, announced, in_flight);
    assert!(window <= limit);
    assert!(stated.is_none_or(|stated| window <= stated.get()));
    assert!(announced.is_none_or(|announced| u64::from(window) <= announced));
    let one_of_them = window == limit
        || stated.is_some_and(|stated| stated.get() == window)
        || announced == Some(u64::from(window));
    assert!(one_of_them, "smaller than need be");
    assert!(room == (in_flight < window as usize));
    u64::from(room)
}
