//! Arithmetic on the words where it could go wrong: zero, the largest, and both sides of every power of two.
//! What is said of all words without exception is in `proofs/symex`.

use core::time::Duration;

use dialback::machine::admission::{MAX_AGENT_ID, Rate, RegistrationRefusal, Throttle, check_agent_id};
use dialback::machine::{Attempt, Backoff, EventSet, Histogram, Next, Pace, Timestamp};
use dialback::wire::EventKind;

/// Zero, the largest, and three words around each power of two.
fn edges() -> Vec<u64> {
    let around = |bit: u32| [(1_u64 << bit) - 1, 1 << bit, (1 << bit) + 1];
    let mut edges: Vec<u64> = (0..64).flat_map(around).chain([u64::MAX - 1, u64::MAX]).collect();
    edges.sort_unstable();
    edges.dedup();
    edges
}

#[test]
fn there_and_back_again_in_time() {
    for (one, other) in edges().into_iter().flat_map(|one| edges().into_iter().map(move |other| (one, other)))
    {
        let (begin, end) = (Timestamp::from_micros(one.min(other)), Timestamp::from_micros(one.max(other)));
        assert_eq!(begin.after(end.since(begin)), end, "{one} {other}");
        assert_eq!(begin.since(end), Duration::ZERO);
    }
}

#[test]
fn every_edge_is_counted_in_one_bucket_that_holds_it() {
    for micros in edges() {
        let mut histogram = Histogram::default();
        histogram.record(Duration::from_micros(micros));
        let counted: Vec<_> = histogram.buckets().enumerate().filter(|(_, (_, count))| *count > 0).collect();
        let [(index, (bound, 1))] = counted[..] else { panic!("{micros} is in {counted:?}") };
        let last = histogram.buckets().count() - 1;
        assert!(u128::from(micros) <= bound.as_micros() || index == last, "{micros} is above {bound:?}");
        let below = histogram.buckets().nth(index.wrapping_sub(1)).map(|(bound, _)| bound.as_micros());
        assert!(below.is_none_or(|below| u128::from(micros) > below), "{micros} is too low for {bound:?}");
        assert_eq!((histogram.count(), histogram.sum()), (1, Duration::from_micros(micros)));
    }
}

#[test]
fn a_draw_is_its_share_of_the_ceiling() {
    for (millis, random) in
        edges().into_iter().flat_map(|one| edges().into_iter().map(move |other| (one, other)))
    {
        let span = Duration::from_millis(millis);
        let mut pace = Pace::new(Backoff { min: span, max: span, stable_after: Duration::ZERO }, None);
        let Next::Wait(wait) = pace.next(Attempt::Failed, random) else { panic!("gave up") };
        let exact = span.as_nanos() * u128::from(random >> 32) / u128::from(u32::MAX);
        // Waits of centuries are rounded up to all of the ceiling.
        let right = if exact > u64::MAX.into() { span.as_nanos() } else { exact };
        assert_eq!(wait.as_nanos(), right, "{millis} ms, {random:#x}");
    }
}

#[test]
fn the_wait_of_a_throttle_is_exact() {
    let rates = edges().into_iter().filter_map(|rate| u32::try_from(rate).ok()).filter(|rate| *rate > 0);
    for (per_second, pause) in rates
        .flat_map(|rate| edges().into_iter().take_while(|at| *at < 1 << 41).map(move |pause| (rate, pause)))
    {
        let start = Timestamp::from_micros(1 << 50);
        let mut throttle = Throttle::new(Rate { per_second, burst: 1 }, start);
        throttle.take(start).unwrap();
        let now = start.after(Duration::from_micros(pause));
        let Err(wait) = throttle.clone().take(now) else {
            assert!(u128::from(pause) * u128::from(per_second) >= 1_000_000);
            continue;
        };
        let early = now.after(wait - Duration::from_micros(1));
        assert!(throttle.clone().take(early).is_err(), "{per_second} {pause}");
        assert_eq!(throttle.take(now.after(wait)), Ok(()), "{per_second} {pause}");
    }
}

#[test]
fn every_set_of_events_holds_what_was_put_in() {
    for chosen in 0..1_u32 << EventKind::ALL.len() {
        let is_in = |index: usize| chosen & (1 << index) != 0;
        let kinds = EventKind::ALL.into_iter().enumerate();
        let set: EventSet = kinds.clone().filter(|(index, _)| is_in(*index)).map(|(_, kind)| kind).collect();
        for (index, kind) in kinds {
            assert_eq!(set.contains(kind), is_in(index), "{chosen:#b} {kind:?}");
            assert!(set.with(kind).contains(kind));
        }
        assert_eq!(set == EventSet::all(), chosen + 1 == 1 << EventKind::ALL.len());
    }
}

#[test]
// Rule: H-REG-1.
fn every_character_is_allowed_in_an_id_or_named_with_its_place() {
    let allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:@/";
    for letter in '\0'..=char::MAX {
        let right = |at| match allowed.contains(letter) {
            true => Ok(()),
            false => Err(RegistrationRefusal::BadIdCharacter { at }),
        };
        assert_eq!(check_agent_id(letter.encode_utf8(&mut [0; 4])), right(0), "{letter:?}");
        if letter.is_ascii() {
            for at in 0..MAX_AGENT_ID {
                let mut id = "x".repeat(MAX_AGENT_ID);
                id.replace_range(at..=at, letter.encode_utf8(&mut [0; 4]));
                assert_eq!(check_agent_id(&id), right(at), "{letter:?} at {at}");
            }
        }
    }
}
