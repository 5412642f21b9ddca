//! The proxy's session, bytes and all. The agent has no library.

use std::collections::VecDeque;

use dialback::session::ProxySettings;
use dialback::wire::CancelReason;

use crate::common::event::{headers, id};
use crate::common::joined::{Joined, Setup};
use crate::cost::{Measured, repeat};
use crate::machines::limits;

fn filled(window: u32, count: usize) -> (Joined, VecDeque<String>) {
    let proxy = ProxySettings { limits: limits(window), ..ProxySettings::default() };
    let mut joined = Joined::open(&Setup { proxy, ..Setup::default() });
    let ids: VecDeque<String> = (0..count).map(id).collect();
    for id in &ids {
        joined.submit(&headers(id).into());
        joined.write_to_nobody();
    }
    (joined, ids)
}

/// One comes, the oldest in flight is answered, and what may be written now is.
fn replace(joined: &mut Joined, under_way: &mut VecDeque<String>, number: usize) {
    let new = id(number);
    joined.submit(&headers(&new).into());
    joined.write_to_nobody();
    under_way.push_back(new);
    joined.answer_raw(under_way.pop_front().as_deref());
    joined.write_to_nobody();
    assert_eq!(joined.endings(), (1, 0));
}

/// So many in flight.
pub fn in_flight(count: usize) -> Measured {
    let (mut joined, mut under_way) = filled(1 << 20, count);
    let measured = repeat(&mut |step| replace(&mut joined, &mut under_way, count + step));
    assert_eq!((joined.proxy.in_flight(), joined.proxy.waiting()), (count, 0));
    measured
}

/// So many queued behind a window of 16.
pub fn queued(count: usize) -> Measured {
    let (mut joined, mut under_way) = filled(16, 16 + count);
    let measured = repeat(&mut |step| replace(&mut joined, &mut under_way, 16 + count + step));
    assert_eq!((joined.proxy.in_flight(), joined.proxy.waiting()), (16, count));
    measured
}

/// So many given up, and not answered since.
pub fn abandoned(count: usize) -> Measured {
    let (mut joined, _) = filled(1 << 20, count);
    joined.proxy.cancel_all(CancelReason::Manual, joined.now);
    joined.write_to_nobody();
    assert_eq!(joined.endings(), (0, count));
    let mut under_way = VecDeque::new();
    let measured = repeat(&mut |step| replace(&mut joined, &mut under_way, count + step));
    assert_eq!(joined.proxy.machine().owed(), count);
    measured
}
