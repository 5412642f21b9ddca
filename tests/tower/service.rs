//! An agent as a service of events: it is ready while its window has room.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use dialback::machine::SubmitError;
use dialback::net::{AgentHandle, AskError};
use dialback::tower::{AgentService, AskConfig, PoolService};
use dialback::wire::{CancelReason, Event, EventKind, RequestHeaders};
use tower::{Service, ServiceExt};

use crate::script::Script;
use crate::stand::{HTTP, Running, Stand, agent_config, until};

/// A handle to an agent that says it takes so many events at once, and answers all but `/never`.
async fn agent(window: u32) -> (Stand, Running, AgentHandle) {
    let stand = Stand::new(AskConfig::default()).await;
    let mut config = agent_config(&HTTP);
    config.agent.registration.capabilities.limits.max_concurrency = window;
    let running = stand.dial(config, Script::never_on_path("/never")).await;
    let handle = stand.handle();
    (stand, running, handle)
}

fn event(id: &str, uri: &str) -> Event {
    RequestHeaders::new(id, "GET", uri).into()
}

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn poll(service: &mut AgentService, waker: &Waker) -> Poll<Result<(), AskError>> {
    service.poll_ready(&mut Context::from_waker(waker))
}

fn is_ready(service: &mut AgentService) -> bool {
    matches!(poll(service, Waker::noop()), Poll::Ready(Ok(())))
}

#[tokio::test]
async fn it_answers() {
    let (_stand, _agent, handle) = agent(0).await;
    let mut service = AgentService::new(handle).with_deadline(Duration::from_secs(30));
    assert!(service.ready().await.unwrap().call(event("a", "/")).await.unwrap().is_allow());
    assert!(service.oneshot(event("b", "/")).await.unwrap().is_allow());
}

#[tokio::test]
async fn it_is_ready_for_as_many_as_the_window_has() {
    let (_stand, agent, handle) = agent(3).await;
    let mut service = AgentService::new(handle.clone());
    let mut calls = Vec::new();
    // The driver has had no turn in between: what was taken counts before it is written.
    while is_ready(&mut service) {
        calls.push(service.call(event(&format!("r{}", calls.len()), "/never")));
        assert!(calls.len() <= 3, "more than the window");
    }
    assert_eq!(calls.len(), 3);
    until("the agent has them", || agent.log.kinds().len() == 3).await;
    assert!(!is_ready(&mut service));

    // A question that is given up keeps its place until its answer comes.
    let count = Arc::new(Count::default());
    assert!(poll(&mut service, &count.clone().into()).is_pending());
    drop(calls.pop());
    service.ready().await.unwrap();
    assert_eq!(agent.log.cancelled.lock().unwrap()[..], [CancelReason::ClientDisconnect]);
    assert!(is_ready(&mut service) && handle.in_flight() == 2);
}

#[tokio::test]
async fn everybody_who_waits_is_woken_and_nobody_else() {
    let (_stand, agent, handle) = agent(1).await;
    let mut first = AgentService::new(handle.clone());
    let call = first.call(event("a", "/never"));
    until("the agent has it", || !agent.log.kinds().is_empty()).await;

    let [one, two, gone] = [(); 3].map(|()| Arc::new(Count::default()));
    let mut second = first.clone();
    assert!(poll(&mut first, &one.clone().into()).is_pending());
    // A second poll of the same service takes the place of the first.
    assert!(poll(&mut first, &one.clone().into()).is_pending());
    assert!(poll(&mut second, &two.clone().into()).is_pending());
    {
        let mut third = first.clone();
        assert!(poll(&mut third, &gone.clone().into()).is_pending());
    }
    drop(call);
    until("they are woken", || one.0.load(Ordering::SeqCst) > 0 && two.0.load(Ordering::SeqCst) > 0).await;
    let woken = [one, two, gone].map(|count| count.0.load(Ordering::SeqCst));
    assert_eq!(woken, [1, 1, 0]);
    assert!(is_ready(&mut first) && is_ready(&mut second));
}

#[tokio::test]
async fn a_pause_and_a_resume_shut_and_open_it() {
    let (stand, _agent, held) = Stand::paused(AskConfig::default()).await;
    let mut service = AgentService::new(stand.handle());
    let mut ready = pin!(poll_fn(|cx| service.poll_ready(cx)));
    assert!(futures_util::poll!(&mut ready).is_pending());
    drop(held);
    ready.await.unwrap();
}

#[tokio::test]
async fn it_fails_once_the_connection_has_ended() {
    let (_stand, agent, handle) = agent(1).await;
    let mut service = AgentService::new(handle);
    let call = service.call(event("a", "/never"));
    until("the agent has it", || !agent.log.kinds().is_empty()).await;
    let mut waiting = service.clone();
    let (ready, ()) = tokio::join!(waiting.ready(), async { agent.task.abort() });
    assert_eq!(ready.err(), Some(AskError::Refused(SubmitError::Closed)));
    assert!(matches!(call.await, Err(AskError::ConnectionLost { written: true, .. })));
    assert!(matches!(service.call(event("b", "/")).await, Err(AskError::Refused(SubmitError::Closed))));
}

#[tokio::test]
async fn a_drain_is_told_who_waits() {
    let (_stand, agent, handle) = agent(1).await;
    let mut service = AgentService::new(handle.clone());
    let call = service.call(event("a", "/never"));
    until("the agent has it", || !agent.log.kinds().is_empty()).await;
    let drain = handle.drain(Duration::from_secs(30));
    let (ready, _) = tokio::join!(service.ready(), async {
        tokio::task::yield_now().await;
        drop(call);
        drain.await
    });
    assert!(matches!(ready.err(), Some(AskError::Refused(SubmitError::Draining | SubmitError::Closed))));
}

#[tokio::test]
async fn a_pool_gives_a_service_for_each_request() {
    let (stand, _agent, _) = agent(0).await;
    let mut pool = PoolService::new(stand.pool.clone(), "guard", [EventKind::RequestHeaders]);
    let mut request = pool.ready().await.unwrap().call("a".into()).await.unwrap();
    assert!(request.ready().await.unwrap().call(event("a", "/")).await.unwrap().is_allow());
    let error = request.call(event("b", "/")).await.unwrap_err();
    assert!(matches!(error, AskError::WrongRequest { .. }), "{error}");
    let mut nobody = PoolService::new(stand.pool.clone(), "nobody", []);
    assert!(nobody.call("a".into()).await.is_err());
}

/// More callers than places, on several threads: every one gets its turn.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_waits_for_ever() {
    let (_stand, _agent, handle) = agent(2).await;
    let service = AgentService::new(handle);
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..16 {
        let mut service = service.clone();
        tasks.spawn(async move {
            for turn in 0..50 {
                let call = service.ready().await.unwrap().call(event(&format!("{task}-{turn}"), "/"));
                // Some change their mind.
                if (task + turn) % 7 != 0 {
                    call.await.unwrap();
                }
            }
        });
    }
    let all = tokio::time::timeout(crate::stand::LIMIT, tasks.join_all());
    assert_eq!(all.await.expect("nobody is forgotten").len(), 16);
}
