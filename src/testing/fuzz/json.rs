//! The quick reading and writing of JSON, against `serde_json` (P10).

use alloc::format;
use alloc::string::String;

use crate::testing::json::{alike, all_kinds_alike, in_a_row, read_alike};
use crate::wire::{
    Answer, Cancel, ConfigUpdateRequest, Configure, Encoding, FlowControl, ForwardRequest, ForwardResponse,
    GuardrailInspect, HealthStatus, MetricsReport, Ping, Registration, RegistrationResponse,
    RequestBodyChunk, RequestComplete, RequestHeaders, ResponseBodyChunk, ResponseHeaders, WebSocketFrame,
    ids,
};

use super::input::Input;
use super::payload::payload;
use super::{Failure, Outcome};

/// One payload to one reader, and what it read to the writer.
///
/// # Errors
/// When `serde_json` reads or writes another thing, or refuses it with another error.
pub fn json(data: &[u8]) -> Outcome {
    let mut input = Input::new(data);
    let which = input.below(25);
    if which == NEIGHBOURS {
        return neighbours(&mut input).map_err(Failure);
    }
    let bytes = payload(&mut input, Encoding::Json);
    let compared = match which {
        0 => alike::<Answer>(&bytes),
        1 => alike::<RequestHeaders>(&bytes),
        2 => alike::<RequestBodyChunk>(&bytes),
        3 => alike::<ResponseHeaders>(&bytes),
        4 => alike::<ResponseBodyChunk>(&bytes),
        5 => alike::<RequestComplete>(&bytes),
        6 => alike::<WebSocketFrame>(&bytes),
        7 => alike::<GuardrailInspect>(&bytes),
        8 => alike::<Configure>(&bytes),
        9 => alike::<Cancel>(&bytes),
        10 => alike::<FlowControl>(&bytes),
        11 => alike::<HealthStatus>(&bytes),
        12 => alike::<ConfigUpdateRequest>(&bytes),
        13 => alike::<Ping>(&bytes),
        14 => alike::<Registration>(&bytes),
        15 => alike::<RegistrationResponse>(&bytes),
        16 => alike::<ForwardRequest>(&bytes),
        17 => alike::<ForwardResponse>(&bytes),
        18 => alike::<MetricsReport>(&bytes).or_else(|found| excuse(found, &bytes)),
        19 => ids_alike::<ids::Answer<'_>>(&bytes, ids::OF_AN_ANSWER, |ids| &ids.0),
        20 => ids_alike::<ids::Event<'_>>(&bytes, ids::OF_AN_EVENT, |ids| &ids.0),
        _ => all_kinds_alike(&bytes).map(|read| read > 0),
    };
    compared.map(|_| ()).map_err(Failure)
}

/// The choice of [`neighbours`], the last there is.
const NEIGHBOURS: usize = 24;

/// An answer, then one that differs in what stands in one place, then the first again.
fn neighbours(input: &mut Input<'_>) -> Result<(), String> {
    let (place, length, put) = (input.number(), input.below(8), input.piece());
    let answer = payload(input, Encoding::Json);
    let place = usize::try_from(place.checked_rem(answer.len() as u64).unwrap_or(0)).unwrap_or(0);
    let (before, rest) = answer.split_at(place);
    let other = [before, put, rest.get(length..).unwrap_or_default()].concat();
    in_a_row([&answer, &other, &answer, &other].map(|text| text.as_slice()))
}

/// A number that is none is not equal to itself.
fn excuse(found: String, bytes: &[u8]) -> Result<bool, String> {
    let read = |read: Option<MetricsReport>| read.map(|report| format!("{report:?}"));
    let quick = read(crate::wire::json::read_plain(bytes));
    let right = read(serde_json::from_slice(bytes).ok());
    if found.contains("NaN") && (quick.is_none() || quick == right) { Ok(false) } else { Err(found) }
}

/// The ids by the reader that decoders use, and by the search for them.
fn ids_alike<'a, T>(bytes: &'a [u8], path: &[&str], of: fn(&T) -> &ids::Found<'a>) -> Result<bool, String>
where
    T: serde::Deserialize<'a> + PartialEq + core::fmt::Debug,
{
    read_alike::<T>(bytes)?;
    let Some(found) = crate::wire::json::find_ids(bytes, path) else { return Ok(false) };
    let right = serde_json::from_slice::<T>(bytes);
    let alike = right.as_ref().is_ok_and(|right| *of(right) == found);
    if alike { Ok(true) } else { Err(format!("{found:?} was found, and should be {right:?}")) }
}
