//! Is the peer still there? Pings after silence, an end after more of it, and a limit on half a frame.

use core::time::Duration;

use super::time::{Timestamp, earliest};

/// When to ask, and how long to wait. Part of both roles' limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeepaliveLimits {
    /// Silence after which a ping is sent. `None`: never ask. Default 15 s.
    pub interval: Option<Duration>,
    /// Silence after that ping at which the connection is given up. Default 15 s.
    pub timeout: Duration,
    /// Whose silence is held against it. Default: everybody's for a proxy; for an agent, that of
    /// proxies which have answered a ping before, since deployed proxies answer none.
    pub judged: Judged,
    /// How long a frame that has begun may take to arrive in full. Default 60 s.
    pub frame_timeout: Duration,
}

/// Whose silence ends a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Judged {
    /// Everybody's.
    Everybody,
    /// That of a peer which has answered a ping on this connection. Others go on being pinged, so
    /// that whatever lies between stays open and the transport notices a peer that is gone.
    WhoAnswered,
}

impl Default for KeepaliveLimits {
    fn default() -> Self {
        Self {
            interval: Some(Duration::from_secs(15)),
            timeout: Duration::from_secs(15),
            judged: Judged::Everybody,
            frame_timeout: Duration::from_secs(60),
        }
    }
}

/// Whether this peer's silence counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Standing {
    /// It does.
    Answerable,
    /// Not yet: it has answered no ping.
    Unproven,
}

impl Standing {
    /// Every standing.
    pub const ALL: [Self; 2] = [Self::Answerable, Self::Unproven];
}

/// Whether a ping is out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Probe {
    /// The peer was heard lately; nothing is asked.
    Quiet,
    /// A ping went out and nothing has been heard since.
    Waiting,
}

impl Probe {
    /// Every state.
    pub const ALL: [Self; 2] = [Self::Quiet, Self::Waiting];
}

/// What bears on whether the peer is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sign {
    /// A byte came.
    Heard,
    /// The time that the state waits for has come.
    Due,
    /// That time has come, but we are the side that is not reading.
    DueWhileNotReading,
}

impl Sign {
    /// Every sign.
    pub const ALL: [Self; 3] = [Self::Heard, Self::Due, Self::DueWhileNotReading];
}

/// What follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pulse {
    /// Start the silence anew.
    Rearm,
    /// Send a ping and wait.
    Ask,
    /// The peer is gone: close.
    GiveUp,
}

impl Pulse {
    /// Every pulse.
    pub const ALL: [Self; 3] = [Self::Rearm, Self::Ask, Self::GiveUp];
}

/// The keepalive's table (P12): total over every state, standing and sign.
// Rule: C-ALIVE-1.
pub const fn step(probe: Probe, standing: Standing, sign: Sign) -> Pulse {
    match sign {
        Sign::Heard | Sign::DueWhileNotReading => Pulse::Rearm,
        Sign::Due => match probe {
            Probe::Quiet => Pulse::Ask,
            Probe::Waiting => match standing {
                Standing::Answerable => Pulse::GiveUp,
                Standing::Unproven => Pulse::Ask,
            },
        },
    }
}

/// What the time that has passed asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    Nothing,
    Ping,
    Silent,
    StalledFrame,
}

/// The keepalive of one connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Keepalive {
    limits: KeepaliveLimits,
    probe: Probe,
    standing: Standing,
    /// When the present state began: last byte heard, or ping sent.
    since: Timestamp,
    /// When the frame that is arriving began, while one is.
    frame_since: Option<Timestamp>,
    /// The last ping's number. It goes onto the wire, so it is part of the state and no tally.
    sequence: u64,
}

impl Keepalive {
    pub(crate) const fn new(limits: KeepaliveLimits, now: Timestamp) -> Self {
        let standing = match limits.judged {
            Judged::Everybody => Standing::Answerable,
            Judged::WhoAnswered => Standing::Unproven,
        };
        Self { limits, probe: Probe::Quiet, standing, since: now, frame_since: None, sequence: 0 }
    }

