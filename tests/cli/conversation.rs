//! Commands that speak to each other: over Unix sockets, TCP and TLS, killed and started again.

use std::collections::BTreeMap;
use std::path::Path;

use dialback::net::{Agent, AgentConfig, Context, Handler};
use dialback::session::AgentSettings;
use dialback::wire::{Answer, Capabilities, EventKind, Registration, RequestBodyChunk, RequestHeaders};
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio::runtime::Runtime;

use crate::tool::{Ended, Running, run, start, start_with_token};

const RULES: &str = r#"
[[rule]]
name = "samples"
methods = ["POST"]
path = "/sample*"
headers = { host = "shop.*" }
block = { status = 403, body = "no samples" }
"#;

/// A folder, and the names of files in it.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    fn write(&self, name: &str, text: &str) -> String {
        std::fs::write(self.path(name), text).unwrap();
        self.path(name)
    }
}

fn json_lines(ended: &Ended) -> Vec<Value> {
    ended.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The verdicts by type of event.
fn verdicts(ended: &Ended) -> BTreeMap<String, String> {
    let verdict = |line: Value| {
        let decision = &line["answer"]["decision"];
        let word = decision.as_str().map_or_else(|| decision.to_string(), String::from);
        (line["type"].as_str().unwrap().to_string(), word)
    };
    json_lines(ended).into_iter().map(verdict).collect()
}

#[test]
fn an_agent_answers_by_its_rules() {
    let place = Place::new();
    let (socket, rules) = (place.path("proxy.sock"), place.write("rules.toml", RULES));
    assert_eq!(run(&["agent", "--check", "--rules", &rules], b"").well().out, "1 rules\n");
    let mut listen = start(&["listen", &socket, "--sample", "--once", "--json"]);
    listen.says("listening for agents");
    let mut agent = start(&["agent", &socket, "--id", "waf-1", "--rules", &rules, "--echo"]);
    let line = listen.says("an agent is here");
    assert!(line.contains("waf-1") && line.contains("msgpack"), "{line}");
    let asked = listen.end().well();
    let verdicts = verdicts(&asked);
    assert_eq!(verdicts.len(), 8, "one of each kind: {verdicts:?}");
    assert!(verdicts["RequestHeaders"].contains("403"), "{verdicts:?}");
    assert!(verdicts.values().filter(|verdict| *verdict == "allow").count() == 7, "{verdicts:?}");
    assert_eq!(json_lines(&asked)[0]["answer"]["audit"]["rule_ids"][0], "samples");
    agent.says("connection closed");
    let echoed = agent.terminate().well();
    let kinds: Vec<Value> = json_lines(&echoed).into_iter().map(|line| line["type"].clone()).collect();
    assert_eq!(kinds.len(), 8, "{kinds:?}");

    // What was echoed is a recording that another agent can be asked about.
    let recording = place.write("recorded.jsonl", &echoed.out);
    let mut listen = start(&["listen", &socket, "--events", &recording, "--once"]);
    listen.says("listening for agents");
    let agent = start(&["agent", &socket, "--id", "lax"]);
    let asked = listen.end().well();
    assert_eq!(asked.out.lines().count(), 8, "{asked:?}");
    assert!(asked.out.contains("lax RequestHeaders sample-1: allow"), "{asked:?}");
    agent.terminate().well();
}

#[test]
fn every_agent_is_asked_once_and_stays() {
    let place = Place::new();
    let socket = place.path("proxy.sock");
    let mut listen = start(&["listen", &socket, "--sample", "--repeat", "2", "--interval", "1ms"]);
    listen.says("listening for agents");
    let (one, two) = (start(&["agent", &socket, "--id", "one"]), start(&["agent", &socket, "--id", "two"]));
    listen.says("an agent is here");
    listen.says("an agent is here");
    // Time for a third round, were there one.
    std::thread::sleep(std::time::Duration::from_millis(300));
    let (one, two) = (one.terminate().well(), two.terminate().well());
    let listen = listen.terminate().well();
    let answers = |id: &str| listen.out.lines().filter(|line| line.starts_with(id)).count();
    assert_eq!((answers("one "), answers("two ")), (16, 16), "{listen:?}");
    for agent in [one, two] {
        assert_eq!(agent.err.matches("connected to the proxy").count(), 1, "{agent:?}");
    }
}

#[test]
fn an_agent_without_the_right_token_is_refused_and_no_token_is_printed() {
    let place = Place::new();
    let socket = place.path("proxy.sock");
    let tokens = place.write("tokens", "# who may come\nr1ght-s3cret waf-*\n");
    let mut listen = start(&["listen", &socket, "--tokens", &tokens, "-v"]);
    listen.says("listening for agents");
    let refused = |agent: Running| agent.end().badly(1, "refused this agent: registration refused");
    let none = refused(start(&["agent", &socket, "--id", "waf-1", "--give-up", "-v"]));
    let wrong =
        refused(start_with_token(&["agent", &socket, "--id", "waf-1", "--give-up", "-v"], "wr0ng-s3cret"));
    let other =
        refused(start_with_token(&["agent", &socket, "--id", "auth", "--give-up", "-v"], "r1ght-s3cret"));
    let file = place.write("token", "r1ght-s3cret\nnot this\n");
    let mut agent = start(&["agent", &socket, "--id", "waf-1", "--token-file", &file, "-v"]);
    listen.says("an agent is here");
    agent.says("connected to the proxy");
    let (listen, agent) = (listen.terminate().well(), agent.terminate().well());
    assert!(listen.err.contains("unauthorized"), "refusals are counted: {}", listen.err);
    for ended in [none, wrong, other, listen, agent] {
        assert!(!ended.err.contains("s3cret") && !ended.out.contains("s3cret"), "{ended:?}");
    }
}

#[test]
fn an_agent_comes_back_to_a_proxy_that_was_killed() {
    let place = Place::new();
    let socket = place.path("proxy.sock");
    let agent = start(&["agent", &socket]);
    for _ in 0..2 {
        let mut listen = start(&["listen", &socket]);
        listen.says("an agent is here");
        listen.kill();
    }
    let mut listen = start(&["listen", &socket, "--sample", "--once"]);
    listen.says("an agent is here");
    listen.end().well();
    agent.terminate().well();
}

#[test]
fn who_answers_late_is_missed_and_a_missing_answer_is_a_failure() {
    let place = Place::new();
    let agent = Listening::start(&place.path("agent.sock"));
    let mut listen =
        start(&["listen", "127.0.0.1:0", "--events", &place.write("e", SLOW), "--once", "--timeout", "20ms"]);
    let address = listen.address();
    let bridge = start(&["bridge", &place.path("agent.sock"), &address]);
    let ended = listen.end().badly(1, "1 answers are missing");
    assert!(ended.out.contains("no answer: "), "{ended:?}");
    bridge.kill();
    drop(agent);
}

const SLOW: &str = r#"{"type":"RequestHeaders","payload":{"correlation_id":"c","metadata":{"correlation_id":"c"},"method":"GET","uri":"/slow","headers":{}}}"#;

/// An agent of today: it listens, and a proxy dials it.
struct Listening(Runtime);

struct Blocks;

impl Handler for Blocks {
    async fn on_request_headers(&self, event: RequestHeaders, _: Context) -> Answer {
        if event.uri == "/slow" {
            tokio::time::sleep(std::time::Duration::from_secs(3_600)).await;
        }
        Answer::block(403)
    }

    async fn on_request_body_chunk(&self, event: RequestBodyChunk, _: Context) -> Answer {
        Answer::allow().with_tag(event.data.len().to_string())
    }
}

impl Listening {
    fn start(path: &str) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = {
            let _in = runtime.enter();
            let _ = std::fs::remove_file(Path::new(path));
            UnixListener::bind(path).unwrap()
        };
        runtime.spawn(async move {
            while let Ok((io, _)) = listener.accept().await {
                let capabilities = Capabilities::new("bridged", EventKind::ALL);
                let config = AgentConfig::new(AgentSettings::new(Registration::new(capabilities)));
                tokio::spawn(Agent::new(config, Blocks).accept_forward(io));
            }
        });
        Self(runtime)
    }

    fn kill(self) {
        self.0.shutdown_timeout(std::time::Duration::from_secs(10));
    }
}

