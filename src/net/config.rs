//! What can be set about accepting agents, and what of it makes sense.

use std::fmt;
use std::time::Duration;

use crate::machine::admission::{AdmissionPolicy, Rate};
use crate::session::ProxySettings;
use crate::wire::MAX_FRAME;

use super::hook::AdmissionHook;
use super::sync::Arc;

/// The smallest limit on frames that a registration fits in.
const LEAST_FRAME: u32 = 1 << 10;

/// How agents are accepted.
#[derive(Clone, Debug)]
pub struct ListenerConfig {
    /// How each connection behaves.
    pub proxy: ProxySettings,
    /// Who may register.
    pub policy: AdmissionPolicy,
    /// How long an [`Ask`] takes at most, unless it says otherwise. Default 30 s.
    ///
    /// [`Ask`]: super::Ask
    pub request_timeout: Duration,
    /// Connections that the system holds until they are accepted. Default 128.
    pub backlog: u32,
    /// Connections that have not registered yet, at once. One more is refused with a reason.
    /// Default 256.
    pub max_opening: usize,
    /// How fast connections may come. One that comes faster is refused with a reason and a time to
    /// retry, or, on a TLS socket, closed before its handshake. Default: as fast as they like.
    pub accept_rate: Option<Rate>,
    /// Decides on registrations that the policy admits. Default: they are admitted.
    pub hook: Option<Arc<dyn AdmissionHook>>,
    /// How long the hook may take, at most until the handshake's deadline. Default 5 s.
    pub hook_timeout: Duration,
    /// The mode of a Unix socket's file, for instance `0o660`. Default: what the umask leaves.
    pub unix_mode: Option<u32>,
    /// The group of a Unix socket's file, by number. The process must be a member of it, or
    /// privileged. Default: the group that the system gives.
    pub unix_group: Option<u32>,
    /// How long the last bytes of a connection that has ended may take. Default 1 s.
    pub linger: Duration,
    /// Registered agents that wait to be fetched by `accept`. One more is refused with a reason.
    /// Default 64.
    pub accept_queue: usize,
}

impl Default for ListenerConfig {
    fn default() -> Self {
        Self {
            proxy: ProxySettings::default(),
            policy: AdmissionPolicy::default(),
            request_timeout: Duration::from_secs(30),
            backlog: 128,
            max_opening: 256,
            accept_rate: None,
            hook: None,
            hook_timeout: Duration::from_secs(5),
            unix_mode: None,
            unix_group: None,
            linger: Duration::from_secs(1),
            accept_queue: 64,
        }
    }
}

impl ListenerConfig {
    /// Checks that the numbers make sense. Whatever takes a configuration calls this.
    ///
    /// # Errors
    /// The first that does not, and what would.
    pub fn validate(&self) -> Result<(), ConfigError> {
        validate_proxy(&self.proxy)?;
        at_least_one("policy.max_connections", self.policy.max_connections)?;
        at_least_one("policy.max_connections_per_agent", self.policy.max_connections_per_agent)?;
        at_least_one("backlog", self.backlog as usize)?;
        at_least_one("max_opening", self.max_opening)?;
        at_least_one("accept_queue", self.accept_queue)?;
        not_zero("request_timeout", self.request_timeout)?;
        not_zero("hook_timeout", self.hook_timeout)?;
        if let Some(rate) = self.accept_rate {
            at_least_one("accept_rate.per_second", rate.per_second as usize)?;
            at_least_one("accept_rate.burst", rate.burst as usize)?;
        }
        if let Some(mode) = self.unix_mode
            && mode > 0o777
        {
            return Err(ConfigError(format!(
                "unix_mode is {mode:#o}; give permission bits only, 0 to 0o777"
            )));
        }
        // To the system it means "leave the group as it is".
        if self.unix_group == Some(u32::MAX) {
            return Err(ConfigError(format!("unix_group is {}, which is no group", u32::MAX)));
        }
        Ok(())
    }
}

