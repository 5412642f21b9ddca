//! What the agent's side was given, and what it wrote.

use alloc::format;
use alloc::string::ToString;

use crate::machine::ExchangeId;

use super::books::{Entry, Oracle};
use super::frame::{Named, Seen, answer_tag};
use super::{Property, Violated, demand};

impl Oracle {
    /// The tag of the event that the agent knows by `local`, the event's number on its connection.
    /// The stream keeps its order, so the agent's third event is the third that was written.
    pub(in crate::testing) fn tag_at_agent(
        &self,
        local: ExchangeId,
        payload: &[u8],
    ) -> Result<u32, Violated> {
        let index = local.0.checked_sub(1).and_then(|n| usize::try_from(n).ok());
        let tag = index.and_then(|index| self.wire_order.get(index)).copied().ok_or_else(|| Violated {
            property: Property::P1,
            detail: format!("the agent was given event {local}, which was never written"),
        })?;
        let same = self.entries.get(&tag).is_some_and(|entry| entry.payload == payload);
        demand(same, Property::P10, || format!("event {tag} is another event at the agent"))?;
        Ok(tag)
    }

    pub(in crate::testing) fn agent_given(&mut self, tag: u32) -> Result<(), Violated> {
        let Some(id) = self.entries.get(&tag).map(|entry| entry.id.clone()) else {
            return Err(Violated {
                property: Property::P1,
                detail: format!("the agent was given {tag}, which was never sent"),
            });
        };
        for (other, entry) in self.entries.iter().filter(|(_, entry)| entry.id == id) {
            let out_of_turn = *other < tag && entry.handled && !entry.answered;
            demand(!out_of_turn, Property::P3, || {
                format!("the agent was given {tag} before {other} was answered")
            })?;
            let backwards = *other > tag && entry.handled;
            demand(!backwards, Property::P3, || format!("the agent was given {other} before {tag}"))?;
        }
        if let Some(entry) = self.entries.get_mut(&tag) {
            demand(!entry.handled, Property::P3, || format!("the agent was given {tag} twice"))?;
            demand(entry.written, Property::P1, || {
                format!("the agent was given {tag}, which was not written")
            })?;
            entry.handled = true;
        }
        Ok(())
    }

    /// The agent's application answered.
    pub(in crate::testing) fn agent_answered(&mut self, tag: u32) {
        if let Some(entry) = self.entries.get_mut(&tag) {
            entry.answered = true;
        }
    }

    pub(in crate::testing) fn agent_wrote(&mut self, frame: &Seen) -> Result<(), Violated> {
        if frame.kind != 0x20 {
            return Ok(());
        }
        let json = frame.json()?;
        let named = Named::of(&json);
        let tag = answer_tag(&json);
        let matches = |other: u32, entry: &Entry| match (tag, named.exchange) {
            (Some(tag), _) => other == tag,
            (None, Some(exchange)) => entry.exchange.0 == exchange,
            (None, None) => {
                let same = named.id.as_ref() == Some(&entry.id);
                same && entry.written && entry.answers_written == 0
            }
        };
        let entry = self.entries.iter_mut().find(|(other, entry)| matches(**other, entry));
        let Some((tag, entry)) = entry else {
            return Err(Violated {
                property: Property::P3,
                detail: format!(
                    "an answer too many for {:?}",
                    named.id.unwrap_or_else(|| "nobody".to_string())
                ),
            });
        };
        entry.answers_written = entry.answers_written.saturating_add(1);
        demand(entry.answers_written == 1, Property::P3, || format!("event {tag} answered twice"))
    }
}
