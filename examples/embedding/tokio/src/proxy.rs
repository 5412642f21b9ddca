//! The proxy's end of the conversation, with the adapter's handles.

use std::error::Error;
use std::fmt::Debug;
use std::path::Path;
use std::time::Duration;

use conversation::{Script, words};
use dialback::machine::{CloseReason, Shut, SubmitError};
use dialback::net::{AgentHandle, AskError, Listener, ListenerConfig, PendingAnswer};
use dialback::wire::{Answer, CancelReason, RequestBodyChunk, RequestHeaders};

/// Waits for the agents of a child process, and holds the conversation with each.
pub async fn serve(child: &Path) -> Result<(), Box<dyn Error>> {
    let config = ListenerConfig { request_timeout: words::PATIENCE, ..ListenerConfig::default() };
    let listener = Listener::bind_tcp("127.0.0.1:0".parse()?, config).await?;
    let address = listener.local_addr().ok_or("the listener has no address")?;
    let runtime = tokio::runtime::Handle::current();
    let child = child.to_owned();
    let conversations = move || {
        conversation::children(&child, address, |scripts| runtime.block_on(converse(&listener, scripts)))
    };
    Ok(tokio::task::spawn_blocking(conversations).await??)
}

async fn converse(listener: &Listener, scripts: &[Script]) -> Result<(), String> {
    let mut running = Vec::new();
    for &script in scripts {
        let agent = listener.accept().await.map_err(|error| error.to_string())?;
        running.push(tokio::spawn(async move {
            let outcome = hold_conversation(&agent, script).await;
            println!("  {script:?}: {}", outcome.as_deref().unwrap_or("failed"));
            outcome
        }));
    }
    for conversation in running {
        conversation.await.map_err(|error| error.to_string())??;
    }
    Ok(())
}

/// Says how the connection ended.
async fn hold_conversation(agent: &AgentHandle, script: Script) -> Result<String, String> {
    demand(agent.agent_id() == words::AGENT, "the agent's id", agent.agent_id())?;
    meet(agent).await?;
    let reason = match script {
        Script::Dies => {
            upload(agent).await?;
            pause(agent).await?;
            time_out(agent).await?;
            die(agent).await?
        }
        Script::Drained => drain(agent).await?,
        Script::Leaves => {
            allowed("the farewell", ask(agent, words::LEAVE).await)?;
            let reason = agent.closed().await;
            demand(reason == CloseReason::PeerDrained, "an agent that leaves", &reason)?;
            reason
        }
    };
    Ok(reason.to_string())
}

/// Several are in flight at the same time, or none of them would be answered.
async fn meet(agent: &AgentHandle) -> Result<(), String> {
    let meeting: Vec<_> = (0..words::MEETING).map(|_| ask(agent, words::MEET)).collect();
    let blocked = ask(agent, words::BLOCK).await;
    let decision = blocked.as_ref().map(|answer| &answer.decision);
    demand(decision == Ok(&Answer::block(403).decision), "a block", &blocked)?;
    for pending in meeting {
        allowed("a meeting", pending.await)?;
    }
    Ok(())
}

async fn upload(agent: &AgentHandle) -> Result<(), String> {
    let headers = agent.request_headers(RequestHeaders::new("upload", "POST", "/upload"));
    let headers = headers.send().map_err(|error| error.to_string())?;
    let mut pieces = Vec::new();
    for (index, letter) in (0..words::CHUNKS).zip(b'a'..) {
        let mut chunk = RequestBodyChunk::new("upload", vec![letter; words::CHUNK]);
        chunk.chunk_index = index;
        pieces.push((letter, agent.request_body_chunk(chunk).send().map_err(|error| error.to_string())?));
    }
    allowed("the upload's headers", headers.await)?;
    for (letter, pending) in pieces {
        let answer = pending.await.map_err(|error| error.to_string())?;
        let data = answer.request_body_mutation.and_then(|mutation| mutation.data);
        let capitals = vec![letter.to_ascii_uppercase(); words::CHUNK];
        demand(data.as_deref() == Some(&capitals[..]), "a piece of the body", data)?;
    }
    Ok(())
}