pub(super) fn validate_proxy(proxy: &ProxySettings) -> Result<(), ConfigError> {
    frame("max_frame", proxy.max_frame)?;
    frame("max_opening_frame", proxy.max_opening_frame)?;
    at_least_one("write_mark", proxy.write_mark)?;
    let limits = &proxy.limits;
    at_least_one("limits.window", limits.window as usize)?;
    at_least_one("limits.control.correlation_id", limits.control.correlation_id)?;
    not_zero("limits.handshake_timeout", limits.handshake_timeout)?;
    not_zero("limits.keepalive.timeout", limits.keepalive.timeout)?;
    not_zero("limits.keepalive.frame_timeout", limits.keepalive.frame_timeout)?;
    if let Some(interval) = limits.keepalive.interval {
        not_zero("limits.keepalive.interval", interval)?;
    }
    match proxy.encodings.iter().find(|encoding| !encoding.is_supported()) {
        Some(encoding) => Err(ConfigError(format!(
            "encodings names {encoding}, which was not compiled in; enable the feature `msgpack` or leave it out"
        ))),
        None => Ok(()),
    }
}

fn frame(name: &str, value: u32) -> Result<(), ConfigError> {
    if (LEAST_FRAME..=MAX_FRAME).contains(&value) {
        return Ok(());
    }
    Err(ConfigError(format!("{name} is {value}; give {LEAST_FRAME} to {MAX_FRAME} bytes")))
}

pub(super) fn at_least_one(name: &str, value: usize) -> Result<(), ConfigError> {
    if value == 0 { Err(ConfigError(format!("{name} is 0; give at least 1"))) } else { Ok(()) }
}

fn not_zero(name: &str, value: Duration) -> Result<(), ConfigError> {
    if value.is_zero() {
        return Err(ConfigError(format!("{name} is zero; give a time longer than that")));
    }
    Ok(())
}

/// A setting that makes no sense. Its text names the setting and what would.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError(String);

#[cfg(feature = "tls")]
impl ConfigError {
    pub(super) fn new(words: impl Into<String>) -> Self {
        Self(words.into())
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaint(change: impl FnOnce(&mut ListenerConfig)) -> String {
        let mut config = ListenerConfig::default();
        change(&mut config);
        config.validate().unwrap_err().to_string()
    }

    #[test]
    fn the_defaults_are_valid() {
        assert_eq!(ListenerConfig::default().validate(), Ok(()));
    }

    #[test]
    fn senseless_numbers_are_named() {
        assert!(complaint(|c| c.proxy.limits.window = 0).starts_with("limits.window is 0"));
        assert!(complaint(|c| c.backlog = 0).starts_with("backlog"));
        assert!(complaint(|c| c.max_opening = 0).starts_with("max_opening"));
        assert!(complaint(|c| c.accept_queue = 0).starts_with("accept_queue"));
        assert!(complaint(|c| c.proxy.max_frame = MAX_FRAME + 1).contains("16777216"));
        assert!(complaint(|c| c.proxy.max_frame = 1_023).contains("1024"));
        assert!(complaint(|c| c.request_timeout = Duration::ZERO).starts_with("request_timeout"));
        assert!(complaint(|c| c.hook_timeout = Duration::ZERO).starts_with("hook_timeout"));
        assert!(
            complaint(|c| c.accept_rate = Some(Rate { per_second: 0, burst: 1 })).contains("per_second is 0")
        );
        assert!(complaint(|c| c.accept_rate = Some(Rate { per_second: 1, burst: 0 })).contains("burst is 0"));
        assert!(complaint(|c| c.unix_group = Some(u32::MAX)).starts_with("unix_group"));
        assert!(complaint(|c| c.unix_mode = Some(0o1777)).contains("0o1777"));
        assert!(complaint(|c| c.policy.max_connections = 0).starts_with("policy.max_connections"));
    }
}
