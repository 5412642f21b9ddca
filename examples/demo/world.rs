//! The proxy, its socket, and who is connected to it.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dialback::net::{
    Agent, AgentConfig, AgentController, AgentError, AgentHandle, Handler, Listener, ListenerConfig,
};
use dialback::wire::Encoding;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::agents::{self, Editor, Guard, Slow};
use crate::report::Report;

/// Nothing that is waited for here takes longer.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// A directory that goes with the demo.
pub struct Scratch(PathBuf);

impl Scratch {
    fn create() -> std::io::Result<Self> {
        let path = std::env::temp_dir().join(format!("dialback-demo-{}", std::process::id()));
        std::fs::create_dir(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What can't be removed is the system's to tidy up.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// An agent and the proxy's handle to it. The two share nothing but the socket.
pub struct Member {
    pub handle: AgentHandle,
    pub controller: AgentController,
    pub task: JoinHandle<Result<(), AgentError>>,
}

/// Everybody.
pub struct World {
    pub listener: Listener,
    pub guard: Member,
    pub editor: Member,
    pub slow: Member,
    /// The slow agent's handler, which outlives its connections.
    pub slow_handler: Slow,
    pub path: PathBuf,
    /// Dropped last.
    _scratch: Scratch,
}

impl World {
    /// Binds the listener and lets the three agents dial it.
    pub async fn open(report: &mut Report) -> Result<Self, Box<dyn Error>> {
        let scratch = Scratch::create()?;
        let path = scratch.0.join("agents.sock");
        println!("dialback: a proxy and three agents over {}", path.display());
        report.step(
            "Registration",
            "The proxy listens and never dials. The agents come, and say who they are.",
        );
        let mut config = ListenerConfig { unix_mode: Some(0o600), ..ListenerConfig::default() };
        config.proxy.encodings = vec![Encoding::MessagePack, Encoding::Json];
        let listener = Listener::bind_unix(&path, config).await?;

        let slow_handler = Slow::default();
        let guard = join(&listener, &path, agents::guard(), Guard).await?;
        let editor = join(&listener, &path, agents::editor(), Editor).await?;
        let slow = join(&listener, &path, agents::slow(), slow_handler.clone()).await?;
        let lines = [
            (&guard, "blocks bad requests"),
            (&editor, "rewrites headers and bodies"),
            (&slow, "takes 20 ms to think"),
        ];
        for (member, what) in lines {
            let handle = &member.handle;
            let echoes = if handle.capabilities().features.exchange_ids { ", exchange ids" } else { "" };
            let id = handle.agent_id();
            report.say(format_args!("{id:<7} {what:<28} {}{echoes}", handle.encoding()));
        }
        report.claim_count(listener.connections(), 3, "agents are registered");
        let world = Self { listener, guard, editor, slow, slow_handler, path, _scratch: scratch };
        let settled = (world.guard.handle.encoding(), world.editor.handle.encoding())
            == (Encoding::Json, Encoding::MessagePack);
        report.claim(settled, "the registration settled each one's encoding");
        Ok(world)
    }

    /// Starts the slow agent again, after its end.
    pub async fn restart_slow(&mut self) -> Result<(), Box<dyn Error>> {
        self.slow = join(&self.listener, &self.path, agents::slow(), self.slow_handler.clone()).await?;
        Ok(())
    }
}

/// Runs an agent and waits until it has registered.
async fn join<H: Handler>(
    listener: &Listener,
    path: &Path,
    config: AgentConfig,
    handler: H,
) -> Result<Member, Box<dyn Error>> {
    let (controller, task) = Agent::new(config, handler).run_unix(path).spawn();
    let handle = timeout(PATIENCE, listener.accept()).await??;
    Ok(Member { handle, controller, task })
}

/// Waits until `condition` holds. Whether it did in time.
pub async fn until(mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        if Instant::now() > end {
            return false;
        }
        sleep(Duration::from_millis(1)).await;
    }
    true
}
