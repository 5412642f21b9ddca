//! TLS for listeners and agents. Feature `tls`.
//!
//! A listener shows its certificate, and an agent checks that it is valid for the name that it
//! dialled. A listener that is given [`TlsListenerConfig::client_roots`] demands a certificate of
//! the agent too, and holds the agent to it: the certificate must be valid for a DNS name that
//! equals the id under which the agent registers. Such an id is a DNS name in lower case without
//! a dot at the end, so that no two ids share a name. A wildcard in a certificate stands for one
//! label, as always.
//!
//! Only TLS 1.3 is spoken, so that certificates are never sent in the clear. Sessions are not
//! resumed: every connection shows its certificates anew. Lists of revoked certificates are not
//! looked at; let certificates be short-lived. One that expires ends no connection.
//!
//! ```no_run
//! use dialback::net::tls::{Roots, TlsAgentConfig, TlsIdentity, TlsListenerConfig};
//! use dialback::net::{Agent, AgentConfig, Handler, Listener, ListenerConfig};
//!
//! async fn proxy() -> Result<Listener, Box<dyn std::error::Error>> {
//!     let tls = TlsListenerConfig {
//!         identity: TlsIdentity::from_pem_files("proxy.pem", "proxy.key")?,
//!         client_roots: Some(Roots::from_pem_file("agents-ca.pem")?),
//!     };
//!     Ok(Listener::bind_tls("0.0.0.0:9443".parse()?, &tls, ListenerConfig::default()).await?)
//! }
//!
//! async fn agent(config: AgentConfig, handler: impl Handler) -> Result<(), Box<dyn std::error::Error>> {
//!     let tls = TlsAgentConfig {
//!         roots: Roots::from_pem_file("proxy-ca.pem")?,
//!         identity: Some(TlsIdentity::from_pem_files("waf-1.pem", "waf-1.key")?),
//!     };
//!     let addr = "192.0.2.1:9443".parse()?;
//!     Ok(Agent::new(config, handler).run_tls(addr, "proxy.example", &tls)?.await?)
//! }
//! ```

use std::fmt;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;

use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, DnsName, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use tokio_rustls::rustls::version::TLS13;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

use crate::machine::admission::RegistrationRefusal;

use super::accept::Acceptor;
use super::config::ConfigError;
use super::hook::Peer;
use super::listener::Accept;
use super::proxy::Delivery;
use super::sockets;
use super::sync::Arc;

/// How a listener speaks TLS.
#[derive(Clone, Debug)]
pub struct TlsListenerConfig {
    /// What the listener shows.
    pub identity: TlsIdentity,
    /// Whose certificates an agent must show. `None`: agents show none.
    pub client_roots: Option<Roots>,
}

/// How an agent speaks TLS.
#[derive(Clone, Debug)]
pub struct TlsAgentConfig {
    /// Whose certificates the proxy must show.
    pub roots: Roots,
    /// What the agent shows, if it is asked to.
    pub identity: Option<TlsIdentity>,
}

/// Authorities whose certificates are trusted.
#[derive(Clone)]
pub struct Roots(Arc<RootCertStore>);

impl Roots {
    /// Reads certificates, one or more, from PEM.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn from_pem(pem: &[u8]) -> Result<Self, ConfigError> {
        let mut store = RootCertStore::empty();
        for certificate in certificates("the trusted certificates", pem)? {
            store
                .add(certificate)
                .map_err(|error| ConfigError::new(format!("a trusted certificate can't be used: {error}")))?;
        }
        Ok(Self(Arc::new(store)))
    }

    /// As [`Roots::from_pem`], from a file.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn from_pem_file(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        Self::from_pem(&read(path.as_ref())?)
    }
}

impl fmt::Debug for Roots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Roots").field("certificates", &self.0.len()).finish()
    }
}

/// A certificate with its chain, and the private key to it, which is never printed.
#[derive(Clone)]
pub struct TlsIdentity {
    chain: Vec<CertificateDer<'static>>,
    key: Arc<PrivateKeyDer<'static>>,
}

impl TlsIdentity {
    /// Reads a chain, the own certificate first, and a key (PKCS#8, PKCS#1 or SEC1) from PEM.
    ///
    /// # Errors
    /// What is wrong with them. Whether they belong together is seen when they are used.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, ConfigError> {
        let chain = certificates("the certificate chain", chain)?;
        // The reader's own words may repeat what it read.
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| {
            ConfigError::new("the private key can't be read; give one in PEM that is not encrypted")
        })?;
        Ok(Self { chain, key: Arc::new(key) })
    }

    /// As [`TlsIdentity::from_pem`], from files.
    ///
    /// # Errors
    /// What is wrong with the files.
    pub fn from_pem_files(chain: impl AsRef<Path>, key: impl AsRef<Path>) -> Result<Self, ConfigError> {
        Self::from_pem(&read(chain.as_ref())?, &read(key.as_ref())?)
    }
}

impl fmt::Debug for TlsIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsIdentity").field("certificates", &self.chain.len()).finish_non_exhaustive()
    }
}

