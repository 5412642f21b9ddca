//! Where somebody listens, as it is written on the command line.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::str::FromStr;

use super::failure::Failure;

/// Where somebody listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// On a Unix socket.
    Unix(PathBuf),
    /// On TCP, at `host:port`.
    Tcp(String),
    /// On TCP with TLS, at `host:port`.
    Tls(String),
}

/// What a place looks like, for help and errors.
pub const FORMS: &str = "unix:PATH, tcp:HOST:PORT, tls:HOST:PORT, or plainly a path or HOST:PORT";

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return unix(path);
        }
        if let Some(place) = text.strip_prefix("tls:") {
            return host(place).map(Self::Tls);
        }
        if let Some(place) = text.strip_prefix("tcp:") {
            return host(place).map(Self::Tcp);
        }
        if text.contains('/') { unix(text) } else { host(text).map(Self::Tcp) }
    }
}

fn unix(path: &str) -> Result<Place, String> {
    if path.is_empty() {
        return Err(format!("the path is missing; give {FORMS}"));
    }
    Ok(Place::Unix(path.into()))
}

fn host(place: &str) -> Result<String, String> {
    let Some((name, port)) = place.rsplit_once(':') else {
        return Err(format!("{place:?} has no port; give {FORMS}"));
    };
    if name.is_empty() {
        return Err(format!("{place:?} has no host; give {FORMS}, with 0.0.0.0 for every interface"));
    }
    match port.parse::<u16>() {
        Ok(_) => Ok(place.into()),
        Err(_) => Err(format!("{port:?} is no port; give a number from 0 to 65535")),
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(place) => write!(f, "tcp:{place}"),
            Self::Tls(place) => write!(f, "tls:{place}"),
        }
    }
}

/// The name in `host:port`, without the brackets of an IPv6 address.
pub fn host_name(place: &str) -> &str {
    let name = place.rsplit_once(':').map_or(place, |(name, _)| name);
    name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name)
}

/// The address to listen on.
pub fn address(place: &str) -> Result<SocketAddr, Failure> {
    let found = place.to_socket_addrs().ok().and_then(|mut found| found.next());
    found.ok_or_else(|| Failure::Failed(format!("{place} stands for no address")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read() {
        let read = |text: &str| text.parse::<Place>();
        assert_eq!(read("unix:a.sock"), Ok(Place::Unix("a.sock".into())));
        assert_eq!(read("./a.sock"), Ok(Place::Unix("./a.sock".into())));
        assert_eq!(read("tcp:[::1]:9"), Ok(Place::Tcp("[::1]:9".into())));
        assert_eq!(read("h.example:9"), Ok(Place::Tcp("h.example:9".into())));
        assert_eq!(read("tls:h:443"), Ok(Place::Tls("h:443".into())));
        for (bad, words) in [
            ("", "no port"),
            ("h", "no port"),
            ("tcp::9", "no host"),
            ("h:x", "no port"),
            ("unix:", "missing"),
            ("h:70000", "65535"),
        ] {
            let error = read(bad).unwrap_err();
            assert!(error.contains(words), "{bad}: {error}");
        }
        for place in ["unix:/a", "tcp:h:9", "tls:h:9"] {
            assert_eq!(read(place).unwrap().to_string(), place);
        }
    }

    #[test]
    fn a_name_is_taken_out_of_its_place() {
        assert_eq!(host_name("proxy.example:9"), "proxy.example");
        assert_eq!(host_name("[::1]:9"), "::1");
    }
}
