//! gRPC over a Unix socket: a unary call for each event.

use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep};
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

use super::{PATIENCE, Place, Target};
use crate::event;
use crate::grpc::agent_client::AgentClient;
use crate::grpc::{RequestHeaders, agent_response::Decision};

/// Channels to one server.
#[derive(Debug)]
pub struct Tonic {
    channels: Vec<AgentClient<Channel>>,
}

impl Target for Tonic {
    type Event = RequestHeaders;

    async fn open(place: Place) -> Result<Self, String> {
        let deadline = Instant::now() + PATIENCE;
        let mut channels = Vec::new();
        while channels.len() < place.connections {
            let socket = place.socket.clone();
            let connect = service_fn(move |_| {
                let socket = socket.clone();
                async move { UnixStream::connect(socket).await.map(TokioIo::new) }
            });
            // The name is never looked up.
            match Endpoint::from_static("http://agent").connect_with_connector(connect).await {
                Ok(channel) => channels.push(AgentClient::new(channel)),
                Err(error) if Instant::now() > deadline => return Err(error.to_string()),
                Err(_) => sleep(std::time::Duration::from_millis(10)).await,
            }
        }
        Ok(Self { channels })
    }

    fn template() -> RequestHeaders {
        event::protobuf("")
    }

    fn rename(event: &mut RequestHeaders, id: String) {
        event.metadata.get_or_insert_default().correlation_id = id;
    }

    async fn ask(&self, caller: usize, event: &RequestHeaders) -> Result<(), String> {
        let mut client = self.channels[caller % self.channels.len()].clone();
        match client.decide(event.clone()).await {
            Ok(answer) => match answer.into_inner().decision {
                Some(Decision::Allow(_)) => Ok(()),
                decision => Err(format!("answered {decision:?}")),
            },
            Err(status) => Err(status.to_string()),
        }
    }
}
