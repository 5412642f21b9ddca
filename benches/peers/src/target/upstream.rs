//! The published peer's proxy: its listener and its pool.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use zentinel_agent_protocol::v2::{
    AgentPool, AgentPoolConfig, ReverseConnectionConfig, ReverseConnectionListener,
};
use zentinel_agent_protocol::{Decision, RequestHeadersEvent};

use super::{PATIENCE, Place, Target};
use crate::answerer::AGENT_ID;
use crate::event;

/// A listener, accepting, and its pool.
pub struct Upstream {
    pool: Arc<AgentPool>,
    _accepting: JoinHandle<()>,
}

impl Target for Upstream {
    type Event = RequestHeadersEvent;

    async fn open(place: Place) -> Result<Self, String> {
        // Its own limits must not be what is measured.
        let config = ReverseConnectionConfig {
            max_connections_per_agent: place.connections,
            request_timeout: Duration::from_secs(30),
            ..ReverseConnectionConfig::default()
        };
        let pool = Arc::new(AgentPool::with_config(AgentPoolConfig {
            connections_per_agent: place.connections,
            max_concurrent_per_connection: 4_096,
            ..AgentPoolConfig::default()
        }));
        let listener = ReverseConnectionListener::bind_uds(&place.socket, config)
            .await
            .map_err(|error| error.to_string())?;
        let accepting = tokio::spawn({
            let pool = Arc::clone(&pool);
            async move { Arc::new(listener).accept_loop(pool).await }
        });
        let joined = async {
            while pool
                .agent_stats(AGENT_ID)
                .await
                .is_none_or(|agent| agent.active_connections < place.connections)
            {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, joined).await.map_err(|_| "the agent did not register")?;
        Ok(Self { pool, _accepting: accepting })
    }

    fn template() -> RequestHeadersEvent {
        event::upstream("")
    }

    fn rename(event: &mut RequestHeadersEvent, id: String) {
        event.metadata.correlation_id = id;
    }

    async fn ask(&self, _: usize, event: &RequestHeadersEvent) -> Result<(), String> {
        let id = &event.metadata.correlation_id;
        let answer = self.pool.send_request_headers(AGENT_ID, id, event).await;
        // As its documentation asks for when a request is over.
        self.pool.clear_correlation_affinity(id);
        match answer {
            Ok(answer) if answer.decision == Decision::Allow => Ok(()),
            Ok(answer) => Err(format!("answered {:?}", answer.decision)),
            Err(error) => Err(error.to_string()),
        }
    }
}
