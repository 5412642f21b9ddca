//! What the application asks of a proxy's session.

use core::mem;

use crate::machine::{
    CancelError, ConnectionState, DecisionError, ExchangeId, Patience, Submission, Timestamp,
};
use crate::session::message::{EncodedEvent, SendError, json};
use crate::wire::{CancelReason, CorrelationId, RegistrationResponse};

use super::{Grant, PendingRegistration, ProxySession};

impl ProxySession {
    /// Accepts a registration.
    ///
    /// # Errors
    /// [`DecisionError`] if the connection has ended meanwhile.
    // Rule: H-REG-6.
    pub fn accept_registration(
        &mut self,
        pending: PendingRegistration,
        grant: Grant,
        now: Timestamp,
    ) -> Result<(), DecisionError> {
        let PendingRegistration { registration, pending } = pending;
        let ours = &self.settings.encodings;
        let offered = &registration.supported_encodings;
        let encoding = ours.iter().find(|encoding| offered.contains(encoding) && encoding.is_supported());
        let encoding = encoding.copied().unwrap_or_default();
        let response = RegistrationResponse {
            success: true,
            connection_id: grant.connection_id,
            encoding: (!offered.is_empty()).then_some(encoding),
            ..self.response()
        };
        let terms = self.terms(&registration.capabilities);
        let answer = json(&response);
        self.machine.accept_offer(pending, answer, terms, now)?;
        self.capabilities = Some(registration.capabilities);
        self.become_open(encoding);
        let held = mem::take(&mut self.intake.held);
        self.handle_bytes(&held, now);
        Ok(())
    }

    /// Refuses a registration, with a reason for the agent to read.
    ///
    /// # Errors
    /// [`DecisionError`] if the connection has ended meanwhile.
    pub fn reject_registration(
        &mut self,
        pending: PendingRegistration,
        reason: &str,
        retry_after_ms: Option<u64>,
    ) -> Result<(), DecisionError> {
        let response = RegistrationResponse { error: Some(reason.into()), retry_after_ms, ..self.response() };
        self.machine.reject_offer(pending.pending, json(&response))
    }

    /// Takes an event to be written and answered; returns the id of its exchange.
    ///
    /// # Errors
    /// What stands against it; the session is as it was.
    // Rule: W-FRAME-6.
    pub fn submit(
        &mut self,
        event: EncodedEvent,
        deadline: Timestamp,
        patience: Patience,
        now: Timestamp,
    ) -> Result<ExchangeId, SendError> {
        let EncodedEvent { kind, id, encoding, payload } = event;
        if self.state() != ConnectionState::Opening && encoding != self.encoding {
            return Err(SendError::WrongEncoding { given: encoding, wanted: self.encoding });
        }
        let length = payload.len().saturating_add(1).saturating_add(self.exchange_id_room());
        if length > self.settings.max_frame as usize {
            return Err(SendError::TooLarge { length, limit: self.settings.max_frame });
        }
        let exchange = ExchangeId(self.last_exchange.saturating_add(1));
        self.machine.submit(Submission { exchange, id, kind, payload, deadline, patience }, now)?;
        *self.last_exchange = exchange.0;
        *self.clock = now;
        Ok(exchange)
    }

    /// Gives an exchange up.
    ///
    /// # Errors
    /// [`CancelError::Unknown`] if it has ended already.
    pub fn cancel(
        &mut self,
        exchange: ExchangeId,
        reason: CancelReason,
        now: Timestamp,
    ) -> Result<(), CancelError> {
        *self.clock = now;
        self.machine.cancel(exchange, reason, now)
    }

    /// Gives up every exchange of one request. Returns how many ended by it.
    pub fn cancel_request(&mut self, id: &CorrelationId, reason: CancelReason, now: Timestamp) -> usize {
        *self.clock = now;
        self.machine.cancel_request(id, reason, now)
    }

    /// Gives up every exchange. Returns how many ended by it.
    pub fn cancel_all(&mut self, reason: CancelReason, now: Timestamp) -> usize {
        *self.clock = now;
        self.machine.cancel_all(reason, now)
    }

    /// Admits nothing new and closes when the last exchange in flight has ended, or at `deadline`.
    pub fn drain(&mut self, deadline: Timestamp, now: Timestamp) {
        *self.clock = now;
        self.machine.drain(deadline, now);
    }

    /// Ends the connection now.
    pub fn close(&mut self) {
        self.machine.close();
    }
}
