//! Handlers made of closures, and the script that tries handlers.

use std::env;
use std::future::pending;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use dialback::net::{Acceptor, Context, Handler, Handlers, Listener, ListenerConfig, Script};
use dialback::wire::{
    Answer, Block, CancelReason, Configure, Decision, EventKind, GuardrailInspect, Redirect,
    RequestBodyChunk, RequestComplete, RequestHeaders, ResponseBodyChunk, ResponseHeaders, WebSocketFrame,
};

fn get(id: &str, uri: &str) -> RequestHeaders {
    RequestHeaders::new(id, "GET", uri)
}

/// Says of each event by a tag which closure it came to.
fn labels() -> Handlers {
    let tag = |tag| Answer::allow().with_tag(tag);
    Handlers::new()
        .decide(move |_: &RequestHeaders| tag("request headers"))
        .decide(move |_: &RequestBodyChunk| tag("request body"))
        .decide(move |_: &ResponseHeaders| tag("response headers"))
        .decide(move |_: &ResponseBodyChunk| tag("response body"))
        .decide(move |_: &RequestComplete| tag("complete"))
        .decide(move |_: &WebSocketFrame| tag("websocket"))
        .decide(move |_: &GuardrailInspect| tag("guardrail"))
        .decide(move |_: &Configure| tag("configure"))
}

#[tokio::test]
async fn each_event_comes_to_the_closure_of_its_kind() {
    assert!(labels().kinds().eq(EventKind::ALL));
    let tagged = |tag| Answer::allow().with_tag(tag);
    let answers = Script::new()
        .ask(get("1", "/"))
        .answered(tagged("request headers"))
        .ask(RequestBodyChunk::new("1", "a"))
        .answered(tagged("request body"))
        .ask(ResponseHeaders::new("1", 200))
        .answered(tagged("response headers"))
        .ask(ResponseBodyChunk { correlation_id: "1".into(), ..ResponseBodyChunk::default() })
        .answered(tagged("response body"))
        .ask(RequestComplete { correlation_id: "1".into(), ..RequestComplete::default() })
        .answered(tagged("complete"))
        .ask(WebSocketFrame { correlation_id: "1".into(), ..WebSocketFrame::default() })
        .answered(tagged("websocket"))
        .ask(GuardrailInspect { correlation_id: "1".into(), ..GuardrailInspect::default() })
        .answered(tagged("guardrail"))
        .ask(Configure { correlation_id: "1".into(), ..Configure::default() })
        .answered(tagged("configure"))
        .run(labels())
        .await
        .unwrap();
    assert_eq!(answers.len(), EventKind::ALL.len());
}

#[tokio::test]
async fn without_a_closure_an_event_is_allowed_and_the_last_closure_counts() {
    let handlers = Handlers::new()
        .decide(|_: &RequestHeaders| Block::new(400))
        .decide(|_: &RequestHeaders| Redirect::found("/login"));
    assert!(handlers.kinds().eq([EventKind::RequestHeaders]));
    assert_eq!(format!("{handlers:?}"), "Handlers { kinds: [RequestHeaders], .. }");
    let script = Script::new().ask(ResponseHeaders::new("1", 200)).answered(Answer::allow());
    script.ask(get("1", "/")).answered(Redirect::found("/login")).run(handlers).await.unwrap();
}

#[tokio::test]
async fn an_objection_blocks_and_none_allows() {
    let handlers =
        || Handlers::new().object(|event: &RequestHeaders| (event.uri == "/no").then(|| Block::new(451)));
    let script = || Script::new().ask(get("1", "/yes")).allowed().ask(get("2", "/no"));
    script().blocked(451).run(handlers()).await.unwrap();
    let error = script().allowed().run(handlers()).await.unwrap_err().to_string();
    assert!(error.starts_with("event 2, RequestHeaders of \"2\": expected an allow, got Answer"), "{error}");
    let error = script().blocked(403).run(handlers()).await.unwrap_err().to_string();
    assert!(error.contains("expected a block with status 403, got"), "{error}");
}

#[tokio::test]
async fn a_closure_that_panics_blocks() {
    let handlers = Handlers::new().on(|event: RequestHeaders, _: Context| async move {
        assert_ne!(event.uri, "/later", "on purpose");
        Answer::allow()
    });
    let at_once = |event: &RequestBodyChunk| -> Answer { panic!("on purpose, at {}", event.chunk_index) };
    let why = |answer: &Answer| answer.audit.reason_codes == ["handler_panicked"] && !answer.is_allow();
    Script::new()
        .ask(get("1", "/later"))
        .satisfies("a block for the panic", why)
        .ask(RequestBodyChunk::new("1", ""))
        .satisfies("a block for the panic", why)
        .ask(get("2", "/"))
        .allowed()
        .run(handlers.decide(at_once))
        .await
        .unwrap();
}