fn read(path: &Path) -> Result<Vec<u8>, ConfigError> {
    fs::read(path).map_err(|error| ConfigError::new(format!("can't read {}: {error}", path.display())))
}

fn certificates(what: &str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    // Somebody may have given the key by mistake, so the reader's own words stay here too.
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|_| ConfigError::new(format!("{what} can't be read; give certificates in PEM")))?;
    if found.is_empty() {
        return Err(ConfigError::new(format!("{what}: no certificate is in there; give some in PEM")));
    }
    Ok(found)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn unusable(error: impl fmt::Display) -> ConfigError {
    ConfigError::new(format!("the TLS settings can't be used: {error}"))
}

/// What answers TLS handshakes.
pub(super) fn acceptor(config: &TlsListenerConfig) -> Result<TlsAcceptor, ConfigError> {
    let builder = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(unusable)?;
    let builder = match &config.client_roots {
        None => builder.with_no_client_auth(),
        Some(roots) => builder.with_client_cert_verifier(
            WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots.0), provider())
                .build()
                .map_err(unusable)?,
        ),
    };
    let TlsIdentity { chain, key } = &config.identity;
    let mut server = builder.with_single_cert(chain.clone(), key.clone_key()).map_err(unusable)?;
    server.session_storage = Arc::new(NoServerSessionStorage {});
    server.send_tls13_tickets = 0;
    Ok(TlsAcceptor::from(Arc::new(server)))
}

fn connector(config: &TlsAgentConfig) -> Result<TlsConnector, ConfigError> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(unusable)?
        .with_root_certificates(Arc::clone(&config.roots.0));
    let mut client = match &config.identity {
        None => builder.with_no_client_auth(),
        Some(TlsIdentity { chain, key }) => {
            builder.with_client_auth_cert(chain.clone(), key.clone_key()).map_err(unusable)?
        }
    };
    client.resumption = Resumption::disabled();
    Ok(TlsConnector::from(Arc::new(client)))
}

/// A socket on which TLS is spoken.
pub(super) struct TlsListener {
    pub(super) listener: TcpListener,
    pub(super) tls: TlsAcceptor,
}

impl Accept for TlsListener {
    async fn accept(&self, acceptor: &Acceptor, delivery: Delivery) -> io::Result<()> {
        let (io, addr) = sockets::accept(&self.listener).await?;
        acceptor.accept_opening(open(self.tls.clone(), io, addr), delivery);
        Ok(())
    }
}

async fn open(
    tls: TlsAcceptor,
    io: TcpStream,
    addr: SocketAddr,
) -> io::Result<(server::TlsStream<TcpStream>, Peer)> {
    let io = tls.accept(io).await?;
    let (_, connection) = io.get_ref();
    let certificate = connection.peer_certificates().and_then(<[_]>::first);
    let names = certificate.map(names).unwrap_or_default();
    let certificate = certificate.map(|certificate| certificate.to_vec());
    let peer = Peer::Tls { addr: Some(addr), names, certificate };
    Ok((io, peer))
}

fn names(certificate: &CertificateDer<'_>) -> Vec<String> {
    match webpki::EndEntityCert::try_from(certificate) {
        Ok(certificate) => certificate.valid_dns_names().map(Into::into).collect(),
        Err(_) => Vec::new(),
    }
}

/// Whether the peer may call itself `agent_id`, as far as its certificate goes.
pub(super) fn check_certificate(peer: &Peer, agent_id: &str) -> Result<(), RegistrationRefusal> {
    match peer {
        Peer::Tls { certificate: Some(certificate), .. } if !is_valid_for(certificate, agent_id) => {
            Err(RegistrationRefusal::WrongCertificate)
        }
        Peer::Tls { .. } | Peer::Unix { .. } | Peer::Tcp(_) | Peer::Other => Ok(()),
    }
}

fn is_valid_for(certificate: &[u8], agent_id: &str) -> bool {
    // Names are compared without regard to case and to a dot at the end, ids are not.
    let Ok(name) = DnsName::try_from(agent_id) else { return false };
    if name.as_ref() != agent_id || agent_id.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return false;
    }
    let certificate = CertificateDer::from(certificate);
    webpki::EndEntityCert::try_from(&certificate).is_ok_and(|certificate| {
        certificate.verify_is_valid_for_subject_name(&ServerName::DnsName(name)).is_ok()
    })
}

/// Dials a proxy over TLS.
#[derive(Clone)]
pub(super) struct Dialler {
    tls: TlsConnector,
    name: ServerName<'static>,
}

impl Dialler {
    pub(super) fn new(server_name: &str, config: &TlsAgentConfig) -> Result<Self, ConfigError> {
        let name = ServerName::try_from(server_name.to_owned()).map_err(|_| {
            ConfigError::new(format!("{server_name:?} is no server name; give a DNS name or an IP address"))
        })?;
        Ok(Self { tls: connector(config)?, name })
    }

    pub(super) async fn dial(self, addr: SocketAddr) -> io::Result<client::TlsStream<TcpStream>> {
        let io = sockets::dial(addr).await?;
        self.tls.connect(self.name, io).await
    }

