//! The agent's end of the conversation, as a handler.

use std::error::Error;
use std::process;
use std::sync::Arc;

use conversation::{Agent as Embedded, words};
use dialback::machine::CloseReason;
use dialback::net::{Agent, AgentConfig, AgentController, AgentError, Context, Handler};
use dialback::wire::{Answer, RequestBodyChunk, RequestHeaders};
use tokio::net::TcpStream;
use tokio::sync::{Barrier, Semaphore, SetOnce};

struct Rules {
    meeting: Barrier,
    /// A permit for each that is held and has been let go.
    released: Semaphore,
    controller: Arc<SetOnce<AgentController>>,
}

impl Rules {
    async fn hold(&self, cx: &Context) {
        tokio::select! {
            Ok(permit) = self.released.acquire() => permit.forget(),
            _ = cx.cancelled() => {
                // All that is unanswered is held, this one among it.
                let unanswered = self.controller.wait().await.unanswered();
                self.released.add_permits(unanswered.saturating_sub(1));
            }
        }
    }
}

impl Handler for Rules {
    async fn on_request_headers(&self, event: RequestHeaders, cx: Context) -> Answer {
        match event.uri.as_str() {
            words::MEET => {
                self.meeting.wait().await;
            }
            words::BLOCK => return Answer::block(403),
            words::HOLD => self.hold(&cx).await,
            words::DIE => process::exit(words::DEATH),
            words::LEAVE => self.controller.wait().await.shutdown(),
            _ => {}
        }
        Answer::allow()
    }

    async fn on_request_body_chunk(&self, event: RequestBodyChunk, _: Context) -> Answer {
        Embedded::capitals(&event)
    }
}

/// Keeps `count` connections until they end.
pub async fn dial(address: &str, count: &str) -> Result<(), Box<dyn Error>> {
    let mut running = Vec::new();
    for _ in 0..count.parse::<usize>()? {
        let controller = Arc::new(SetOnce::new());
        let rules = Rules {
            meeting: Barrier::new(words::MEETING),
            released: Semaphore::new(0),
            controller: Arc::clone(&controller),
        };
        let agent = Agent::new(AgentConfig::new(Embedded::settings()), rules);
        let runner = agent.serve_stream(TcpStream::connect(address).await?);
        drop(controller.set(runner.controller()));
        running.push(tokio::spawn(runner));
    }
    for agent in running {
        match agent.await? {
            Ok(()) | Err(AgentError::Lost(CloseReason::PeerClosed)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
