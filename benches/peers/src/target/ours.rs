//! This crate's proxy: its listener and its handles.

use std::time::Duration;

use dialback::net::{AgentHandle, Listener, ListenerConfig};
use dialback::wire::RequestHeaders;
use tokio::time::timeout;

use super::{PATIENCE, Place, Target};
use crate::event;

/// A listener and the agents that registered with it.
#[derive(Debug)]
pub struct Ours {
    handles: Vec<AgentHandle>,
    _listener: Listener,
}

impl Target for Ours {
    type Event = RequestHeaders;

    async fn open(place: Place) -> Result<Self, String> {
        let mut config =
            ListenerConfig { request_timeout: Duration::from_secs(30), ..ListenerConfig::default() };
        config.policy.max_connections_per_agent = place.connections;
        let listener = Listener::bind_unix(&place.socket, config).await.map_err(|error| error.to_string())?;
        let mut handles = Vec::new();
        for _ in 0..place.connections {
            let agent = timeout(PATIENCE, listener.accept()).await.map_err(|_| "no agent came")?;
            handles.push(agent.map_err(|error| error.to_string())?);
        }
        Ok(Self { handles, _listener: listener })
    }

    fn template() -> RequestHeaders {
        event::ours("")
    }

    fn rename(event: &mut RequestHeaders, id: String) {
        event.metadata.correlation_id = id.into();
    }

    async fn ask(&self, caller: usize, event: &RequestHeaders) -> Result<(), String> {
        let handle = &self.handles[caller % self.handles.len()];
        match handle.request_headers(event).await {
            Ok(answer) if answer.is_allow() => Ok(()),
            Ok(answer) => Err(format!("answered {:?}", answer.decision)),
            Err(error) => Err(error.to_string()),
        }
    }
}
