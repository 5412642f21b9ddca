//! Tokens: whose they are, and where they must not be seen.

use dialback::machine::admission::Credential;
use dialback::net::{Agent, AgentConfig, Handler, ListenerConfig};
use dialback::session::AgentSettings;
use dialback::wire::{Capabilities, EventKind, Registration, Token};
use serde_json::{Value, json};

use crate::raw::*;
use crate::site::*;

const UNAUTHORIZED: &str = "registration refused: a valid auth_token for this agent is required";

/// `waf-*` may use two tokens, `auth` one; only `waf-*` may register.
fn guarded(config: &mut ListenerConfig) {
    let credential = |agents: &str, token: &str| Credential { agents: agents.into(), token: token.into() };
    config.policy.credentials = Some(vec![
        credential("waf-*", "s3cret-old"),
        credential("waf-*", "s3cret-new"),
        credential("auth", "s3cret-auth"),
    ]);
    config.policy.allowed = vec!["waf-*".into()];
}

fn with_token(id: &str, token: Value) -> Value {
    let mut registration = registration(id);
    registration["auth_token"] = token;
    registration
}

/// Upstream: a token is good for every agent id; the seed takes any token.
///
/// Here: a token is good for the agents it was given to. A missing, a wrong and another agent's
/// token are refused in the same words.
#[tokio::test]
async fn a_token_is_good_for_its_agents_only() {
    let site = Site::with(guarded).await;
    for token in ["s3cret-old", "s3cret-new"] {
        let (_, handle) = site.agent_as(&with_token("waf-1", json!(token))).await;
        assert!(!format!("{handle:?}").contains("s3cret"));
    }
    for token in [json!(null), json!(""), json!("s3cret"), json!("s3cret-old "), json!("s3cret-auth")] {
        let mut raw = site.dial().await;
        raw.send(REGISTRATION, with_token("waf-1", token).to_string()).await;
        assert_eq!(raw.refusal().await, UNAUTHORIZED);
    }
}

/// Upstream: who is not on the list is told so before the token is looked at, so anybody can find
/// out the names on it.
///
/// Here: without a token nobody learns who is on the list.
#[tokio::test]
// Rule: H-REG-3.
async fn the_list_is_told_to_nobody_without_a_token() {
    let site = Site::with(guarded).await;
    for id in ["waf-1", "auth", "stranger"] {
        let mut raw = site.dial().await;
        raw.send(REGISTRATION, with_token(id, json!("guessed")).to_string()).await;
        assert_eq!(raw.refusal().await, UNAUTHORIZED, "{id}");
    }
    let mut raw = site.dial().await;
    raw.send(REGISTRATION, with_token("auth", json!("s3cret-auth")).to_string()).await;
    assert_eq!(raw.refusal().await, "this agent is not on the proxy's list of allowed agents");
}

/// Upstream: Debug prints tokens, of the registration and of the configuration.
///
/// Here: nothing that can be printed holds one, and no refusal repeats what came in its place.
#[tokio::test]
async fn a_token_is_never_printed() {
    #[derive(Debug)]
    struct Idle;
    impl Handler for Idle {}

    let mut config = config();
    guarded(&mut config);
    let mut printed = format!("{config:?} {:?}", config.policy);
    let site = Site::with(guarded).await;
    let mut mine = Registration::new(Capabilities::new("waf-1", [EventKind::RequestHeaders]));
    mine.auth_token = Some(Token::from("s3cret-old"));
    printed += &format!("{mine:?}");
    let config = AgentConfig::new(AgentSettings::new(mine));
    printed += &format!("{config:?}");
    let agent = Agent::new(AgentConfig { ..config.clone() }, Idle);
    printed += &format!("{agent:?}");
    let runner = Agent::new(config, Idle).run_unix(site.path());
    printed += &format!("{runner:?}");
    let (controller, task) = runner.spawn();
    let handle = site.accept().await;
    let asked = ask(&handle, "1");
    printed +=
        &format!("{handle:?} {:?} {controller:?} {:?} {asked:?}", site.listener, handle.capabilities());
    assert!(soon(asked).await.unwrap().is_allow());
    assert!(printed.contains("waf-1"), "nothing was printed");
    assert!(!printed.contains("s3cret"), "{printed}");
    controller.shutdown();
    assert_eq!(soon(task).await.unwrap(), Ok(()));

    for wrong in [json!(123_456_789), json!({"s3cret": "s3cret"}), json!(["s3cret"])] {
        let mut raw = site.dial().await;
        raw.send(REGISTRATION, with_token("waf-1", wrong).to_string()).await;
        let reason = raw.refusal().await;
        assert!(!reason.contains("s3cret") && !reason.contains("123456789"), "{reason}");
    }
}
