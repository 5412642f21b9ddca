//! How a proxy's sessions behave.

use alloc::string::String;
use alloc::vec::Vec;

use crate::machine::ProxyLimits;
use crate::session::WRITE_MARK;
use crate::wire::{Encoding, MAX_FRAME, MAX_FRAME_BEFORE_REGISTRATION};

/// How a proxy's sessions behave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxySettings {
    /// The machine's limits.
    pub limits: ProxyLimits,
    /// Longest frame in either direction, type byte included. Default and at most 16 MiB.
    pub max_frame: u32,
    /// Longest frame before registration. Default 64 KiB.
    pub max_opening_frame: u32,
    /// Bytes waiting for the socket at which no more events are written. Default 256 KiB.
    pub write_mark: usize,
    /// Encodings this proxy takes, the best first. JSON is always understood. Default: JSON only.
    pub encodings: Vec<Encoding>,
    /// Whether to use exchange ids with agents that echo them. Default yes.
    pub exchange_ids: bool,
    /// What the proxy calls itself.
    pub proxy_id: String,
    /// The proxy's version, as agents are told.
    pub proxy_version: String,
}

impl Default for ProxySettings {
    fn default() -> Self {
        Self {
            limits: ProxyLimits::default(),
            max_frame: MAX_FRAME,
            max_opening_frame: MAX_FRAME_BEFORE_REGISTRATION,
            write_mark: WRITE_MARK,
            encodings: Vec::from([Encoding::Json]),
            exchange_ids: true,
            proxy_id: "dialback-proxy".into(),
            proxy_version: env!("CARGO_PKG_VERSION").into(),
        }
    }
}
