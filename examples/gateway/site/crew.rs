//! The agents that this process starts, and how they go.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use dialback::net::{Agent, AgentController, AgentError, AgentRunner};
use tokio::task::JoinHandle;

use super::Error;
use super::handlers::{EDITOR, Editor, GUARD, Guard, config};

/// One agent. It shares nothing with the proxy but the socket.
struct Member {
    id: &'static str,
    control: AgentController,
    task: JoinHandle<Result<(), AgentError>>,
}

/// The agents that were started and have not gone.
pub struct Crew {
    socket: PathBuf,
    members: Mutex<Vec<Member>>,
}

impl Crew {
    /// Nobody yet.
    pub fn new(socket: PathBuf) -> Self {
        Self { socket, members: Mutex::default() }
    }

    /// Starts one more agent, which dials in.
    pub fn come(&self, id: &str) -> Result<(), Error> {
        let (id, runner) = self.runner(id)?;
        let (control, task) = runner.spawn();
        self.members().push(Member { id, control, task });
        Ok(())
    }

    /// The oldest of that id goes as it should: it answers what it has, and closes.
    pub fn go(&self, id: &str) -> Result<(), Error> {
        self.take(id)?.control.shutdown();
        Ok(())
    }

    /// The oldest of that id dies where it stands.
    pub fn kill(&self, id: &str) -> Result<(), Error> {
        self.take(id)?.task.abort();
        Ok(())
    }

    /// Somebody knocks who is on no list, and is turned away.
    pub fn knock(&self) {
        let mut config = config("stranger");
        config.retry_refusals = None;
        drop(Agent::new(config, Guard).run_unix(&self.socket).spawn());
    }

    fn runner(&self, id: &str) -> Result<(&'static str, AgentRunner), Error> {
        match id {
            GUARD => Ok((GUARD, Agent::new(config(GUARD), Guard).run_unix(&self.socket))),
            EDITOR => Ok((EDITOR, Agent::new(config(EDITOR), Editor::default()).run_unix(&self.socket))),
            _ => Err(format!("there is no agent {id:?}; there are {GUARD} and {EDITOR}").into()),
        }
    }

    fn take(&self, id: &str) -> Result<Member, Error> {
        let mut members = self.members();
        let found = members.iter().position(|member| member.id == id);
        found.map(|at| members.remove(at)).ok_or_else(|| format!("no {id:?} is here").into())
    }

    fn members(&self) -> MutexGuard<'_, Vec<Member>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
