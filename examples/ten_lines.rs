//! A whole agent: refuses what nobody outside is to see. Dials the socket that it is given, again
//! and again, until the proxy refuses it for good.
//!
//! `cargo run --example ten_lines -- /run/proxy/agents.sock`

use dialback::net::{AgentError, Handlers};
use dialback::wire::{Block, RequestHeaders};

#[tokio::main]
async fn main() -> Result<(), AgentError> {
    Handlers::new()
        .object(|request: &RequestHeaders| request.uri.starts_with("/admin").then(|| Block::new(403)))
        .agent("no-admin")
        .run_unix(std::env::args().nth(1).unwrap_or("/run/proxy/agents.sock".into()))
        .await
}
