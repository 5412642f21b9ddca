//! A gRPC server that allows everything.

use tokio::net::UnixListener;
use tokio::runtime::Runtime;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

use crate::grpc::agent_response::Decision;
use crate::grpc::agent_server::{Agent, AgentServer};
use crate::grpc::{AgentResponse, Allow, Audit, RequestHeaders};
use crate::target::Place;

struct Always;

#[tonic::async_trait]
impl Agent for Always {
    async fn decide(&self, request: Request<RequestHeaders>) -> Result<Response<AgentResponse>, Status> {
        let id = request.into_inner().metadata.unwrap_or_default().correlation_id;
        let audit = Audit { custom: [("correlation_id".into(), id)].into(), ..Audit::default() };
        Ok(Response::new(AgentResponse {
            version: 2,
            decision: Some(Decision::Allow(Allow {})),
            audit: Some(audit),
            ..AgentResponse::default()
        }))
    }
}

/// Listens and answers until the process is ended.
pub fn run(runtime: &Runtime, place: &Place) -> Result<(), String> {
    runtime.block_on(async {
        let listener = UnixListener::bind(&place.socket).map_err(|error| error.to_string())?;
        Server::builder()
            // Hyper's default would cap what is in flight.
            .max_concurrent_streams(8_192)
            .add_service(AgentServer::new(Always))
            .serve_with_incoming(UnixListenerStream::new(listener))
            .await
            .map_err(|error| error.to_string())
    })
}