/// Answers when a second one has come; counts those that are given up.
#[derive(Default)]
struct Pairs {
    came: AtomicUsize,
    both: tokio::sync::Notify,
    given_up: Arc<AtomicUsize>,
}

impl Handler for Pairs {
    async fn on_request_headers(&self, _: RequestHeaders, cx: Context) -> Answer {
        if self.came.fetch_add(1, Ordering::SeqCst) % 2 == 1 {
            self.both.notify_one();
            return Answer::allow();
        }
        tokio::select! {
            () = self.both.notified() => Answer::allow().with_tag("met"),
            reason = cx.cancelled() => {
                assert_eq!(reason, CancelReason::ClientDisconnect);
                self.given_up.fetch_add(1, Ordering::SeqCst);
                Answer::allow()
            }
        }
    }
}

#[tokio::test]
async fn events_can_be_asked_about_at_the_same_time() {
    let script = Script::new().ask(get("1", "/")).answered(Answer::allow().with_tag("met")).meanwhile();
    script.ask(get("2", "/")).answered(Answer::allow()).run(Pairs::default()).await.unwrap();
}

#[tokio::test]
async fn a_handler_that_waits_in_vain_is_told_of() {
    let script = Script::new().timeout(Duration::from_millis(50)).ask(get("1", "/")).allowed();
    let error = script.run(Pairs::default()).await.unwrap_err().to_string();
    assert!(error.contains("expected an allow, got the agent did not answer in time"), "{error}");
}

#[tokio::test]
async fn a_handler_hears_that_it_was_given_up() {
    let handler = Pairs::default();
    let given_up = Arc::clone(&handler.given_up);
    let script = Script::new().ask(get("1", "/")).given_up(CancelReason::ClientDisconnect);
    assert!(script.run(handler).await.unwrap().is_empty());
    assert_eq!(given_up.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_does_not_heed_it_is_dropped() {
    let deaf = Handlers::new().on(|_: RequestHeaders, _| pending::<Answer>());
    let script = Script::new().ask(get("1", "/")).given_up(CancelReason::Timeout);
    script.run(deaf).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_comes_first_was_not_given_up() {
    let script = Script::new().ask(get("1", "/")).given_up(CancelReason::Timeout);
    let error = script.run(Handlers::new()).await.unwrap_err().to_string();
    assert!(error.starts_with("event 1, RequestHeaders of \"1\": expected to be given up, got"), "{error}");
}

#[tokio::test]
async fn hooks_are_called() {
    let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let (opened, closed) = (told.clone(), told);
    let handlers = Handlers::new()
        .opened(move |response| opened.send(format!("opened: {}", response.is_some())).unwrap())
        .closed(move |reason| closed.send(format!("closed: {reason}")).unwrap());
    Script::new().run(handlers).await.unwrap();
    assert_eq!(heard.recv().await.unwrap(), "opened: true");
    assert!(heard.recv().await.unwrap().starts_with("closed: drained"));

    let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let handlers = Handlers::new().refused(move |words| told.send(words.to_string()).unwrap());
    let mut config = ListenerConfig::default();
    config.policy.allowed = vec!["somebody-else".into()];
    let (near, far) = tokio::io::duplex(4_096);
    let mut agent = handlers.config("stranger");
    agent.retry_refusals = None;
    let acceptor = Acceptor::new(config).unwrap();
    let running = dialback::net::Agent::new(agent, handlers).serve_stream(far);
    let (accepted, ended) = tokio::join!(acceptor.accept(near), running);
    assert!(accepted.is_err() && ended.is_err());
    assert!(!heard.recv().await.unwrap().is_empty());
}

/// Builds the example with the flags of this test, and says where it is.
fn example(name: &str) -> PathBuf {
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "--example", name]).current_dir(env!("CARGO_MANIFEST_DIR"));
    let profile = env::current_exe().unwrap();
    let profile = profile.parent().and_then(|deps| deps.parent()).unwrap();
    if profile.ends_with("release") {
        build.arg("--release");
    }
    assert!(build.status().unwrap().success(), "the example does not build");
    profile.join("examples").join(name)
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn the_agent_in_ten_lines_is_one() {
    let source = include_str!("../examples/ten_lines.rs");
    let lines = source.lines().filter(|line| !line.is_empty() && !line.starts_with("//")).count();
    assert_eq!(lines, 10);

    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("agents.sock");
    let listener = Listener::bind_unix(&socket, ListenerConfig::default()).await.unwrap();
    let program = tokio::task::spawn_blocking(|| example("ten_lines")).await.unwrap();
    let _running = Running(Command::new(program).arg(&socket).spawn().unwrap());
    let agent = listener.accept().await.unwrap();
    assert_eq!(agent.agent_id(), "no-admin");
    assert!(agent.request_headers(get("1", "/index.html")).await.unwrap().is_allow());
    let blocked = agent.request_headers(get("2", "/admin/users")).await.unwrap();
    assert_eq!(blocked.decision, Decision::from(Block::new(403)));
}
