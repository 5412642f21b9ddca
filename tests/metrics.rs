//! What is published, and under which names.

use std::collections::BTreeMap;
use std::time::Duration;

use dialback::net::{Agent, AgentConfig, Handler, Listener, ListenerConfig, Pool, PoolConfig, publish};
use dialback::session::AgentSettings;
use dialback::wire::{Capabilities, EventKind, Registration, RequestHeaders};
use metrics_util::debugging::{DebugValue, DebuggingRecorder};

struct AllowAll;

impl Handler for AllowAll {}

fn settings(id: &str) -> AgentConfig {
    let capabilities = Capabilities::new(id, [EventKind::RequestHeaders]);
    AgentConfig::new(AgentSettings::new(Registration::new(capabilities)))
}

#[tokio::test]
async fn a_pool_is_published_under_stable_names() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("agents.sock");
    let mut config = ListenerConfig::default();
    config.policy.allowed = vec!["waf".into()];
    let listener = Listener::bind_unix(&path, config).await.unwrap();
    let refusals = listener.refusals();
    let pool = Pool::new(PoolConfig::default());
    let (_stranger, stranger) = Agent::new(settings("stranger"), AllowAll).run_unix(&path).spawn();
    let (_waf, waf) = Agent::new(settings("waf"), AllowAll).run_unix(&path).spawn();
    pool.add(listener.accept().await.unwrap());
    for n in 0..3 {
        let id = format!("r{n}");
        let request = pool.begin("waf", id.clone(), &[]).unwrap();
        request.ask(RequestHeaders::new(id, "GET", "/")).await.unwrap();
    }
    let refused = async {
        while refusals.total() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), refused).await.unwrap();

    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    metrics::with_local_recorder(&recorder, || publish(&pool, Some(&refusals)));
    let mut seen = BTreeMap::new();
    for (key, _, _, value) in snapshotter.snapshot().into_vec() {
        let labels: Vec<String> =
            key.key().labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        let number = match value {
            DebugValue::Counter(count) => count as f64,
            DebugValue::Gauge(value) => value.into_inner(),
            DebugValue::Histogram(_) => f64::NAN,
        };
        seen.insert(format!("{} {}", key.key().name(), labels.join(",")), number);
    }
    for (name, wanted) in [
        ("dialback_connections agent=waf", 1.0),
        ("dialback_in_flight agent=waf", 0.0),
        ("dialback_waiting agent=waf", 0.0),
        ("dialback_owed agent=waf", 0.0),
        ("dialback_exchanges_total agent=waf,end=answered", 3.0),
        ("dialback_exchanges_total agent=waf,end=lost", 0.0),
        ("dialback_events_written_total agent=waf", 3.0),
        ("dialback_dropped_frames_total agent=waf,cause=stray", 0.0),
        ("dialback_refusals_total cause=not_allowed", 1.0),
    ] {
        assert_eq!(seen.get(name), Some(&wanted), "{name}: {seen:#?}");
    }
    for name in
        ["dialback_bytes_total agent=waf,direction=sent", "dialback_answer_seconds agent=waf,quantile=0.99"]
    {
        assert!(seen.get(name).is_some_and(|value| *value > 0.0), "{name}: {seen:#?}");
    }
    stranger.abort();
    waf.abort();
}
