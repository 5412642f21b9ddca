//! Listening for agents, and who may come in.

use std::path::PathBuf;

use clap::Args;
use dialback::machine::admission::AgentPattern;
use dialback::net::tls::{Roots, TlsListenerConfig};
use dialback::net::{Listener, ListenerConfig};
use dialback::wire::Encoding;

use crate::connect::identity;
use crate::failure::Failure;
use crate::place::{Place, address};
use crate::secrets::credentials;

/// Who may register, and how.
#[derive(Args, Debug)]
#[command(next_help_heading = "Who may register")]
pub struct DoorOptions {
    /// A file of tokens: on each line a token and the id of the agent whose it is, or the beginning of
    /// ids, as in "waf-*"; without it no token is asked for
    #[arg(long, value_name = "FILE")]
    tokens: Option<PathBuf>,
    /// Ids that may register, or beginnings of ids, as in "waf-*"; without it all may
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    allow: Vec<String>,
    /// Connections of all agents at once
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    max_connections: usize,
    /// Connections of one agent at once
    #[arg(long, value_name = "N", default_value_t = 4)]
    max_connections_per_agent: usize,
    /// The permissions of a Unix socket, in octal, as in 660
    #[arg(long, value_name = "MODE", value_parser = mode)]
    unix_mode: Option<u32>,
    /// The certificate to show on a tls: place, with its chain, in PEM
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// The private key to --cert, in PEM
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// Certificates of the authorities that an agent's certificate must be from, in PEM; an agent is
    /// then held to the name in its certificate
    #[arg(long, value_name = "FILE", requires = "cert")]
    client_ca: Option<PathBuf>,
}

fn mode(text: &str) -> Result<u32, String> {
    match u32::from_str_radix(text, 8) {
        Ok(mode) if mode <= 0o777 => Ok(mode),
        Ok(_) | Err(_) => Err("give three octal digits, as in 660".into()),
    }
}

impl DoorOptions {
    /// Listens at `place`.
    pub async fn bind(&self, place: &Place) -> Result<Listener, Failure> {
        let config = self.config()?;
        let bound = match place {
            Place::Unix(path) => Listener::bind_unix(path, config).await,
            Place::Tcp(place) => Listener::bind_tcp(address(place)?, config).await,
            Place::Tls(place) => {
                let identity = identity(self.cert.as_ref(), self.key.as_ref())?.ok_or_else(|| {
                    Failure::usage("to listen on a tls: place, give --cert FILE and --key FILE")
                })?;
                let client_roots = self.client_ca.as_ref().map(Roots::from_pem_file).transpose();
                let client_roots = client_roots.map_err(Failure::failed)?;
                let tls = TlsListenerConfig { identity, client_roots };
                Listener::bind_tls(address(place)?, &tls, config).await
            }
        };
        bound.map_err(Failure::failed)
    }

    fn config(&self) -> Result<ListenerConfig, Failure> {
        let mut config = ListenerConfig { unix_mode: self.unix_mode, ..ListenerConfig::default() };
        config.policy.allowed = self.allow.iter().map(|id| AgentPattern::new(id)).collect();
        config.policy.credentials = self.tokens.as_deref().map(credentials).transpose()?;
        config.policy.max_connections = self.max_connections;
        config.policy.max_connections_per_agent = self.max_connections_per_agent;
        config.proxy.encodings = vec![Encoding::MessagePack, Encoding::Json];
        Ok(config)
    }
}