    pub(super) async fn dial_host(self, place: Arc<str>) -> io::Result<client::TlsStream<TcpStream>> {
        let io = sockets::dial_host(&place).await?;
        self.tls.connect(self.name, io).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair};

    struct Made {
        pem: String,
        der: Vec<u8>,
        key: String,
    }

    fn made(names: &[&str]) -> Made {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).into()).collect();
        let certificate = CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
        Made { pem: certificate.pem(), der: certificate.der().to_vec(), key: key.serialize_pem() }
    }

    #[test]
    fn a_certificate_is_held_to_the_id_itself() {
        let one = made(&["waf-1", "auth.example", "10.0.0.1"]).der;
        assert!(is_valid_for(&one, "waf-1") && is_valid_for(&one, "auth.example"));
        let strangers = ["waf-2", "waf", "af-1", "x.waf-1", "example", "10.0.0.1", "", "*", "waf-1/x", "a@b"];
        // The same name to TLS, but ids of their own to everybody else.
        let doubles = ["WAF-1", "Waf-1", "waf-1.", "auth.example.", "auth.EXAMPLE"];
        for id in strangers.into_iter().chain(doubles) {
            assert!(!is_valid_for(&one, id), "{id}");
        }
        assert!(is_valid_for(&made(&["WAF-1"]).der, "waf-1"));
        assert!(!is_valid_for(b"no certificate", "waf-1"));
        assert!(!is_valid_for(&made(&[]).der, "waf-1"));
    }

    #[test]
    fn a_wildcard_stands_for_one_label() {
        let wild = made(&["*.waf.example"]).der;
        assert!(is_valid_for(&wild, "a.waf.example"));
        for id in ["waf.example", "a.b.waf.example", "*.waf.example", "a.auth.example"] {
            assert!(!is_valid_for(&wild, id), "{id}");
        }
        assert_eq!(names(&CertificateDer::from(wild)), ["*.waf.example"]);
    }

    #[test]
    fn only_a_certificate_binds() {
        let tls = |certificate| Peer::Tls { addr: None, names: Vec::new(), certificate };
        assert_eq!(check_certificate(&tls(None), "anybody"), Ok(()));
        assert_eq!(check_certificate(&Peer::Other, "anybody"), Ok(()));
        let refused = Err(RegistrationRefusal::WrongCertificate);
        assert_eq!(check_certificate(&tls(Some(made(&["a"]).der)), "b"), refused);
    }

    #[test]
    fn what_cannot_be_read_is_told_without_its_content() {
        let Made { pem, key, .. } = made(&["a"]);
        let words = |result: Result<TlsIdentity, ConfigError>| result.unwrap_err().to_string();
        let secret = key.lines().nth(1).unwrap();
        let broken = key.replace("-----END", "-----ENT");
        for bad in [broken.as_str(), "s3cret", "-----BEGIN s3cret", &pem, ""] {
            let words = words(TlsIdentity::from_pem(pem.as_bytes(), bad.as_bytes()));
            assert!(words.contains("private key") && !words.contains("s3cret") && !words.contains(secret));
        }
        // The two the wrong way round.
        let swapped = words(TlsIdentity::from_pem(key.as_bytes(), pem.as_bytes()));
        assert!(swapped.contains("certificate chain") && !swapped.contains(secret), "{swapped}");
        let torn = words(TlsIdentity::from_pem(broken.as_bytes(), key.as_bytes()));
        assert!(torn.contains("can't be read") && !torn.contains(secret), "{torn}");
        assert!(Roots::from_pem(b"").unwrap_err().to_string().contains("no certificate"));
        let missing = Roots::from_pem_file("/does/not/exist").unwrap_err().to_string();
        assert!(missing.contains("/does/not/exist"), "{missing}");
    }

    #[test]
    fn a_key_that_does_not_fit_and_a_name_that_is_none_are_told() {
        let (one, other) = (made(&["a"]), made(&["b"]));
        let identity = TlsIdentity::from_pem(one.pem.as_bytes(), other.key.as_bytes()).unwrap();
        let config = TlsListenerConfig { identity, client_roots: None };
        assert!(acceptor(&config).is_err());
        let roots = Roots::from_pem(one.pem.as_bytes()).unwrap();
        let config = TlsAgentConfig { roots, identity: None };
        assert!(Dialler::new("a b", &config).err().unwrap().to_string().contains("\"a b\""));
        assert!(Dialler::new("127.0.0.1", &config).is_ok());
    }

    #[test]
    fn no_key_is_printed() {
        let Made { pem, key, .. } = made(&["a"]);
        let identity = TlsIdentity::from_pem(pem.as_bytes(), key.as_bytes()).unwrap();
        let roots = Roots::from_pem(pem.as_bytes()).unwrap();
        let listener = TlsListenerConfig { identity: identity.clone(), client_roots: Some(roots.clone()) };
        let agent = TlsAgentConfig { roots, identity: Some(identity) };
        let printed = format!("{listener:?} {agent:?}");
        assert!(printed.contains("TlsIdentity { certificates: 1, .. }"), "{printed}");
        assert!(key.lines().filter(|line| !line.starts_with('-')).all(|line| !printed.contains(line)));
    }
}
