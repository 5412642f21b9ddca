//! The peer's proxy: its listener for agents that dial in, and its pool.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use zentinel_agent_protocol::v2::{
    AgentPool, AgentPoolConfig, ReverseConnectionConfig, ReverseConnectionListener,
};

use crate::{Process, until};

/// How long the peer's proxy waits for an answer.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);

/// The peer's listener and pool, accepting.
pub struct PeerProxy {
    pub path: PathBuf,
    pub pool: Arc<AgentPool>,
    pub process: Process,
}

impl PeerProxy {
    /// Listens in `dir`, for any agent.
    pub async fn start(dir: &Path) -> Self {
        Self::with(dir, ReverseConnectionConfig::default()).await
    }

    /// Listens in `dir`.
    pub async fn with(dir: &Path, config: ReverseConnectionConfig) -> Self {
        let path = dir.join("proxy.sock");
        let config = ReverseConnectionConfig { request_timeout: REQUEST_TIMEOUT, ..config };
        let pool = Arc::new(AgentPool::with_config(AgentPoolConfig {
            request_timeout: REQUEST_TIMEOUT,
            ..AgentPoolConfig::default()
        }));
        let (bind, accept) = (path.clone(), Arc::clone(&pool));
        let process = Process::start(async move {
            let listener = ReverseConnectionListener::bind_uds(bind, config).await.unwrap();
            Arc::new(listener).accept_loop(accept).await;
        });
        until("the peer's proxy listens", || path.exists()).await;
        Self { path, pool, process }
    }

    /// Waits until an agent of this name is in the pool.
    pub async fn joined(&self, agent_id: &str) {
        until("the agent registers", || self.pool.agent_ids().iter().any(|id| id == agent_id)).await;
    }
}
