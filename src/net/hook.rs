//! The application's word on a registration: who applies, and who decides.

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::time::Duration;

use serde_json::Value;

use crate::machine::admission::RegistrationRefusal;
use crate::wire::{Capabilities, Registration, Token};

use super::sync::{AbortHandle, Arc};
use super::worker::catch;

/// A future in a box.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Decides on registrations, after the policy has admitted them and their seat is reserved.
///
/// Every call runs in a task of its own, so a slow one delays its own agent only. One that panics,
/// or that takes longer than `hook_timeout`, refuses with [`RegistrationRefusal::Undecided`]. A
/// call whose connection ends meanwhile is dropped.
///
/// A function that decides at once is a hook too:
///
/// ```
/// use std::sync::Arc;
/// use dialback::machine::admission::RegistrationRefusal;
/// use dialback::net::{Applicant, ListenerConfig, Peer};
///
/// let mut config = ListenerConfig::default();
/// config.hook = Some(Arc::new(|applicant: &Applicant| match applicant.peer {
///     Peer::Unix { uid: 0, .. } => Ok(()),
///     _ => Err(RegistrationRefusal::Application("only root may".into())),
/// }));
/// ```
pub trait AdmissionHook: Send + Sync + 'static {
    /// Admits the applicant, or says why not. The reason is told to the agent.
    fn admit<'a>(&'a self, applicant: &'a Applicant) -> BoxFuture<'a, Result<(), RegistrationRefusal>>;
}

impl<F> AdmissionHook for F
where
    F: Fn(&Applicant) -> Result<(), RegistrationRefusal> + Send + Sync + 'static,
{
    fn admit<'a>(&'a self, applicant: &'a Applicant) -> BoxFuture<'a, Result<(), RegistrationRefusal>> {
        Box::pin(std::future::ready(self(applicant)))
    }
}

impl fmt::Debug for dyn AdmissionHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdmissionHook(..)")
    }
}

/// Who wants to register. All of it but the peer is what the agent says of itself.
#[derive(Clone, Debug)]
pub struct Applicant {
    /// What the agent calls itself: 1 to 128 plain characters.
    pub agent_id: String,
    /// Its secret, if it showed one. Never printed.
    pub token: Option<Token>,
    /// What it says of itself besides.
    pub metadata: Option<Value>,
    /// What it says it can do.
    pub capabilities: Capabilities,
    /// Where it comes from.
    pub peer: Peer,
}

impl Applicant {
    fn new(registration: &Registration, peer: Peer) -> Self {
        Self {
            agent_id: registration.agent_id.clone(),
            token: registration.auth_token.clone(),
            metadata: registration.metadata.clone(),
            capabilities: registration.capabilities.clone(),
            peer,
        }
    }
}

/// Where a connection comes from, as far as the system or TLS vouches for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Peer {
    /// A process on this machine, with what it was when it connected.
    Unix {
        /// Its user.
        uid: u32,
        /// Its group.
        gid: u32,
        /// Its process id, where the system tells it. It may be another's by now.
        pid: Option<i32>,
    },
    /// An address, which vouches for nobody.
    Tcp(SocketAddr),
    /// The other end of a TLS connection.
    #[cfg(feature = "tls")]
    Tls {
        /// Its address, which vouches for nobody.
        addr: Option<SocketAddr>,
        /// The DNS names of its certificate, wildcards included.
        names: Vec<String>,
        /// Its certificate in DER, which a trusted authority has signed; `None` if none was
        /// demanded. One that is there must be valid for the agent's id.
        certificate: Option<Vec<u8>>,
    },
    /// Nothing is known.
    #[default]
    Other,
}

/// A registration put to the hook.
pub(super) struct Question {
    hook: Arc<dyn AdmissionHook>,
    applicant: Applicant,
    limit: Duration,
}

impl Question {
    pub(super) fn new(
        hook: Arc<dyn AdmissionHook>,
        registration: &Registration,
        peer: Peer,
        limit: Duration,
    ) -> Self {
        Self { hook, applicant: Applicant::new(registration, peer), limit }
    }

    /// What the hook says, or what stands for it.
    pub(super) async fn answer(self) -> Result<(), RegistrationRefusal> {
        let Self { hook, applicant, limit } = self;
        let asked = pin!(async { hook.admit(&applicant).await });
        match tokio::time::timeout(limit, catch(asked)).await {
            Ok(Ok(verdict)) => verdict,
            Ok(Err(_)) => {
                tracing::error!("the admission hook panicked; refused");
                Err(RegistrationRefusal::Undecided)
            }
            Err(_) => {
                tracing::warn!(?limit, "the admission hook took too long; refused");
                Err(RegistrationRefusal::Undecided)
            }
        }
    }
}

/// A task that ends with its owner.
pub(super) struct Task(pub(super) AbortHandle);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}
