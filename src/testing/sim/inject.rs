//! What goes wrong without anybody's bad intent: the network's doing and the applications'.

use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::time::Duration;

use crate::machine::{AnswerError, ConnectionState, Timestamp};
use crate::session::Receipt;
use crate::testing::oracle::{Property, demand};
use crate::wire::{
    Answer, CancelReason, CorrelationId, Encoding, FlowAction, FlowControl, FrameType, HealthState,
    HealthStatus, Ping, encode_message,
};

use super::connection::{Connection, Serial};
use super::fault::{Fault, FaultKind};
use super::report::Cause;
use super::schedule::Action;
use super::trace::What;
use super::world::{Phase, World};

impl World<'_> {
    /// Whether a fault happens now that is drawn where it happens. It is counted.
    pub(super) fn strikes(&mut self, fault: Fault) -> bool {
        let rate = self.config.faults.of(fault);
        let strikes = self.phase == Phase::Faults && rate > 0 && self.rng.per_mille(rate);
        if strikes {
            self.count(0, fault);
        }
        strikes
    }

    pub(super) fn count(&mut self, serial: Serial, fault: Fault) {
        let count = self.report.faults.entry(fault).or_default();
        *count = count.saturating_add(1);
        self.note(serial, What::Fault(fault));
    }

    /// Brings about what has its turn.
    pub(super) fn faults(&mut self) -> Result<(), Cause> {
        for fault in Fault::ALL {
            let rate = self.config.faults.of(*fault);
            if rate == 0 || !self.rng.per_mille(rate) {
                continue;
            }
            let hostile = match fault.kind() {
                FaultKind::Network | FaultKind::Application => false,
                FaultKind::Hostile => true,
                FaultKind::Opening => continue,
            };
            let here = |(serial, connection): (&Serial, &Connection)| {
                let line = self.lines.get(connection.line)?;
                let open = connection.proxy.state() == ConnectionState::Open;
                (open && (!hostile || !line.honest)).then_some(*serial)
            };
            let victims: Vec<Serial> = self.connections.iter().filter_map(here).collect();
            let Some(serial) = self.rng.pick(&victims) else { continue };
            if self.bring_about(serial, *fault)? {
                self.count(serial, *fault);
                self.touched.insert(serial);
                self.settle()?;
            }
        }
        Ok(())
    }

    /// `false` if it could not be brought about.
    fn bring_about(&mut self, serial: Serial, fault: Fault) -> Result<bool, Cause> {
        let now = self.schedule.now;
        let span = self.stall();
        let soon = self.rng.up_to(Duration::from_millis(200));
        Ok(match fault {
            Fault::StallAgent => self.with(serial, |it| it.at_agent.reads_at = now.after(span)),
            Fault::StallProxy => self.with(serial, |it| it.at_proxy.reads_at = now.after(span)),
            Fault::SlowReader => {
                self.schedule.set(span, Action::Relieve(serial));
                self.with(serial, |it| it.at_agent.slowness = Duration::from_millis(20))
            }
            Fault::HalfCloseAgent => self.with(serial, |it| it.to_proxy.end()),
            Fault::HalfCloseProxy => self.with(serial, |it| it.to_agent.end()),
            Fault::Disconnect => self.with(serial, Connection::sever),
            Fault::Reset => self.with(serial, Connection::reset),
            Fault::Vanish => self.with(serial, |it| {
                it.at_agent.gagged = true;
                it.at_proxy.gagged = true;
            }),
            Fault::CallerGone => self.give_up_one()?,
            Fault::CancelRequest => self.give_up_request(),
            Fault::CancelAll => self.with(serial, |it| {
                it.proxy.cancel_all(CancelReason::ProxyShutdown, now);
            }),
            Fault::CancelUnknown => self.give_up_unknown(serial)?,
            Fault::Pause => self.pause(serial, None, soon),
            Fault::PauseRequest => match self.rng.pick_of(self.callers.ids_on(serial)) {
                Some(id) => self.pause(serial, Some(id), soon),
                None => false,
            },
            Fault::Capacity => {
                let capacity = self.rng.below(3);
                self.schedule.set(soon, Action::Widen(serial));
                self.announce(serial, capacity)
            }
            Fault::DrainProxy => self.with(serial, |it| it.drain(now.after(soon), now)),
            // Half of them take longer than the proxy puts up with.
            Fault::DrainAgent => {
                let within = if self.rng.per_mille(500) { soon } else { Duration::from_secs(60) };
                self.with(serial, |it| it.agent.drain(now.after(within), now))
            }
            Fault::CloseProxy => self.with(serial, |it| it.proxy.close()),
            Fault::CloseAgent => self.with(serial, |it| it.agent.close()),
            Fault::SlowHandlers => {
                self.schedule.set(soon, Action::Relieve(serial));
                self.with(serial, |it| it.handler_lag = span)
            }
            Fault::AnswerAgain => self.answer_again(serial)?,
            Fault::AgentPing => {
                let ping = Ping { sequence: now.as_micros(), timestamp_ms: now.as_millis() };
                self.with(serial, |it| it.say(FrameType::Ping, &ping))
            }
            Fault::UnknownFrame => self.with(serial, Connection::say_unknown),
            Fault::HealthReport => {
                self.schedule.set(soon, Action::Recover(serial));
                let state = self.rng.pick_of(ailments()).unwrap_or_default();
                self.report_health(serial, state)
            }
            Fault::Burst | Fault::Lull | Fault::Unreachable | Fault::Reject | Fault::SlowDecision => false,
            Fault::BadOpening
            | Fault::SilentOpening
            | Fault::Garbage
            | Fault::HugeFrame
            | Fault::WrongFrame
            | Fault::SecondHandshake
            | Fault::PingFlood
            | Fault::HugePing
            | Fault::DuplicateAnswer
            | Fault::WrongAnswer
            | Fault::StrayAnswer
            | Fault::Unreadable
            | Fault::PauseFlood
            | Fault::LongId
            | Fault::HalfFrame
            | Fault::Mute
            | Fault::HostileProxy => self.attack(serial, fault),
        })
    }

    pub(super) fn with(&mut self, serial: Serial, act: impl FnOnce(&mut Connection)) -> bool {
        let Some(connection) = self.connections.get_mut(&serial) else { return false };
        act(connection);
        self.touched.insert(serial);
        true
    }

    /// How long something stalls: mostly shortly, now and then so long that it is taken for dead.
    fn stall(&mut self) -> Duration {
        let longest = self.config.stream.max_stall;
        match self.rng.per_mille(250) {
            true => self.rng.up_to(longest),
            false => self.rng.up_to(Duration::from_millis(300).min(longest)),
        }
    }

    // ---- what the agents' application does ----

    /// A handler is done.
    pub(super) fn answer(
        &mut self,
        serial: Serial,
        tag: Option<u32>,
        receipt: Receipt,
        answer: Answer,
    ) -> Result<(), Cause> {
        let now = self.schedule.now;
        let Some(connection) = self.connections.get_mut(&serial) else { return Ok(()) };
        if connection.mute {
            return Ok(());
        }
        let mark = |answer: Answer| match tag {
            Some(tag) => answer.with_reason_code(format!("tag-{tag}")),
            None => answer,
        };
        // As the adapter does: an answer that fits no frame becomes a block.
        let message = receipt.encode(mark(answer)).or_else(|_| receipt.encode(mark(Answer::block(500))));
        let Ok(message) = message else { return Ok(()) };
        let closed = connection.agent.state() == ConnectionState::Closed;
        let outcome = connection.agent.answer(message, now);
        demand(outcome.is_ok() != closed, Property::P3, || format!("answer to event {tag:?}: {outcome:?}"))?;
        if let (Some(tag), false) = (tag, closed) {
            connection.oracle.agent_answered(tag);
        }
        connection.working.remove(&receipt.exchange);
        connection.last_receipt = Some(receipt);
        self.touched.insert(serial);
        self.note(serial, What::Answered { tag: tag.unwrap_or(0) });
        Ok(())
    }

    /// Tries what must not be possible. `false` if nothing has been answered yet.
    fn answer_again(&mut self, serial: Serial) -> Result<bool, Cause> {
        let now = self.schedule.now;
        let Some(connection) = self.connections.get_mut(&serial) else { return Ok(false) };
        let Some(receipt) = &connection.last_receipt else { return Ok(false) };
        let Ok(message) = receipt.encode(Answer::block(403)) else { return Ok(false) };
        let before = connection.agent.clone();
        let outcome = connection.agent.answer(message, now);
        let refused = matches!(outcome, Err(AnswerError::Unknown | AnswerError::NotOpen));
        demand(refused, Property::P3, || "an event could be answered twice".to_string())?;
        demand(connection.agent == before, Property::P15, || "second answer".to_string())?;
        Ok(true)
    }

    fn pause(&mut self, serial: Serial, id: Option<CorrelationId>, until: Duration) -> bool {
        self.schedule.set(until, Action::Resume { serial, id: id.clone() });
        self.signal(serial, id, FlowAction::Pause)
    }

    pub(super) fn signal(&mut self, serial: Serial, id: Option<CorrelationId>, action: FlowAction) -> bool {
        let timestamp_ms = self.schedule.now.as_millis();
        let signal = FlowControl { correlation_id: id, action, timestamp_ms };
        self.with(serial, |it| it.say(FrameType::FlowControl, &signal))
    }

    pub(super) fn announce(&mut self, serial: Serial, buffer_available: u64) -> bool {
        self.signal(serial, None, FlowAction::UpdateCapacity { buffer_available })
    }

    pub(super) fn relieve(&mut self, serial: Serial) {
        self.note(serial, What::Relieved);
        self.with(serial, |it| {
            it.at_agent.slowness = Duration::ZERO;
            it.handler_lag = Duration::ZERO;
        });
    }

    pub(super) fn report_health(&mut self, serial: Serial, state: HealthState) -> bool {
        let health = HealthStatus::new("sim", state, self.schedule.now.as_millis());
        // An agent that has gone can't report, which is nobody's fault.
        self.with(serial, |it| {
            let _ = it.agent.report_health(&health);
        })
    }
}