async fn pause(agent: &AgentHandle) -> Result<(), String> {
    let mut held: Vec<_> = (0..words::HIGH_MARK).map(|_| ask(agent, words::HOLD)).collect();
    until(|| agent.is_paused()).await;
    let waiting: Vec<_> = (0..4).map(|_| ask(agent, "/after-the-pause")).collect();
    demand(agent.stats().waiting == 4, "events that wait in a pause", agent.stats())?;
    let refused = agent.request_headers(RequestHeaders::new("refused", "GET", "/")).fail_fast().await;
    let wanted = Err(AskError::Refused(SubmitError::WouldWait(Shut::Paused)));
    demand(refused == wanted, "a question in a pause", &refused)?;
    held.remove(0).cancel(CancelReason::ClientDisconnect);
    for pending in held.into_iter().chain(waiting) {
        allowed("after the pause", pending.await)?;
    }
    Ok(())
}

async fn time_out(agent: &AgentHandle) -> Result<(), String> {
    let request = RequestHeaders::new("late", "GET", words::HOLD);
    let late = agent.request_headers(request).timeout(words::IMPATIENCE).await;
    demand(late == Err(AskError::TimedOut), "an event that takes too long", &late)?;
    until(|| agent.in_flight() == 0).await;
    Ok(())
}

async fn die(agent: &AgentHandle) -> Result<CloseReason, String> {
    let uris = [words::HOLD, words::HOLD, words::HOLD, words::DIE];
    let pending: Vec<_> = uris.map(|uri| ask(agent, uri)).into();
    for pending in pending {
        let lost = pending.await;
        let told = matches!(lost, Err(AskError::ConnectionLost { written: true, .. }));
        demand(told, "an event that the agent died with", &lost)?;
    }
    Ok(agent.closed().await)
}

async fn drain(agent: &AgentHandle) -> Result<CloseReason, String> {
    let mut held: Vec<_> = (0..3).map(|_| ask(agent, words::HOLD)).collect();
    until(|| agent.in_flight() == 3).await;
    let drained = tokio::spawn({
        let agent = agent.clone();
        async move { agent.drain(words::PATIENCE).await }
    });
    until(|| agent.state() == dialback::machine::ConnectionState::Draining).await;
    let refused = agent.request_headers(RequestHeaders::new("refused", "GET", "/")).await;
    demand(refused == Err(AskError::Refused(SubmitError::Draining)), "a question in a drain", &refused)?;
    held.remove(0).cancel(CancelReason::ClientDisconnect);
    for pending in held {
        allowed("in a drain", pending.await)?;
    }
    let reason = drained.await.map_err(|error| error.to_string())?;
    demand(reason == CloseReason::Drained, "a drain", &reason)?;
    Ok(reason)
}

/// Asks under an id that no other question has.
fn ask(agent: &AgentHandle, uri: &str) -> PendingAnswer {
    use std::sync::atomic::{AtomicU32, Ordering};
    static REQUESTS: AtomicU32 = AtomicU32::new(0);
    let id = format!("request-{}", REQUESTS.fetch_add(1, Ordering::Relaxed));
    agent.request_headers(RequestHeaders::new(id, "GET", uri)).send().expect("the event is taken")
}

async fn until(mut condition: impl FnMut() -> bool) {
    while !condition() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn allowed(what: &str, answer: Result<Answer, AskError>) -> Result<(), String> {
    demand(answer.as_ref().is_ok_and(Answer::is_allow), what, &answer)
}

fn demand(fulfilled: bool, what: &str, found: impl Debug) -> Result<(), String> {
    if fulfilled { Ok(()) } else { Err(format!("{what}: {found:?}")) }
}