    /// The peer answered a ping.
    pub(crate) const fn handle_pong(&mut self) {
        self.standing = Standing::Answerable;
    }

    /// The number of the ping that is asked for now.
    pub(crate) const fn next_ping(&mut self) -> u64 {
        self.sequence = self.sequence.saturating_add(1);
        self.sequence
    }

    pub(crate) fn handle_heard(&mut self, now: Timestamp) {
        self.apply(step(self.probe, self.standing, Sign::Heard), now);
    }

    /// Whether the bytes so far end in the middle of a frame. `fresh` says that a frame was
    /// completed since the last call, so that a half one now is a new one.
    pub(crate) fn handle_partial(&mut self, mid_frame: bool, fresh: bool, now: Timestamp) {
        self.frame_since = match self.frame_since {
            _ if !mid_frame => None,
            Some(since) if !fresh => Some(since),
            _ => Some(now),
        };
    }

    pub(crate) fn poll_timeout(&self) -> Option<Timestamp> {
        let silence = match self.probe {
            Probe::Quiet => self.limits.interval,
            Probe::Waiting => Some(self.limits.timeout),
        };
        earliest(silence.map(|span| self.since.after(span)), self.frame_deadline())
    }

    pub(crate) fn handle_timeout(&mut self, reading: bool, now: Timestamp) -> Due {
        if !reading {
            // A frame can't arrive while we don't read; its time starts anew.
            self.frame_since =
                self.frame_since.map(|since| match since.after(self.limits.frame_timeout) <= now {
                    true => now,
                    false => since,
                });
        } else if self.frame_deadline().is_some_and(|at| at <= now) {
            return Due::StalledFrame;
        }
        if self.poll_timeout().is_none_or(|at| at > now) {
            return Due::Nothing;
        }
        let sign = if reading { Sign::Due } else { Sign::DueWhileNotReading };
        let pulse = step(self.probe, self.standing, sign);
        self.apply(pulse, now);
        match pulse {
            Pulse::Rearm => Due::Nothing,
            Pulse::Ask => Due::Ping,
            Pulse::GiveUp => Due::Silent,
        }
    }

    // Rule: C-ALIVE-2.
    fn frame_deadline(&self) -> Option<Timestamp> {
        self.frame_since.map(|since| since.after(self.limits.frame_timeout))
    }

    fn apply(&mut self, pulse: Pulse, now: Timestamp) {
        self.probe = match pulse {
            Pulse::Rearm => Probe::Quiet,
            Pulse::Ask => Probe::Waiting,
            Pulse::GiveUp => return,
        };
        self.since = now;
    }
}

