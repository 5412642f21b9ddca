//! Answers that recur: an agent says the same about most events, but for their ids.
//!
//! What was read of one answer holds for the next that is like it, so that is compared instead of read. What
//! comes of it is what reading would have given.

use alloc::boxed::Box;

use serde_json::Value;

use super::answer::Answer;
use super::audit::{CORRELATION_ID, EXCHANGE_ID};
use super::encoding::{DecodeError, Encoding};
use super::ids::{Ids, borrowed_answer_ids};
use super::json::Pattern;

/// Reads answers, and those quickly that are like the one before but for their ids.
///
/// It keeps one answer, of at most 4 KiB; of answers that keep changing it seldom keeps one.
///
/// ```
/// use dialback::wire::{Answer, AnswerReader, Encoding};
///
/// let mut reader = AnswerReader::default();
/// for id in ["request-1", "request-2", "request-3"] {
///     let mut answer = Answer::block(403);
///     answer.audit.set_ids(&id.into(), None);
///     let mut payload = Vec::new();
///     Encoding::Json.encode(&answer, &mut payload)?;
///     assert_eq!(reader.read(Encoding::Json, &payload)?, answer);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct AnswerReader {
    like: Like<Answer>,
}

impl AnswerReader {
    /// Reads one answer from exactly these bytes: what [`Encoding::decode`] gives.
    ///
    /// # Errors
    /// Those of [`Encoding::decode`].
    // Rule: W-ENC-3.
    pub fn read(&mut self, encoding: Encoding, payload: &[u8]) -> Result<Answer, DecodeError> {
        if let Some((ids, like)) = self.like.find(encoding, payload) {
            return Ok(about(like.clone(), &ids));
        }
        let answer = encoding.decode(payload)?;
        self.like.miss(encoding, || keep(payload, &answer));
        Ok(answer)
    }
}

/// An answer to be compared with, without its ids.
fn keep(payload: &[u8], answer: &Answer) -> Option<(Pattern, Answer)> {
    let ids = borrowed_answer_ids(Encoding::Json, payload).ok()?;
    let read = (answer.audit.correlation_id(), answer.audit.exchange_id());
    if read != (ids.correlation_id.as_deref(), ids.exchange_id) {
        return None;
    }
    let pattern = Pattern::of(payload, &ids)?;
    let mut like = answer.clone();
    like.audit.custom.insert(CORRELATION_ID.into(), Value::Null);
    if ids.exchange_id.is_some() {
        like.audit.custom.insert(EXCHANGE_ID.into(), Value::Null);
    }
    Some((pattern, like))
}

/// The same answer with these ids.
fn about(mut answer: Answer, ids: &Ids<'_>) -> Answer {
    let custom = &mut answer.audit.custom;
    if let (Some(id), Some(place)) = (ids.correlation_id.as_deref(), custom.get_mut(CORRELATION_ID)) {
        *place = id.into();
    }
    if let (Some(id), Some(place)) = (ids.exchange_id, custom.get_mut(EXCHANGE_ID)) {
        *place = id.into();
    }
    answer
}

/// Finds the ids of answers, and those quickly that are like the one before but for their ids.
#[derive(Clone, Debug, Default)]
pub(crate) struct IdFinder {
    like: Like<()>,
}

impl IdFinder {
    /// What [`borrowed_answer_ids`] finds.
    pub(crate) fn find<'p>(&mut self, encoding: Encoding, payload: &'p [u8]) -> Result<Ids<'p>, DecodeError> {
        if let Some((ids, ())) = self.like.find(encoding, payload) {
            return Ok(ids);
        }
        let ids = borrowed_answer_ids(encoding, payload)?;
        self.like.miss(encoding, || Some((Pattern::of(payload, &ids)?, ())));
        Ok(ids)
    }
}

/// An answer that others may be like, and what was made of it.
#[derive(Clone, Debug, Default)]
struct Like<T> {
    kept: Option<Box<(Pattern, T)>>,
    misses: Misses,
}

impl<T> Like<T> {
    /// The ids of an answer that is like the one kept, and what was made of that.
    fn find<'p>(&mut self, encoding: Encoding, payload: &'p [u8]) -> Option<(Ids<'p>, &T)> {
        let (pattern, made) = self.kept.as_deref().filter(|_| encoding == Encoding::Json)?;
        let ids = pattern.find(payload)?;
        self.misses.end();
        Some((ids, made))
    }

    /// An answer was like none. Now and then it is kept instead, if it can be.
    fn miss(&mut self, encoding: Encoding, keep: impl FnOnce() -> Option<(Pattern, T)>) {
        if encoding == Encoding::Json
            && self.misses.count()
            && let Some(kept) = keep()
        {
            self.kept = Some(Box::new(kept));
        }
    }
}

