//! An endpoint's steps for sockets that speak `std::io` and do not block.

use std::io::{self, ErrorKind, Read, Write};

use crate::machine::Timestamp;

use super::{Endpoint, Session};

/// Bytes read at once.
const READ: usize = 16 << 10;

impl<S: Session> Endpoint<S> {
    /// Reads once, if [`Self::wants_bytes`], from a socket that does not block, and tells the session what came. Whether anything came, the peer's end included.
    /// Needs `std`.
    ///
    /// # Errors
    /// That of the read. The session has been told, so it is only to be logged.
    pub fn read_from(&mut self, socket: &mut impl Read, now: Timestamp) -> io::Result<bool> {
        if !self.wants_bytes() {
            return Ok(false);
        }
        let mut buffer = [0; READ];
        match retried(|| socket.read(&mut buffer)) {
            Ok(Some(0)) => self.handle_eof(now),
            Ok(Some(count)) => self.handle_bytes(buffer.get(..count).unwrap_or_default(), now),
            Ok(None) => return Ok(false),
            Err(error) => {
                self.handle_transport_lost(now);
                return Err(error);
            }
        }
        Ok(true)
    }

    /// Writes what [`Self::unwritten`] gives to a socket that does not block, until it takes no more. Whether it took anything. Needs `std`.
    ///
    /// # Errors
    /// That of a write. The session has been told, so it is only to be logged.
    pub fn write_to(&mut self, socket: &mut impl Write, now: Timestamp) -> io::Result<bool> {
        let mut wrote = false;
        while let bytes = self.unwritten(now)
            && !bytes.is_empty()
        {
            match retried(|| socket.write(bytes)) {
                Ok(Some(0)) => {
                    self.handle_write_failed(now);
                    return Err(ErrorKind::WriteZero.into());
                }
                Ok(Some(count)) => self.handle_written(count),
                Ok(None) => break,
                Err(error) => {
                    self.handle_write_failed(now);
                    return Err(error);
                }
            }
            wrote = true;
        }
        Ok(wrote)
    }
}

/// `None` where the socket has nothing to give or takes nothing now.
fn retried(mut attempt: impl FnMut() -> io::Result<usize>) -> io::Result<Option<usize>> {
    loop {
        match attempt() {
            Ok(count) => return Ok(Some(count)),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::CloseReason;
    use crate::session::{AgentSession, AgentSessionEvent, AgentSettings};
    use crate::wire::{Capabilities, Registration};
    use alloc::collections::VecDeque;
    use alloc::vec::Vec;
    use core::time::Duration;

    const NOW: Timestamp = Timestamp::ZERO;

    /// A socket that does what it is told, once per call.
    #[derive(Default)]
    struct Script {
        results: VecDeque<Result<usize, ErrorKind>>,
        written: Vec<u8>,
    }

    impl Script {
        fn new(results: impl IntoIterator<Item = Result<usize, ErrorKind>>) -> Self {
            Self { results: results.into_iter().collect(), ..Self::default() }
        }

        fn next(&mut self) -> io::Result<usize> {
            self.results.pop_front().unwrap_or(Err(ErrorKind::WouldBlock)).map_err(io::Error::from)
        }
    }

    impl Read for Script {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.next()?;
            buffer[..count].fill(0xff);
            Ok(count)
        }
    }

    impl Write for Script {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = self.next()?.min(bytes.len());
            self.written.extend(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn agent() -> Endpoint<AgentSession> {
        let settings = AgentSettings::new(Registration::new(Capabilities::new("a", [])));
        Endpoint::new(AgentSession::dial(settings, NOW).unwrap(), Duration::from_secs(1))
    }

    fn closed(agent: &mut Endpoint<AgentSession>) -> Option<CloseReason> {
        let told = core::iter::from_fn(|| agent.poll_event()).filter_map(|event| match event {
            AgentSessionEvent::Closed(reason) => Some(reason),
            AgentSessionEvent::Handshake(_)
            | AgentSessionEvent::Opened { .. }
            | AgentSessionEvent::Event(_)
            | AgentSessionEvent::Cancelled { .. } => None,
        });
        told.last()
    }

    #[test]
    fn pieces_are_written_until_the_socket_takes_no_more() {
        let mut agent = agent();
        let all = agent.unwritten(NOW).to_vec();
        let mut socket = Script::new([Ok(3), Err(ErrorKind::Interrupted), Ok(4), Err(ErrorKind::WouldBlock)]);
        assert!(agent.write_to(&mut socket, NOW).unwrap());
        assert_eq!(socket.written, all[..7]);
        assert!(!agent.write_to(&mut socket, NOW).unwrap(), "nothing was taken");
        socket.results = VecDeque::from([Ok(usize::MAX)]);
        assert!(agent.write_to(&mut socket, NOW).unwrap());
        assert_eq!(socket.written, all);
        assert!(
            !agent.write_to(&mut Script::new([Err(ErrorKind::BrokenPipe)]), NOW).unwrap(),
            "no byte, no write"
        );
    }

    #[test]
    fn failures_are_told_to_the_session_and_given_back() {
        let mut agent = agent();
        let mut socket = Script::new([Err(ErrorKind::BrokenPipe), Err(ErrorKind::ConnectionReset)]);
        assert_eq!(agent.write_to(&mut socket, NOW).unwrap_err().kind(), ErrorKind::BrokenPipe);
        assert_eq!(closed(&mut agent), None, "what the peer said is still read");
        assert_eq!(agent.read_from(&mut socket, NOW).unwrap_err().kind(), ErrorKind::ConnectionReset);
        assert_eq!(closed(&mut agent), Some(CloseReason::TransportLost));
        assert!(agent.is_done());
        assert!(!agent.read_from(&mut Script::new([Ok(1)]), NOW).unwrap(), "nothing is read any more");
    }

    #[test]
    fn a_socket_that_takes_zero_bytes_has_failed() {
        let error = agent().write_to(&mut Script::new([Ok(0)]), NOW).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WriteZero);
    }

    #[test]
    fn reading_tells_bytes_from_none_and_from_the_end() {
        let mut agent = agent();
        let mut socket = Script::new([Err(ErrorKind::TimedOut), Err(ErrorKind::Interrupted), Ok(2), Ok(0)]);
        assert!(!agent.read_from(&mut socket, NOW).unwrap());
        assert!(agent.read_from(&mut socket, NOW).unwrap());
        assert!(agent.read_from(&mut socket, NOW).unwrap());
        assert_eq!(closed(&mut agent), Some(CloseReason::PeerClosed));
    }
}