#[test]
fn an_agent_that_listens_joins_over_tcp_and_over_tls() {
    let place = Place::new();
    let socket = place.path("agent.sock");
    let agent = Listening::start(&socket);
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["localhost".to_string()]).unwrap();
    let (cert, key) =
        (place.write("cert.pem", &cert.pem()), place.write("key.pem", &signing_key.serialize_pem()));
    let tls = ["listen", "tls:127.0.0.1:0", "--cert", &cert, "--key", &key];
    for (listen, form, options) in [
        (&["listen", "127.0.0.1:0"][..], "tcp:", &[][..]),
        (&tls[..], "tls:", &["--ca", &cert, "--server-name", "localhost"][..]),
    ] {
        let mut listen = start(&[listen, &["--sample", "--once", "--json"]].concat());
        let proxy = format!("{form}{}", listen.address());
        let mut bridge = start(&[&["bridge", &socket, &proxy, "--id", "edge"][..], options].concat());
        let line = listen.says("an agent is here");
        assert!(line.contains("edge"), "{line}");
        bridge.says("registered with the proxy");
        let verdicts = verdicts(&listen.end().well());
        assert_eq!(verdicts.len(), 8, "{verdicts:?}");
        assert!(verdicts["RequestHeaders"].contains("403"), "{verdicts:?}");
        let ended = bridge.terminate().well();
        assert!(ended.err.contains("events=8 answers=8 blocked=0"), "{ended:?}");
    }
    agent.kill();
}

