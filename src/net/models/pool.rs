//! A pool: choosing a connection while it comes and goes.

use super::far::answering;
use super::*;
use crate::net::ask::AskError;
use crate::net::pool::{Pool, PoolConfig, PoolError, Totals};

/// An agent that is gone is forgotten at once: no timer runs in a model.
fn pool() -> Pool {
    Pool::new(PoolConfig { grace: Duration::ZERO, ..PoolConfig::default() })
}

/// A connection that has been asked once.
fn asked() -> Near {
    let mut near = Near::new(answering());
    let mut pending = near.handle.request_headers(headers("before")).send().unwrap();
    assert!(now(&mut near.driver).is_none());
    assert!(now(&mut pending).unwrap().unwrap().is_allow());
    near
}

/// Lets an agent go, and its driver follow.
fn go(far: &Far<AgentSession>, driver: Driver<ProxyRole, Wire<AgentSession>>) {
    far.act(|session, _| session.close());
    block_on(driver);
}

fn totals(pool: &Pool) -> Option<Totals> {
    pool.agents().first().map(crate::net::AgentView::totals)
}

#[test]
fn a_request_begins_while_its_connection_ends() {
    explore("a_request_begins_while_its_connection_ends", Bound::Preemptions, || {
        let pool = pool();
        let Near { handle, driver, far, end } = Near::new(answering());
        pool.add(handle);
        let other = run(move || go(&far, driver));
        match pool.begin("guard", "a", &[]) {
            Ok(request) => match block_on(request.ask(headers("a")).into_future()) {
                Ok(answer) => assert!(answer.is_allow()),
                Err(error) => assert!(
                    matches!(error, AskError::ConnectionLost { .. } | AskError::Refused(_)),
                    "{error}"
                ),
            },
            Err(PoolError::UnknownAgent | PoolError::NotConnected | PoolError::NoneFit { .. }) => {}
        }
        other.join().unwrap();
        end.check();
    });
}

#[test]
fn totals_do_not_shrink_when_a_connection_leaves() {
    explore("totals_do_not_shrink_when_a_connection_leaves", Bound::Preemptions, || {
        let pool = pool();
        let Near { handle, driver, far, end } = asked();
        let stays = asked();
        pool.add(handle);
        pool.add(stays.handle);
        let other = run(move || go(&far, driver));
        for _ in 0..2 {
            assert_eq!(totals(&pool).unwrap().stats.answered, 2);
        }
        other.join().unwrap();
        end.check();
        go(&stays.far, stays.driver);
    });
}

#[test]
fn an_agent_comes_back_while_it_is_forgotten() {
    explore("an_agent_comes_back_while_it_is_forgotten", Bound::Preemptions, || {
        let pool = pool();
        let Near { handle, driver, far, .. } = Near::new(answering());
        pool.add(handle);
        go(&far, driver);
        let back = Near::new(answering());
        pool.add(back.handle);
        assert!(pool.begin("guard", "a", &[]).is_ok(), "its connection is in no group");
        assert!(pool.connections() >= 1);
        go(&back.far, back.driver);
    });
}