/// The ways in which an agent says that it is not well.
fn ailments() -> [HealthState; 2] {
    [
        HealthState::Degraded { disabled_features: Vec::new(), timeout_multiplier: 1.0 },
        HealthState::Unhealthy { reason: "sick".to_string(), recoverable: true },
    ]
}

impl Connection {
    fn sever(&mut self) {
        self.to_agent.sever();
        self.to_proxy.sever();
    }

    fn reset(&mut self) {
        self.sever();
        self.proxy.handle_transport_lost();
        self.agent.handle_transport_lost();
    }

    pub(super) fn drain(&mut self, deadline: Timestamp, now: Timestamp) {
        let earliest = self.drain_deadline.map_or(deadline, |earlier| earlier.min(deadline));
        self.drain_deadline = Some(earliest);
        self.oracle.draining = true;
        self.proxy.drain(deadline, now);
    }

    fn say_unknown(&mut self) {
        let unknown = [0, 0, 0, 3, 0x99, 1, 0xff];
        self.at_agent.out.extend_from_slice(&unknown);
        self.at_proxy.out.extend_from_slice(&unknown);
    }

    /// Puts a frame of the agent's into the stream, at a frame's edge, past its session.
    pub(super) fn say<T: serde::Serialize>(&mut self, frame: FrameType, message: &T) {
        if self.agent.state() != ConnectionState::Open {
            return;
        }
        let mut bytes = Vec::new();
        if encode_message(frame, Encoding::Json, message, u32::MAX, &mut bytes).is_ok() {
            self.at_agent.out.extend_from_slice(&bytes);
        }
    }
}
