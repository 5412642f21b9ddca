//! This crate's agent.

use dialback::net::{Agent, AgentConfig, Context, Handler};
use dialback::session::AgentSettings;
use dialback::wire::{Answer, Capabilities, EventKind, Features, Registration, RequestHeaders};
use tokio::runtime::Runtime;
use tokio::time::{sleep, timeout};

use super::AGENT_ID;
use crate::target::{PATIENCE, Place};

struct Allow;

impl Handler for Allow {
    async fn on_request_headers(&self, _: RequestHeaders, _: Context) -> Answer {
        Answer::allow()
    }
}

/// Dials with an agent for each connection, and answers until the process is ended.
pub fn run(runtime: &Runtime, place: &Place) -> Result<(), String> {
    runtime.block_on(async {
        let listening = async {
            while !place.socket.exists() {
                sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, listening).await.map_err(|_| "no proxy listens")?;
        let mut runners = Vec::new();
        for _ in 0..place.connections {
            let features = Features {
                concurrent_requests: 0,
                cancellation: true,
                flow_control: true,
                exchange_ids: true,
                ..Features::default()
            };
            let capabilities =
                Capabilities { features, ..Capabilities::new(AGENT_ID, [EventKind::RequestHeaders]) };
            let config = AgentConfig::new(AgentSettings::new(Registration::new(capabilities)));
            runners.push(Agent::new(config, Allow).run_unix(&place.socket).spawn().1);
        }
        for runner in runners {
            runner.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        }
        Ok(())
    })
}
