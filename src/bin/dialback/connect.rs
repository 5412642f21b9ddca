//! How a peer is reached: places, and TLS on the way to them.

use std::path::PathBuf;

use clap::Args;
use dialback::net::Target;
use dialback::net::tls::{Roots, TlsAgentConfig, TlsIdentity};

use super::failure::Failure;
use super::place::{Place, host_name};

/// How to speak TLS to a peer that listens.
#[derive(Args, Debug)]
#[command(next_help_heading = "TLS")]
pub struct TlsOptions {
    /// Certificates of the authorities that the peer's certificate must be from, in PEM
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// The certificate to show if the peer asks for one, with its chain, in PEM
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// The private key to --cert, in PEM
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// The name that the peer's certificate must be valid for; the host that is dialled by default
    #[arg(long, value_name = "NAME")]
    server_name: Option<String>,
}

impl TlsOptions {
    fn config(&self) -> Result<TlsAgentConfig, Failure> {
        let ca = self.ca.as_ref().ok_or_else(|| {
            Failure::usage("to dial a tls: place, give --ca FILE with the authorities to trust")
        })?;
        Ok(TlsAgentConfig {
            roots: Roots::from_pem_file(ca).map_err(Failure::failed)?,
            identity: identity(self.cert.as_ref(), self.key.as_ref())?,
        })
    }

    fn is_given(&self) -> bool {
        self.ca.is_some() || self.cert.is_some() || self.server_name.is_some()
    }

    /// The peer at `place`.
    pub fn target(&self, place: &Place) -> Result<Target, Failure> {
        if self.is_given() && !matches!(place, Place::Tls(_)) {
            return Err(Failure::Usage(format!(
                "{place} is no tls: place, so the options for TLS are not used"
            )));
        }
        match place {
            Place::Unix(path) => Ok(Target::unix(path)),
            Place::Tcp(place) => Ok(Target::tcp_host(place.as_str())),
            Place::Tls(place) => {
                let name = self.server_name.as_deref().unwrap_or_else(|| host_name(place));
                Target::tls_host(place.as_str(), name, &self.config()?).map_err(Failure::failed)
            }
        }
    }
}

/// A certificate and its key, if both are given.
pub fn identity(cert: Option<&PathBuf>, key: Option<&PathBuf>) -> Result<Option<TlsIdentity>, Failure> {
    match (cert, key) {
        (Some(cert), Some(key)) => TlsIdentity::from_pem_files(cert, key).map(Some).map_err(Failure::failed),
        (None, _) | (_, None) => Ok(None),
    }
}
