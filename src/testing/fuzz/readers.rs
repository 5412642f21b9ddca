//! Every message's lenient reader: what it has read it can write, and reads again as the same (P10, P11).

use alloc::format;
use alloc::vec::Vec;
use core::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::wire::{
    Answer, Cancel, ConfigUpdateRequest, Configure, Encoding, FlowControl, ForwardRequest, ForwardResponse,
    GuardrailInspect, HealthStatus, MetricsReport, Ping, Registration, RegistrationResponse,
    RequestBodyChunk, RequestComplete, RequestHeaders, ResponseBodyChunk, ResponseHeaders, WebSocketFrame,
    recognise,
};

use super::input::Input;
use super::payload::payload;
use super::{Outcome, ensure};

/// The longest error text that a reader may give.
const MOST_TEXT: usize = 400;

/// One payload to one reader.
///
/// # Errors
/// When what was read can't be written, or is read as something else.
pub fn readers(data: &[u8]) -> Outcome {
    let mut input = Input::new(data);
    let which = input.below(18);
    let encoding = match input.byte() & 3 {
        0 | 1 => Encoding::Json,
        2 => Encoding::MessagePack,
        _ => Encoding::MessagePackText,
    };
    if !encoding.is_supported() {
        return Ok(());
    }
    let bytes = payload(&mut input, encoding);
    let fixed_point = match which {
        0 => fixed_point::<Answer>,
        1 => fixed_point::<Cancel>,
        2 => fixed_point::<FlowControl>,
        3 => fixed_point::<Ping>,
        4 => fixed_point::<HealthStatus>,
        5 => fixed_point::<MetricsReport>,
        6 => fixed_point::<ConfigUpdateRequest>,
        7 => fixed_point::<RequestHeaders>,
        8 => fixed_point::<RequestBodyChunk>,
        9 => fixed_point::<ResponseHeaders>,
        10 => fixed_point::<ResponseBodyChunk>,
        11 => fixed_point::<RequestComplete>,
        12 => fixed_point::<WebSocketFrame>,
        13 => fixed_point::<GuardrailInspect>,
        14 => fixed_point::<Configure>,
        15 => return handshakes(&bytes),
        16 => fixed_point::<Registration>,
        _ => fixed_point::<RegistrationResponse>,
    };
    fixed_point(encoding, &bytes)
}

/// The messages that are always JSON, and the dialects that are told apart from them.
fn handshakes(bytes: &[u8]) -> Outcome {
    let told = recognise(bytes);
    ensure(told.is_none_or(|dialect| !dialect.refusal().is_empty()), || format!("{told:?} without a word"))?;
    fixed_point::<ForwardRequest>(Encoding::Json, bytes)?;
    fixed_point::<ForwardResponse>(Encoding::Json, bytes)
}

/// Reading, writing, reading and writing: the two writings are one, and so are the two messages.
fn fixed_point<T>(encoding: Encoding, bytes: &[u8]) -> Outcome
where
    T: Serialize + DeserializeOwned + PartialEq + Debug,
{
    let name = core::any::type_name::<T>();
    let message = match encoding.decode::<T>(bytes) {
        Ok(message) => message,
        Err(error) => {
            let length = error.message().len();
            let printable = !error.message().contains(char::is_control);
            return ensure(length < MOST_TEXT && printable, || format!("{name}: an error of {length} bytes"));
        }
    };
    let written = write(encoding, &message)?;
    let again = match encoding.decode::<T>(&written) {
        Ok(again) => {
            ensure(again == message || is_told_short(&message), || {
                format!("{name}, {encoding:?}: {message:?} became {again:?}")
            })?;
            write(encoding, &again)?
        }
        Err(error) => return ensure(false, || format!("{name}, {encoding:?}: {error}: {}", shown(&written))),
    };
    ensure(written == again, || {
        format!("{name}, {encoding:?}: {} became {}", shown(&written), shown(&again))
    })?;
    if encoding == Encoding::Json {
        with_unknown_field::<T>(written)?;
    }
    Ok(())
}

/// Whether a message can't come back as it was: it has a number that is none, which is not equal to
/// itself and has no form in JSON, or a health state with details, which deployed peers can't read.
fn is_told_short<T: Debug>(message: &T) -> bool {
    let text = format!("{message:?}");
    text.contains("NaN") || text.contains("inf") || text.starts_with("HealthStatus")
}

/// One more field, of a name that nobody knows, changes nothing.
fn with_unknown_field<T: Serialize + DeserializeOwned>(written: Vec<u8>) -> Outcome {
    let Some(open) = written.strip_suffix(b"}") else { return Ok(()) };
    let comma = if open.ends_with(b"{") { "" } else { "," };
    let extended = [open, comma.as_bytes(), br#""zz":[{"decision":null}]}"#].concat();
    let read = Encoding::Json.decode::<T>(&extended);
    let name = core::any::type_name::<T>();
    match read {
        Ok(read) => {
            let again = write(Encoding::Json, &read)?;
            ensure(again == written, || format!("{name}: an unknown field made {}", shown(&again)))
        }
        Err(error) => ensure(false, || format!("{name}: an unknown field: {error}")),
    }
}

fn write<T: Serialize>(encoding: Encoding, message: &T) -> Result<Vec<u8>, super::Failure> {
    let mut out = Vec::new();
    match encoding.encode(message, &mut out) {
        Ok(()) => Ok(out),
        Err(error) => {
            let name = core::any::type_name::<T>();
            Err(super::Failure(format!("{name} was read in {encoding:?} and can't be written: {error}")))
        }
    }
}

fn shown(bytes: &[u8]) -> alloc::borrow::Cow<'_, str> {
    alloc::string::String::from_utf8_lossy(bytes)
}
