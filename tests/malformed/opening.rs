//! Bad handshakes.

use super::row::*;

/// Every row about a handshake.
pub fn rows() -> Vec<Row> {
    [not_a_registration(), slow(), unreadable(), judged(), tolerated(), forward(), responses(), dialled()]
        .concat()
}

fn refused(name: &'static str, bytes: Vec<u8>, words: &'static str) -> Row {
    Row::new(Receiver::ProxyUnregistered, name, bytes, Outcome::Refused(words))
}

fn closed(name: &'static str, bytes: Vec<u8>, words: &'static str) -> Row {
    Row::new(Receiver::ProxyUnregistered, name, bytes, Outcome::Closed(words))
}

const TLS_CLIENT_HELLO: &[u8] =
    b"\x16\x03\x01\x00\xc4\x01\x00\x00\xc0\x03\x03\x5f\x5f\x5f\x5f\x00\x00\x02\x13\x01\x01\x00\x00\x00";
const HTTP_REQUEST: &[u8] = b"GET /agents HTTP/1.1\r\nHost: proxy\r\nUser-Agent: curl/8\r\n\r\n";
const GO_REGISTRATION: &str =
    r#"{"agent_id":"go-1","capabilities":{"handles_request_headers":true,"handles_request_body":false}}"#;

fn not_a_registration() -> Vec<Row> {
    let first = "type 0x";
    let elixir = registration();
    Vec::from([
        refused("a frame of length 0", Vec::from([0; 4]), "length 0"),
        refused("a length over 16 MiB", Vec::from([1, 0, 0, 1, 1]), "16777217"),
        refused("a length of 4 GiB", Vec::from([0xff; 4]), "4294967295"),
        refused("a length one over 64 KiB", Vec::from([0, 1, 0, 1, 1]), "at most 65536"),
        refused("an HTTP request", HTTP_REQUEST.into(), "at most 65536"),
        refused("a TLS ClientHello", TLS_CLIENT_HELLO.into(), "at most 65536"),
        refused("a registration in the Go dialect, type 0x03", frame(3, GO_REGISTRATION), "Go SDK"),
        refused(
            "a registration with `handles_...` booleans under type 0x01",
            frame(
                1,
                r#"{"protocol_version":2,"agent_id":"go-1","capabilities":{"handles_request_headers":true}}"#,
            ),
            "Go SDK",
        ),
        refused(
            "the same without what v2 demands",
            frame(1, r#"{"capabilities":{"handles_request_headers":true}}"#),
            "Go SDK",
        ),
        refused(
            "a registration in the Elixir dialect, no type byte",
            frame(elixir.as_bytes()[0], &elixir[1..]),
            "Elixir SDK",
        ),
        refused("a handshake response", frame(2, r#"{"success":true}"#), first),
        refused("an event", frame(0x10, headers_event("one")), first),
        refused("an answer", frame(0x20, answer("one")), first),
        refused("a ping", frame(0x41, r#"{"sequence":1}"#), first),
        refused("flow control", frame(0x33, r#"{"action":1}"#), first),
        refused("type 0x00", frame(0, ""), "type 0x00"),
        refused("type 0x03 without an object", frame(3, "x"), "type 0x03"),
        refused("type 0x7f", frame(0x7f, "?"), "type 0x7f"),
        refused("type 0xff", frame(0xff, ""), "type 0xff"),
        closed(
            "a second registration behind the first",
            [frame(1, registration()), frame(1, registration())].concat(),
            "second handshake",
        ),
    ])
}

fn slow() -> Vec<Row> {
    let whole = frame(1, registration());
    let half = Vec::from(&whole[..whole.len() / 2]);
    let drip = whole.chunks(1).take(5).flat_map(|byte| [Act::Send(byte.to_vec()), Act::Breath]);
    let drip: Vec<Act> = drip.collect();
    Vec::from([
        closed("the end of the stream at once", Vec::new(), "ended the stream").acts([Act::End]),
        closed("half a header, then the end", Vec::from([0, 0]), "ended the stream").then(Act::End),
        closed(
            "64 KiB announced and one byte sent, then the end",
            Vec::from([0, 1, 0, 0, 1, b'{']),
            "ended the",
        )
        .then(Act::End),
        closed("half a registration, then the end", half.clone(), "ended the stream").then(Act::End),
        refused("silence", Vec::new(), "not completed within").acts([Act::Silence]),
        refused("half a header, then silence", Vec::from([0, 0]), "not completed within").then(Act::Silence),
        refused("half a registration, then silence", half, "not completed within").then(Act::Silence),
        refused("a registration dripping in byte by byte", Vec::new(), "not completed within").acts(drip),
    ])
}

fn unreadable() -> Vec<Row> {
    let refused = |name, json: &[u8], words| refused(name, frame(1, json), words);
    let with = |field: &str| registration_with(field).into_bytes();
    let in_place = |old: &str, new: &str| registration().replace(old, new).into_bytes();
    let id = r#""raw-1""#;
    let version = r#""protocol_version":2"#;
    let invalid_utf8 = [b"{\"protocol_version\":2,\"agent_id\":\"".as_slice(), b"\xff\xfe", b"\"}"].concat();
    let trailing = [registration().as_bytes(), b"garbage"].concat();
    let bom = [b"\xef\xbb\xbf", registration().as_bytes()].concat();
    let deep = format!(r#","metadata":{}{}"#, "[".repeat(10_000), "]".repeat(10_000));
    Vec::from([
        refused("a registration without a payload", b"", "EOF while parsing"),
        refused("a registration that is no JSON", b"hello", "expected value"),
        refused("a registration cut short", b"{\"protocol_version\":2,", "EOF while parsing"),
        refused("a registration that is `null`", b"null", "invalid type: null"),
        refused("a registration that is a number", b"2", "invalid type: integer"),
        refused("a registration that is a string", b"\"raw-1\"", "invalid type: string"),
        refused("a registration that is an empty array", b"[]", "JSON object"),
        refused("a registration that is an array of its fields", POSITIONAL.as_bytes(), "JSON object"),
        refused("an empty object", b"{}", "missing field `protocol_version`"),
        refused("no `agent_id`", &in_place(r#""agent_id":"raw-1","#, ""), "missing field `agent_id`"),
        refused("no `capabilities`", br#"{"protocol_version":2,"agent_id":"raw-1"}"#, "`capabilities`"),
        refused("an `agent_id` that is a number", &in_place(id, "7"), "expected a string"),
        refused("an `agent_id` that is `null`", &in_place(id, "null"), "expected a string"),
        refused("`protocol_version` as a string", &in_place(version, r#""protocol_version":"2""#), "u32"),
        refused("`protocol_version` 2.0", &in_place(version, r#""protocol_version":2.0"#), "u32"),
        refused("`protocol_version` -1", &in_place(version, r#""protocol_version":-1"#), "u32"),
        refused("`protocol_version` 2^32 + 2", &in_place(version, r#""protocol_version":4294967298"#), "u32"),
        refused("`protocol_version` NaN", &in_place(version, r#""protocol_version":NaN"#), "expected value"),
        refused(
            "`supported_events` as a string",
            &in_place("[1,2,3,4,5,6,7,8]", r#""all""#),
            "expected a sequence",
        ),
        refused("`features` as a string", &in_place(r#"{"cancellation":true}"#, r#""all""#), "invalid type"),
        refused("a token that is a number", &with(r#","auth_token":12345"#), "token must be a string"),
        refused("a field that stands twice", &with(r#","agent_id":"raw-2""#), "duplicate field `agent_id`"),
        refused("an id that is not UTF-8", &invalid_utf8, "invalid unicode"),
        refused("a lone surrogate in the id", &in_place(id, r#""raw-\ud800""#), "hex escape"),
        refused(
            "a control character in the id, unescaped",
            &in_place(id, "\"raw-\u{1}\""),
            "control character",
        ),
        refused("metadata nested 10,000 deep", &with(&deep), "recursion limit"),
        refused("a number beyond all bounds", &with(r#","metadata":1e999"#), "number out of range"),
        refused("trailing garbage", &trailing, "trailing characters"),
        refused("a byte order mark", &bom, "expected value"),
    ])
}

const POSITIONAL: &str = r#"[2,"raw-1",{"supported_events":[1]},null,null,[]]"#;

fn judged() -> Vec<Row> {
    let refused = |name, json: String, words| refused(name, frame(1, json), words);
    let named = |id: &str| registration().replace("\"raw-1\"", &format!("\"{id}\""));
    let versioned = |version: &str| registration().replace("version\":2", &format!("version\":{version}"));
    let token = |token: &str| registration_with(&format!(r#","auth_token":{token}"#));
    let unauthorized = "a valid auth_token";
    Vec::from([
        refused("version 1", versioned("1"), "version 1 is not spoken"),
        refused("version 99", versioned("99"), "version 99 is not spoken"),
        refused("version 0", versioned("0"), "version 0 is not spoken"),
        refused("an empty id", named(""), "id is empty"),
        refused("an id of 129 bytes", named(&"a".repeat(129)), "129 bytes"),
        refused("an id of 60,000 bytes", named(&"a".repeat(60_000)), "60000 bytes"),
        refused("a newline in the id", named(r"raw\n1"), "at byte 3"),
        refused("a NUL in the id", named(r"raw\u0000"), "at byte 3"),
        refused("a blank in the id", named("raw 1"), "at byte 3"),
        refused("an id that is not ASCII", named("räw"), "at byte 1"),
        refused("no token where one is demanded", registration(), unauthorized).under(Rules::Tokens),
        refused("a `null` token", token("null"), unauthorized).under(Rules::Tokens),
        refused("an empty token", token(r#""""#), unauthorized).under(Rules::Tokens),
        refused("a wrong token", token(r#""tok-wrong""#), unauthorized).under(Rules::Tokens),
        refused("the right token and more", token(r#""tok-right ""#), unauthorized).under(Rules::Tokens),
        refused("another agent's token", token(r#""tok-theirs""#), unauthorized).under(Rules::Tokens),
        refused("an id that is not on the list", registration(), "not on the proxy's list")
            .under(Rules::List),
        refused("the same, and a wrong token", token(r#""tok-wrong""#), unauthorized)
            .under(Rules::ListAndTokens),
        refused("the same, and the right token", token(r#""tok-right""#), "not on the proxy's list")
            .under(Rules::ListAndTokens),
    ])
}

fn tolerated() -> Vec<Row> {
    let taken = |name, json: String, words| {
        Row::new(Receiver::ProxyUnregistered, name, frame(1, json), Outcome::Taken(words))
    };
    let metadata = format!(r#","metadata":"{}""#, "m".repeat(60_000));
    Vec::from([
        taken(
            "encodings nobody knows",
            registration_with(r#","supported_encodings":["cbor","","xml"]"#),
            "registered, JSON",
        ),
        taken("60,000 bytes of metadata", registration_with(&metadata), "registered"),
        taken(
            "fields nobody knows",
            registration_with(r#","x":[[[[]]]],"y":{"z":null}"#),
            "registered, they are ignored",
        ),
        taken(
            "the last id allowed, 128 bytes",
            registration().replace("raw-1", &"a".repeat(128)),
            "registered",
        ),
        taken(
            "events of numbers nobody knows",
            registration().replace("8]", "8,0,-1,99,9999999999]"),
            "registered, they are ignored",
        ),
        taken("a token nobody asked for", registration_with(r#","auth_token":"t""#), "registered"),
    ])
}

fn forward() -> Vec<Row> {
    let to = Receiver::ProxyDialling;
    let closed = |name, bytes: Vec<u8>, words| Row::new(to, name, bytes, Outcome::Closed(words));
    let caps = r#""capabilities":{"supported_events":[1,2]}"#;
    let yes = format!(r#"{{"protocol_version":2,"success":true,{caps}}}"#);
    let answer = |json: &str| frame(2, json);
    Vec::from([
        closed("no, and why", answer(r#"{"success":false,"error":"busy"}"#), "refused the handshake: busy"),
        closed("no, without a word", answer(r#"{"success":false}"#), "no reason given"),
        closed("an answer that is no JSON", answer("yes"), "can't be read"),
        closed("an answer without a payload", answer(""), "can't be read"),
        closed("no `success`", answer("{}"), "missing field `success`"),
        closed("`success` as a string", answer(r#"{"success":"true"}"#), "expected a boolean"),
        closed(
            "version 3",
            answer(r#"{"protocol_version":3,"success":true}"#),
            "protocol version 3, which was not offered",
        ),
        closed("no version", answer(r#"{"success":true}"#), "protocol version 0, which was not offered"),
        closed(
            "an encoding that was not offered",
            answer(&yes.replace("true,", r#"true,"encoding":"msgpack","#)),
            "which was not offered",
        ),
        closed(
            "an encoding nobody knows",
            answer(&yes.replace("true,", r#"true,"encoding":"cbor","#)),
            "unknown variant `cbor`",
        ),
        closed("the answer twice", [answer(&yes), answer(&yes)].concat(), "second handshake"),
        closed("a registration", frame(1, registration()), "the first frame has type 0x01"),
        closed("an answer to an event", frame(0x20, r#"{"decision":"allow"}"#), "type 0x20"),
        closed("a frame of length 0", Vec::from([0; 4]), "length 0"),
        closed("a length over 64 KiB", Vec::from([0, 2, 0, 0, 2]), "at most 65536"),
        closed("JSON without a type byte", frame(b'{', r#""success":true}"#), "Elixir SDK"),
        closed("half an answer, then the end", Vec::from([0, 0, 0, 9, 2]), "ended the stream").then(Act::End),
        closed("half an answer, then silence", Vec::from([0, 0, 0, 9, 2]), "not completed within")
            .then(Act::Silence),
    ])
}

fn responses() -> Vec<Row> {
    let to = Receiver::AgentUnanswered;
    let closed = |name, bytes: Vec<u8>, words| Row::new(to, name, bytes, Outcome::Closed(words));
    let response = |json: &str| frame(2, json);
    let yes = r#"{"success":true,"error":null,"proxy_id":"p","proxy_version":"1","connection_id":"c"}"#;
    Vec::from([
        closed("no, and why", response(r#"{"success":false,"error":"full"}"#), "refused the handshake: full"),
        closed("no, without a word", response(r#"{"success":false}"#), "no reason given"),
        closed("no, and `null`", response(r#"{"success":false,"error":null}"#), "no reason given"),
        closed("a response that is no JSON", response("welcome"), "can't be read"),
        closed("a response without a payload", response(""), "can't be read"),
        closed("a response that is an array", response("[]"), "can't be read"),
        closed("no `success`", response(r#"{"error":null}"#), "missing field `success`"),
        closed("`success` as a number", response(r#"{"success":1}"#), "expected a boolean"),
        closed(
            "an encoding that was not offered",
            response(r#"{"success":true,"encoding":"msgpack"}"#),
            "which was not offered",
        ),
        closed(
            "an encoding nobody knows",
            response(r#"{"success":true,"encoding":"cbor"}"#),
            "unknown variant `cbor`",
        ),
        closed("the response twice", [response(yes), response(yes)].concat(), "second handshake"),
        closed("an event before the response", frame(0x10, headers_event("one")), "type 0x10"),
        closed("a ping before the response", frame(0x41, "{}"), "type 0x41"),
        closed("a cancel before the response", frame(0x40, r#"{"correlation_id":"one"}"#), "type 0x40"),
        closed("a handshake request", frame(1, r#"{"supported_versions":[2]}"#), "type 0x01"),
        closed("type 0x7f", frame(0x7f, "?"), "type 0x7f"),
        closed("a frame of length 0", Vec::from([0; 4]), "length 0"),
        closed("a length over 64 KiB", Vec::from([0, 1, 0, 1, 2]), "at most 65536"),
        closed("an HTTP response", b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), "at most 65536"),
        closed("the end of the stream at once", Vec::new(), "ended the stream").acts([Act::End]),
        closed("half a response, then the end", Vec::from([0, 0, 0, 9, 2]), "ended the stream")
            .then(Act::End),
        closed("half a response, then silence", Vec::from([0, 0, 0, 9, 2]), "not completed within")
            .then(Act::Silence),
    ])
}

fn dialled() -> Vec<Row> {
    let to = Receiver::AgentDialled;
    let refused = |name, bytes: Vec<u8>, words| Row::new(to, name, bytes, Outcome::Refused(words));
    Vec::from([
        refused("a request that is no JSON", frame(1, "hello"), "expected value"),
        refused("a request without a payload", frame(1, ""), "EOF while parsing"),
        refused("no `supported_versions`", frame(1, "{}"), "missing field `supported_versions`"),
        refused("`supported_versions` as a number", frame(1, r#"{"supported_versions":2}"#), "a sequence"),
        refused("an event", frame(0x10, headers_event("one")), "type 0x10"),
        refused("a handshake response", frame(2, r#"{"success":true}"#), "type 0x02"),
        refused("type 0xff", frame(0xff, ""), "type 0xff"),
        refused("a frame of length 0", Vec::from([0; 4]), "length 0"),
        refused("a length over 64 KiB", Vec::from([0, 1, 0, 1, 1]), "at most 65536"),
        refused("an HTTP request", HTTP_REQUEST.into(), "at most 65536"),
        refused("silence", Vec::new(), "not completed within").acts([Act::Silence]),
        Row::new(
            to,
            "half a request, then the end",
            Vec::from([0, 0, 0, 9, 1]),
            Outcome::Closed("ended the"),
        )
        .then(Act::End),
        Row::new(
            to,
            "the request twice",
            [frame(1, r#"{"supported_versions":[2]}"#), frame(1, r#"{"supported_versions":[2]}"#)].concat(),
            Outcome::Closed("second handshake"),
        ),
        Row::new(
            to,
            "encodings nobody knows",
            frame(1, r#"{"supported_versions":[2],"supported_encodings":["cbor"]}"#),
            Outcome::Taken("open, JSON"),
        ),
    ])
}
