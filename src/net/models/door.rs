//! Who is let in: seats, the accept rate, the hook, and the shutdown of an acceptor.

use std::sync::atomic::AtomicUsize;

use super::far::registering;
use super::*;
use crate::machine::admission::{AdmissionPolicy, Rate, RegistrationRefusal};
use crate::net::accept::{AcceptError, Acceptor};
use crate::net::admission::Seats;
use crate::net::config::ListenerConfig;
use crate::net::hook::{Applicant, Peer};

fn acceptor(change: impl FnOnce(&mut ListenerConfig)) -> Acceptor {
    let mut config = ListenerConfig::default();
    change(&mut config);
    Acceptor::new(config).unwrap()
}

/// No deadline comes in a model, so a shutdown that waits for nobody does not end.
fn shut_down(acceptor: &Acceptor) {
    block_on(acceptor.shutdown(SECOND));
    assert_eq!(acceptor.connections(), 0, "a seat is taken by nobody");
}

fn contend_for_a_seat(rivals: usize) {
    let policy = || AdmissionPolicy { max_connections: 1, ..AdmissionPolicy::default() };
    let (seats, seated) = (Seats::default(), Arc::new(AtomicUsize::new(0)));
    let sit = {
        let (seats, seated) = (seats.clone(), Arc::clone(&seated));
        move || {
            let seat = seats.reserve(&policy(), "guard");
            if seat.is_ok() {
                assert_eq!(seated.fetch_add(1, Ordering::Relaxed), 0, "two on one seat");
                assert!(seats.taken() <= 1);
                seated.fetch_sub(1, Ordering::Relaxed);
            }
            drop(seat);
        }
    };
    let threads: Vec<_> = (1..rivals).map(|_| run(sit.clone())).collect();
    sit();
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(seats.taken(), 0);
}

#[test]
fn two_contend_for_a_seat() {
    explore("two_contend_for_a_seat", Bound::None, || contend_for_a_seat(2));
}

#[test]
fn three_contend_for_a_seat() {
    explore("three_contend_for_a_seat", Bound::Preemptions, || contend_for_a_seat(3));
}

#[test]
fn one_too_many_is_denied_and_counted() {
    explore("one_too_many_is_denied_and_counted", Bound::None, || {
        let acceptor = acceptor(|config| config.accept_rate = Some(Rate { per_second: 1, burst: 1 }));
        let theirs = acceptor.clone();
        let other = run(move || theirs.enter(Peer::Other).is_ok());
        let ours = acceptor.enter(Peer::Other).is_ok();
        assert!(ours != other.join().unwrap());
        assert_eq!(acceptor.refusals().total(), 1);
        shut_down(&acceptor);
    });
}

#[test]
fn a_shutdown_sees_the_last_of_two_go() {
    explore("a_shutdown_sees_the_last_of_two_go", Bound::Preemptions, || {
        let acceptor = acceptor(|_| ());
        let (one, two) = (acceptor.enter(Peer::Other).unwrap(), acceptor.enter(Peer::Other).unwrap());
        let others = [run(move || drop(one)), run(move || drop(two))];
        shut_down(&acceptor);
        for other in others {
            other.join().unwrap();
        }
    });
}

#[test]
fn a_shutdown_meets_one_who_enters() {
    explore("a_shutdown_meets_one_who_enters", Bound::None, || {
        let acceptor = acceptor(|_| ());
        let theirs = acceptor.clone();
        let other = run(move || drop(theirs.enter(Peer::Other)));
        shut_down(&acceptor);
        assert!(acceptor.enter(Peer::Other).is_err());
        other.join().unwrap();
    });
}

#[test]
fn a_shutdown_meets_one_who_registers() {
    explore("a_shutdown_meets_one_who_registers", Bound::Preemptions, || {
        let acceptor = acceptor(|_| ());
        let (far, theirs) = (registering(), acceptor.clone());
        let other = run(move || match block_on(theirs.accept(far.wire())) {
            Ok(handle) => drop(block_on(handle.closed())),
            Err(AcceptError::Closed(_) | AcceptError::Refused(RegistrationRefusal::ShuttingDown)) => {}
            Err(error) => panic!("{error}"),
        });
        shut_down(&acceptor);
        other.join().unwrap();
    });
}

#[test]
fn a_registration_that_nobody_waits_for_is_closed() {
    explore("a_registration_that_nobody_waits_for_is_closed", Bound::None, || {
        let acceptor = acceptor(|_| ());
        let far = registering();
        // Its handle may have come at once; then it is dropped here.
        drop(now(acceptor.accept(far.wire())));
        shut_down(&acceptor);
    });
}

#[test]
fn a_hook_decides() {
    explore("a_hook_decides", Bound::Preemptions, || {
        let acceptor = acceptor(|config| config.hook = Some(Arc::new(|_: &Applicant| Ok(()))));
        let handle = block_on(acceptor.accept(registering().wire())).unwrap();
        assert_eq!(handle.agent_id(), "guard");
        drop(handle);
        shut_down(&acceptor);
    });
}

#[test]
fn a_hook_decides_on_one_who_goes() {
    explore("a_hook_decides_on_one_who_goes", Bound::Preemptions, || {
        let acceptor = acceptor(|config| config.hook = Some(Arc::new(|_: &Applicant| Ok(()))));
        let far = registering();
        let mut accepting = Box::pin(acceptor.accept(far.wire()));
        let early = now(accepting.as_mut());
        far.act(|session, _| session.close());
        match early.unwrap_or_else(|| block_on(accepting)) {
            Ok(handle) => drop(block_on(handle.closed())),
            Err(error) => assert!(matches!(error, AcceptError::Closed(_)), "{error}"),
        }
        shut_down(&acceptor);
    });
}