/// Answers in a row that were like none before. The more there are, the more seldom one is kept: who never
/// says the same twice pays next to nothing for it.
#[derive(Clone, Copy, Debug, Default)]
struct Misses(u8);

impl Misses {
    /// One more. Whether to keep it: the first, the second, the fourth and so on.
    const fn count(&mut self) -> bool {
        self.0 = self.0.wrapping_add(1);
        self.0.is_power_of_two()
    }

    const fn end(&mut self) {
        self.0 = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use alloc::vec::Vec;

    fn payload(answer: &Answer) -> Vec<u8> {
        let mut payload = Vec::new();
        Encoding::Json.encode(answer, &mut payload).unwrap();
        payload
    }

    fn tagged(tag: usize, id: usize, exchange: Option<u64>) -> Vec<u8> {
        let mut answer = Answer::block(403).with_tag(tag.to_string());
        answer.audit.set_ids(&id.to_string().as_str().into(), exchange);
        payload(&answer)
    }

    #[test]
    // Rule: W-ENC-3, X-ID-3, X-ECHO-1.
    fn answers_in_any_order_are_read_as_each_alone() {
        let (mut reader, mut finder) = (AnswerReader::default(), IdFinder::default());
        for step in 0..2_000_usize {
            // Long runs of the same, short ones, and ones that never come again.
            let tag = if step % 400 < 200 { step / 100 } else { step };
            let exchange = (step % 7 < 5).then_some(step as u64 * 1_001);
            let text = tagged(tag, step, exchange);
            assert_eq!(reader.read(Encoding::Json, &text), Encoding::Json.decode(&text));
            assert_eq!(finder.find(Encoding::Json, &text), borrowed_answer_ids(Encoding::Json, &text));
            let cut = &text[..text.len() - 1];
            assert_eq!(reader.read(Encoding::Json, cut), Encoding::Json.decode(cut));
            assert_eq!(finder.find(Encoding::Json, cut), borrowed_answer_ids(Encoding::Json, cut));
        }
    }

    #[test]
    fn an_answer_is_kept_soon_and_one_that_never_recurs_seldom() {
        let (mut reader, mut finder) = (AnswerReader::default(), IdFinder::default());
        for id in 0..3 {
            assert!(reader.read(Encoding::Json, &tagged(0, id, Some(9))).is_ok());
            assert!(finder.find(Encoding::Json, &tagged(0, id, Some(9))).is_ok());
        }
        assert!(
            reader.like.kept.is_some() && reader.like.misses.0 == 0,
            "the second and third were like the first"
        );
        assert!(finder.like.kept.is_some() && finder.like.misses.0 == 0, "and so were their ids' places");
        // Of a hundred that differ the sixty-fourth was the last to be kept.
        let (mut reader, mut finder) = (AnswerReader::default(), IdFinder::default());
        for tag in 1..=100 {
            assert!(reader.read(Encoding::Json, &tagged(tag, tag, None)).is_ok());
            assert!(finder.find(Encoding::Json, &tagged(tag, tag, None)).is_ok());
        }
        for pattern in
            [reader.like.kept.map(|kept| kept.0), finder.like.kept.map(|kept| kept.0)].map(Option::unwrap)
        {
            assert!(pattern.find(&tagged(64, 7, None)).is_some());
            assert!(pattern.find(&tagged(100, 7, None)).is_none());
        }
        let mut misses = Misses::default();
        assert_eq!((0..256).filter(|_| misses.count()).count(), 8);
    }

    #[test]
    fn other_encodings_are_read_as_they_were() {
        if !Encoding::MessagePack.is_supported() {
            return;
        }
        let mut reader = AnswerReader::default();
        let mut finder = IdFinder::default();
        for encoding in [Encoding::Json, Encoding::MessagePack, Encoding::Json, Encoding::MessagePackText] {
            let mut answer = Answer::allow();
            answer.audit.set_ids(&"c".into(), Some(1));
            let mut text = Vec::new();
            encoding.encode(&answer, &mut text).unwrap();
            assert_eq!(reader.read(encoding, &text), Ok(answer));
            assert_eq!(finder.find(encoding, &text), borrowed_answer_ids(encoding, &text));
        }
    }
}