#[test]
fn a_bridge_comes_back_whichever_side_was_killed() {
    let place = Place::new();
    let (socket, proxy) = (place.path("agent.sock"), place.path("proxy.sock"));
    let mut bridge = start(&["bridge", &socket, &proxy]);
    bridge.says("can't reach the agent");
    let agent = Listening::start(&socket);
    bridge.says("can't reach the proxy");
    let mut listen = start(&["listen", &proxy]);
    listen.says("an agent is here");
    agent.kill();
    listen.says("connection closed");
    let agent = Listening::start(&socket);
    listen.says("an agent is here");
    listen.kill();
    let mut listen = start(&["listen", &proxy, "--sample", "--once"]);
    listen.says("an agent is here");
    assert!(listen.end().well().out.contains("bridged RequestHeaders sample-1: block 403"));
    bridge.terminate().well();
    agent.kill();
}

#[test]
fn what_is_in_flight_when_the_agent_dies_is_blocked_or_lost_and_never_allowed() {
    for (policy, words) in [("block", "block 503 (agent_lost)"), ("close", "no answer: ")] {
        let place = Place::new();
        let (socket, proxy) = (place.path("agent.sock"), place.path("proxy.sock"));
        let agent = Listening::start(&socket);
        let mut listen = start(&["listen", &proxy, "--events", &place.write("e", SLOW), "--once", "-vv"]);
        listen.says("listening for agents");
        let bridge = start(&["bridge", &socket, &proxy, "--on-agent-loss", policy]);
        listen.says("an agent is here");
        // Long enough for the event to be there, most likely; if it is not, it is as good as lost.
        std::thread::sleep(std::time::Duration::from_millis(300));
        agent.kill();
        let ended = listen.end();
        assert!(ended.out.contains(words), "{policy}: {ended:?}");
        bridge.terminate().well();
    }
}

#[test]
fn an_agent_may_listen_as_well_and_takes_the_place_of_one_that_died() {
    let place = Place::new();
    let (socket, rules) = (place.path("agent.sock"), place.write("rules.toml", RULES));
    let listening = ["agent", &socket, "--listen", "--rules", &rules];
    let mut first = start(&listening);
    first.says("listening for proxies");
    run(&listening, b"").badly(1, "can't listen on unix:");
    first.kill();
    let mut agent = start(&listening);
    agent.says("listening for proxies");
    let mut listen = start(&["listen", "127.0.0.1:0", "--sample", "--once"]);
    let bridge = start(&["bridge", &socket, &listen.address(), "--id", "edge"]);
    let asked = listen.end().well();
    assert!(asked.out.contains("edge RequestHeaders sample-1: block 403"), "{asked:?}");
    bridge.terminate().well();
    agent.terminate().well();
    let file = place.write("file", "");
    run(&["agent", &file, "--listen"], b"").badly(1, "can't listen on unix:");
    assert!(std::fs::exists(&file).unwrap(), "what is no socket is left as it is");
}

#[test]
fn load_is_measured_against_an_agent_that_dials_and_one_that_listens() {
    let place = Place::new();
    let (socket, proxy) = (place.path("agent.sock"), place.path("proxy.sock"));
    let mut bench = start(&["bench", "--listen", &proxy, "-n", "2000", "-c", "8"]);
    bench.says("listening for agents");
    let agent = start(&["agent", &proxy]);
    let figures = bench.end().well().out;
    assert!(figures.contains("answered 2000 RequestHeaders events") && figures.contains('#'), "{figures}");
    agent.terminate().well();

    let agent = Listening::start(&socket);
    let arguments = ["bench", "--dial", &socket, "--duration", "200ms", "--body", "5000", "--json"];
    let ended = run(&arguments, b"").well();
    let figures: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!((&figures["agent"], &figures["type"]), (&"bridged".into(), &"RequestBodyChunk".into()));
    assert!(figures["answers"].as_u64().unwrap() > 0 && figures["quantiles_us"]["99%"].is_u64(), "{figures}");
    let slow = Listening::start(&place.path("slow.sock"));
    agent.kill();
    run(&["bench", "--dial", &socket], b"").badly(1, "can't reach the agent");
    drop(slow);
}