/// Silence after which a peer is given up.
pub(crate) const fn silence(limits: KeepaliveLimits) -> Duration {
    match limits.interval {
        Some(interval) => interval.saturating_add(limits.timeout),
        None => limits.timeout,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    #[test]
    // Rule: C-ALIVE-1.
    fn silence_brings_a_ping_and_then_the_end() {
        let mut keepalive = Keepalive::new(KeepaliveLimits::default(), at(0));
        assert_eq!(keepalive.handle_timeout(true, at(14)), Due::Nothing);
        assert_eq!(keepalive.handle_timeout(true, at(15)), Due::Ping);
        assert_eq!(keepalive.handle_timeout(true, at(29)), Due::Nothing);
        assert_eq!(keepalive.handle_timeout(true, at(30)), Due::Silent);
    }

    #[test]
    fn the_silence_of_a_peer_that_never_answered_is_not_held_against_it() {
        let limits = KeepaliveLimits { judged: Judged::WhoAnswered, ..KeepaliveLimits::default() };
        let mut keepalive = Keepalive::new(limits, at(0));
        for second in [15, 30, 45, 60] {
            assert_eq!(keepalive.handle_timeout(true, at(second)), Due::Ping);
        }
        keepalive.handle_pong();
        keepalive.handle_heard(at(61));
        assert_eq!(keepalive.handle_timeout(true, at(76)), Due::Ping);
        assert_eq!(keepalive.handle_timeout(true, at(91)), Due::Silent);
    }

    #[test]
    fn pings_are_numbered_one_after_the_other() {
        let mut keepalive = Keepalive::new(KeepaliveLimits::default(), at(0));
        assert_eq!([(); 3].map(|()| keepalive.next_ping()), [1, 2, 3]);
    }

    #[test]
    fn a_byte_starts_the_silence_anew() {
        let mut keepalive = Keepalive::new(KeepaliveLimits::default(), at(0));
        assert_eq!(keepalive.handle_timeout(true, at(15)), Due::Ping);
        keepalive.handle_heard(at(20));
        assert_eq!(keepalive.poll_timeout(), Some(at(35)));
    }

    #[test]
    // Rule: C-ALIVE-2.
    fn half_a_frame_has_a_deadline_that_bytes_do_not_move() {
        let mut keepalive = Keepalive::new(KeepaliveLimits::default(), at(0));
        keepalive.handle_partial(true, false, at(1));
        for second in 2..61 {
            keepalive.handle_heard(at(second));
            keepalive.handle_partial(true, false, at(second));
        }
        assert_eq!(keepalive.handle_timeout(true, at(61)), Due::StalledFrame);
    }

    #[test]
    fn who_does_not_read_does_not_blame_the_peer() {
        let mut keepalive = Keepalive::new(KeepaliveLimits::default(), at(0));
        assert_eq!(keepalive.handle_timeout(false, at(15)), Due::Nothing);
        assert_eq!(keepalive.poll_timeout(), Some(at(30)));
    }

    #[test]
    fn without_an_interval_nothing_is_asked() {
        let limits = KeepaliveLimits { interval: None, ..KeepaliveLimits::default() };
        let mut keepalive = Keepalive::new(limits, at(0));
        assert_eq!(keepalive.poll_timeout(), None);
        assert_eq!(keepalive.handle_timeout(true, at(9_999)), Due::Nothing);
        assert_eq!(silence(limits), limits.timeout);
        assert_eq!(silence(KeepaliveLimits::default()), Duration::from_secs(30));
    }

    #[test]
    // Rule: C-ALIVE-2.
    fn a_new_half_frame_has_time_of_its_own() {
        let limits = KeepaliveLimits { interval: None, ..KeepaliveLimits::default() };
        let mut keepalive = Keepalive::new(limits, at(0));
        keepalive.handle_partial(true, false, at(1));
        assert_eq!(keepalive.poll_timeout(), Some(at(61)));
        // The rest of it came, and the start of another.
        keepalive.handle_partial(true, true, at(5));
        assert_eq!(keepalive.poll_timeout(), Some(at(65)));
        keepalive.handle_partial(false, true, at(6));
        assert_eq!(keepalive.poll_timeout(), None);
        assert_eq!(keepalive.handle_timeout(true, at(99)), Due::Nothing);
    }

    #[test]
    fn half_a_frame_that_we_do_not_read_costs_no_time() {
        let limits = KeepaliveLimits { interval: None, ..KeepaliveLimits::default() };
        let mut keepalive = Keepalive::new(limits, at(0));
        keepalive.handle_partial(true, false, at(1));
        let before = keepalive.clone();
        assert_eq!(keepalive.handle_timeout(false, at(60)), Due::Nothing);
        assert_eq!(keepalive, before, "it was too early for anything");
        assert_eq!(keepalive.handle_timeout(false, at(61)), Due::Nothing);
        assert_eq!(keepalive.poll_timeout(), Some(at(121)));
        assert_eq!(keepalive.handle_timeout(true, at(120)), Due::Nothing);
        assert_eq!(keepalive.handle_timeout(true, at(121)), Due::StalledFrame);
    }
}
