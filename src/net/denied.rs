//! Sending a connection away before it is heard, with a reason.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::machine::admission::RegistrationRefusal;
use crate::wire::{Encoding, FrameType, RegistrationResponse, encode_message};

use super::config::ListenerConfig;
use super::driver::Stream;

/// What a peer is told that comes while too many handshakes are under way.
pub(super) const BUSY: &str = "too many connections here have not registered yet; retry later";
/// What a peer is told that comes faster than the accept rate.
pub(super) const TOO_FAST: &str = "connections come faster than this proxy accepts them; retry later";
/// When it should, at the earliest.
const BUSY_RETRY: Duration = Duration::from_secs(1);

/// Why a connection does not even begin.
#[derive(Clone, Copy, Debug)]
pub(super) enum Denied {
    Busy,
    /// And when there would be room.
    TooFast(Duration),
    ShuttingDown,
}

impl Denied {
    /// A stable name for the cause, for counters.
    pub(super) const fn cause(self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::TooFast(_) => "too_fast",
            Self::ShuttingDown => "shutting_down",
        }
    }

    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::Busy => BUSY,
            Self::TooFast(_) => TOO_FAST,
            Self::ShuttingDown => "the proxy is shutting down; retry later",
        }
    }

    pub(super) fn retry_after(self) -> Duration {
        match self {
            Self::Busy => BUSY_RETRY,
            Self::TooFast(wait) => wait.max(BUSY_RETRY),
            Self::ShuttingDown => RegistrationRefusal::ShuttingDown.retry_after().unwrap_or(BUSY_RETRY),
        }
    }
}

/// A span as it goes onto the wire.
pub(super) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// Tells a peer why it is not even heard, and waits for it to go.
pub(super) async fn refuse<IO: Stream>(mut io: IO, config: &ListenerConfig, denied: Denied) {
    let response = RegistrationResponse {
        success: false,
        error: Some(denied.words().into()),
        proxy_id: config.proxy.proxy_id.clone(),
        proxy_version: config.proxy.proxy_version.clone(),
        connection_id: String::new(),
        retry_after_ms: Some(millis(denied.retry_after())),
        encoding: None,
    };
    let mut frame = Vec::new();
    let limit = config.proxy.max_opening_frame;
    if encode_message(FrameType::HandshakeResponse, Encoding::Json, &response, limit, &mut frame).is_err() {
        return;
    }
    let say = async {
        io.write_all(&frame).await?;
        io.shutdown().await?;
        let mut rest = [0; 1_024];
        while io.read(&mut rest).await? > 0 {}
        Ok::<_, io::Error>(())
    };
    // Whether it is heard is not ours to know.
    let _ = tokio::time::timeout(config.linger, say).await;
}
