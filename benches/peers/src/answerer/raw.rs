//! A raw agent: no library, no parser, a thread for each connection. It finds an event's id among
//! its bytes, puts it into an answer made beforehand, and writes all answers of a read at once.

use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use memchr::memchr;
use memchr::memmem::Finder;

use super::AGENT_ID;
use crate::target::{PATIENCE, Place};

const HANDSHAKE_REQUEST: u8 = 0x01;
const HANDSHAKE_RESPONSE: u8 = 0x02;
const REQUEST_HEADERS: u8 = 0x10;
const AGENT_RESPONSE: u8 = 0x20;
const PING: u8 = 0x41;
const PONG: u8 = 0x42;

#[path = "../../../common/answers.rs"]
#[allow(dead_code, reason = "other benches use the rest")]
mod common;

use common::{BEFORE, BEHIND};

/// Dials, registers and answers on every connection, until the proxy hangs up.
pub fn run(place: &Place) -> Result<(), String> {
    let mut threads = Vec::new();
    for _ in 0..place.connections {
        let mut stream =
            dial(&place.socket).map_err(|error| format!("the proxy can't be dialled: {error}"))?;
        register(&mut stream).map_err(|error| format!("the registration failed: {error}"))?;
        // The published peer loses some of an agent's first connections if they come at once.
        thread::sleep(Duration::from_millis(20));
        threads.push(thread::spawn(move || serve(stream)));
    }
    for thread in threads {
        let end = thread.join().map_err(|_| "a connection's thread panicked")?;
        end.map_err(|error| format!("a connection failed: {error}"))?;
    }
    Ok(())
}

/// The proxy may not listen yet.
fn dial(socket: &Path) -> io::Result<UnixStream> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match UnixStream::connect(socket) {
            Ok(stream) => return Ok(stream),
            Err(error) if Instant::now() > deadline => return Err(error),
            Err(_) => thread::sleep(Duration::from_millis(10)),
        }
    }
}

fn register(stream: &mut UnixStream) -> io::Result<()> {
    let mut output = Vec::new();
    frame(&mut output, HANDSHAKE_REQUEST, &[registration().as_bytes()]);
    stream.write_all(&output)?;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut response = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut response)?;
    match response.strip_prefix(&[HANDSHAKE_RESPONSE]) {
        Some(payload) if payload.starts_with(br#"{"success":true"#) => Ok(()),
        _ => Err(io::Error::other(String::from_utf8_lossy(&response))),
    }
}

fn serve(mut stream: UnixStream) -> io::Result<()> {
    let mut output = Vec::new();
    let mut input = vec![0; 64 << 10];
    let mut filled = 0;
    let id = Finder::new(br#""correlation_id":""#);
    loop {
        if filled == input.len() {
            input.resize(2 * filled, 0);
        }
        match stream.read(&mut input[filled..]) {
            Ok(0) => return Ok(()),
            Ok(count) => filled += count,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(()),
            Err(error) => return Err(error),
        }
        output.clear();
        let mut rest = &input[..filled];
        while let Some((length, behind)) = rest.split_first_chunk::<4>() {
            let Some((whole, next)) = behind.split_at_checked(u32::from_be_bytes(*length) as usize) else {
                break;
            };
            react(whole, &id, &mut output)?;
            rest = next;
        }
        let left = rest.len();
        input.copy_within(filled - left..filled, 0);
        filled = left;
        match stream.write_all(&output) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

fn react(whole: &[u8], id: &Finder<'_>, output: &mut Vec<u8>) -> io::Result<()> {
    let Some((kind, payload)) = whole.split_first() else { return Err(io::Error::other("an empty frame")) };
    match *kind {
        REQUEST_HEADERS => {
            let start = id.find(payload).ok_or_else(|| io::Error::other("an event without an id"))?;
            let text = &payload[start + id.needle().len()..];
            let end = memchr(b'"', text).ok_or_else(|| io::Error::other("an id without an end"))?;
            frame(output, AGENT_RESPONSE, &[BEFORE.as_bytes(), &text[..end], BEHIND.as_bytes()]);
        }
        PING => frame(output, PONG, &[payload]),
        _ => {}
    }
    Ok(())
}

fn frame(out: &mut Vec<u8>, kind: u8, pieces: &[&[u8]]) {
    let length = pieces.iter().map(|piece| piece.len()).sum::<usize>() + 1;
    out.extend_from_slice(&u32::try_from(length).expect("a frame's length").to_be_bytes());
    out.push(kind);
    pieces.iter().for_each(|piece| out.extend_from_slice(piece));
}

fn registration() -> String {
    let features = r#""streaming_body":true,"websocket":true,"guardrails":true,"config_push":true,"metrics_export":true,"concurrent_requests":0,"cancellation":true,"flow_control":true,"health_reporting":true"#;
    let limits = r#""max_body_size":1048576,"max_concurrency":0,"preferred_chunk_size":65536"#;
    format!(
        r#"{{"protocol_version":2,"agent_id":"{AGENT_ID}","capabilities":{{"agent_id":"{AGENT_ID}","name":"raw","version":"1","supported_events":[1,2],"features":{{{features}}},"limits":{{{limits}}}}},"auth_token":null,"metadata":null}}"#
    )
}
