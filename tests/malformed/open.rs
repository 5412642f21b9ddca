//! Bad input on open connections.

use super::row::*;

/// Every row about an open connection.
pub fn rows() -> Vec<Row> {
    [frames(), answers(), exact(), control(), reports(), agent_frames(), events(), agent_control()].concat()
}

fn to_proxy(name: &'static str, bytes: Vec<u8>, gets: Outcome) -> Row {
    Row::new(Receiver::ProxyOpen, name, bytes, gets)
}

fn to_agent(name: &'static str, bytes: Vec<u8>, gets: Outcome) -> Row {
    Row::new(Receiver::AgentOpen, name, bytes, gets)
}

const UNKNOWN: Outcome = Outcome::Dropped(Counter::Unknown);
const UNREADABLE: Outcome = Outcome::Dropped(Counter::Unreadable);
const STRAY: Outcome = Outcome::Dropped(Counter::Stray);

/// A frame that never ends: byte by byte, slow, but never so silent that a ping is due.
fn dripping(kind: u8) -> Vec<Act> {
    let whole = frame(kind, [b' '; 40]);
    whole.chunks(1).take(20).flat_map(|byte| [Act::Send(byte.to_vec()), Act::Breath]).collect()
}

fn either(to: Receiver, kind: u8) -> Vec<Row> {
    let row = |name, bytes: Vec<u8>, gets| Row::new(to, name, bytes, gets);
    let closed = |name, bytes: Vec<u8>, words| row(name, bytes, Outcome::Closed(words));
    let half = Vec::from([0, 0, 0, 40, kind, b'{']);
    let ping = |size: usize| frame(0x41, "p".repeat(size));
    Vec::from([
        closed("a frame of length 0", Vec::from([0; 4]), "length 0"),
        closed("a length one over 16 MiB", Vec::from([1, 0, 0, 1, kind]), "at most 16777216"),
        closed("an HTTP request", b"GET / HTTP/1.1\r\n\r\n".to_vec(), "at most 16777216"),
        closed("the end of the stream", Vec::new(), "ended the stream").acts([Act::End]),
        closed("half a frame, then the end", half.clone(), "ended the stream").then(Act::End),
        closed(
            "16 MiB announced and one byte sent, then the end",
            Vec::from([1, 0, 0, 0, kind, b'{']),
            "ended the stream",
        )
        .then(Act::End),
        // A proxy that has answered no ping may be one that answers none; the frame's own limit holds all the same.
        closed(
            "half a frame, then silence",
            half,
            if to == Receiver::AgentOpen { "not finished in time" } else { "nothing heard" },
        )
        .then(Act::Silence),
        closed("a frame dripping in byte by byte", Vec::new(), "not finished in time").acts(dripping(kind)),
        closed("a second registration", frame(1, registration()), "second handshake"),
        closed("a handshake request that is no JSON", frame(1, "?"), "second handshake"),
        closed(
            "a handshake response",
            frame(2, r#"{"success":false,"error":"go away"}"#),
            "second handshake",
        ),
        row("type 0x00", frame(0, ""), UNKNOWN),
        row("type 0x03", frame(3, r#"{"agent_id":"go"}"#), UNKNOWN),
        row("type 0x7f", frame(0x7f, [0xff; 64]), UNKNOWN),
        row("type 0xff", frame(0xff, "?"), UNKNOWN),
        closed("a ping of 5,000 bytes", ping(5_000), "5000 bytes; at most 4096"),
        closed("33 pings by a peer that reads nothing", ping(8).repeat(33), "more than 32 pings").deaf(),
        row("32 pings by a peer that reads nothing", ping(8).repeat(32), Outcome::Taken("32 pongs")).deaf(),
        row(
            "a ping that is no JSON",
            frame(0x41, b"\xff\x00"),
            Outcome::Taken("the pong has the same bytes"),
        ),
        row("a ping without a payload", frame(0x41, ""), Outcome::Taken("the pong has none either")),
        row("a pong that nobody asked for", frame(0x42, "?"), Outcome::Taken("nothing follows")),
    ])
}

fn frames() -> Vec<Row> {
    let wrong = |name, kind| to_proxy(name, frame(kind, "{}"), Outcome::Closed("for the other side to send"));
    let mut rows = either(Receiver::ProxyOpen, 0x20);
    rows.extend([
        wrong("an event: request headers", 0x10),
        wrong("an event: request body chunk", 0x11),
        wrong("an event: response headers", 0x12),
        wrong("an event: response body chunk", 0x13),
        wrong("an event: request complete", 0x14),
        wrong("an event: WebSocket frame", 0x15),
        wrong("an event: guardrail inspection", 0x16),
        wrong("an event: configuration", 0x17),
        wrong("a cancel", 0x40),
        to_proxy("a cancel of the Go dialect, type 0xf0", frame(0xf0, "{}"), UNKNOWN),
    ]);
    rows
}

/// Answers on a proxy's connection on which `one`, and `two` twice, await theirs, and `held` is paused.
fn answers() -> Vec<Row> {
    let row = |name, json: &[u8], gets| to_proxy(name, frame(0x20, json), gets);
    let bad = |name, json: String, words| to_proxy(name, frame(0x20, json), Outcome::BadAnswer(words));
    let one = r#""audit":{"custom":{"correlation_id":"one"}}"#;
    let deep = "[".repeat(10_000) + &"]".repeat(10_000);
    let not_utf8 = [br#"{"decision":""#.as_slice(), b"\xff", b"\",", one.as_bytes(), b"}"].concat();
    let not_utf8_id = [br#"{"audit":{"custom":{"correlation_id":""#.as_slice(), b"\xff", b"\"}}}"].concat();
    let surrogate = answer("one").replace("one", r"\udfff");
    let twice = [frame(0x20, answer("one")), frame(0x20, answer("one"))].concat();
    let bodied = |data: &str| {
        answer("one").replace(r#""audit""#, &format!(r#""request_body_mutation":{{"data":{data}}},"audit""#))
    };
    Vec::from([
        row("an answer without a payload", b"", UNREADABLE),
        row("an answer that is no JSON", b"allow", UNREADABLE),
        row("an answer cut short", b"{\"decision\":\"allow\",", UNREADABLE),
        row("an answer that is an array", br#"[2,"allow"]"#, UNREADABLE),
        row("an answer that is `null`", b"null", UNREADABLE),
        row("an answer with garbage behind it", format!("{}!", answer("one")).as_bytes(), UNREADABLE),
        row("an answer whose id is not UTF-8", &not_utf8_id, UNREADABLE),
        row("an answer whose id is a lone surrogate", surrogate.as_bytes(), UNREADABLE),
        row("an answer without ids", br#"{"version":2,"decision":"block"}"#, STRAY),
        row("an answer whose `audit` is a list", br#"{"decision":"allow","audit":["one"]}"#, STRAY),
        row("an answer with a numeric id", answer_with(r#""correlation_id":1"#).as_bytes(), STRAY),
        row("an answer with a `null` id", answer_with(r#""correlation_id":null"#).as_bytes(), STRAY),
        row("an answer with an empty id", answer("").as_bytes(), STRAY),
        row(
            "an answer with its id in the wrong place",
            br#"{"correlation_id":"one","decision":"allow"}"#,
            STRAY,
        ),
        row("an answer to a request nobody asked about", answer("nobody").as_bytes(), STRAY),
        row("an answer to an event that was never sent", answer("held").as_bytes(), STRAY),
        row("an answer with an id of 300 bytes", answer(&"i".repeat(300)).as_bytes(), STRAY),
        to_proxy("an answer twice", twice, STRAY),
        row(
            "an answer that echoes an exchange id unasked",
            answer_with(r#""correlation_id":"one","exchange_id":999"#).as_bytes(),
            Outcome::Taken("the exchange id is ignored"),
        ),
        bad("an answer without a decision", format!("{{{one}}}"), "missing field `decision`"),
        bad(
            "an answer with a decision nobody knows",
            answer("one").replace(r#""allow""#, r#""maybe""#),
            "unknown variant `maybe`",
        ),
        bad(
            "an answer whose decision is `null`",
            answer("one").replace(r#""allow""#, "null"),
            "the payload cannot be read",
        ),
        bad(
            "an answer that blocks with status 99999",
            answer("one").replace(r#""allow""#, r#"{"block":{"status":99999}}"#),
            "u16",
        ),
        bad("an answer whose body is not base64", bodied(r#""%%%""#), "base64"),
        bad("an answer whose base64 lacks its padding", bodied(r#""YWI""#), "base64"),
        bad("an answer whose body is a list of bytes", bodied("[1,2,3]"), "expected body bytes"),
        bad(
            "an answer with a field twice",
            answer("one").replace("{\"v", "{\"version\":2,\"v"),
            "duplicate field",
        ),
        bad(
            "an answer with notes nested 10,000 deep",
            answer_with(&format!(r#""correlation_id":"one","x":{deep}"#)),
            "recursion limit",
        ),
        row("an answer that is not UTF-8 in its decision", &not_utf8, Outcome::BadAnswer("cannot be read")),
    ])
}

/// Answers of an agent that echoes exchange ids: `one` has 1, `two` has 2 and 3.
fn exact() -> Vec<Row> {
    let row = |name, custom: &str, gets| {
        Row::new(Receiver::ProxyExact, name, frame(0x20, answer_with(custom)), gets)
    };
    let twice = frame(0x20, answer_with(r#""correlation_id":"two","exchange_id":2"#)).repeat(2);
    Vec::from([
        row("an answer without an exchange id", r#""correlation_id":"one""#, STRAY),
        row(
            "an answer with an exchange id nobody gave",
            r#""correlation_id":"one","exchange_id":999"#,
            STRAY,
        ),
        row("an answer with the exchange id of an event that waits", r#""exchange_id":4"#, STRAY),
        row(
            "an answer with another request's exchange id",
            r#""correlation_id":"one","exchange_id":2"#,
            STRAY,
        ),
        row("an answer with a negative exchange id", r#""correlation_id":"one","exchange_id":-1"#, STRAY),
        row(
            "an answer with an exchange id as a string",
            r#""correlation_id":"one","exchange_id":"1""#,
            STRAY,
        ),
        row("an answer with exchange id 1.5", r#""correlation_id":"one","exchange_id":1.5"#, STRAY),
        Row::new(Receiver::ProxyExact, "an answer twice", twice, STRAY),
        row(
            "an answer with its exchange id alone",
            r#""exchange_id":1"#,
            Outcome::Taken("the exchange id is enough"),
        ),
    ])
}

fn control() -> Vec<Row> {
    let flow = |name, json: &str, gets| to_proxy(name, frame(0x33, json), gets);
    let pause = |n: usize| frame(0x33, format!(r#"{{"correlation_id":"paused-{n}","action":1}}"#));
    let long = format!(r#"{{"correlation_id":"{}","action":1}}"#, "i".repeat(300));
    Vec::from([
        flow("flow control that is no JSON", "pause", UNREADABLE),
        flow("flow control without an action", "{}", UNREADABLE),
        flow("flow control with action 9", r#"{"action":9}"#, UNREADABLE),
        flow("flow control with action -1", r#"{"action":-1}"#, UNREADABLE),
        flow("flow control with an action nobody knows", r#"{"action":{"type":"stop"}}"#, UNREADABLE),
        flow("flow control with an action as a string", r#"{"action":"pause"}"#, UNREADABLE),
        flow("a capacity that is not told", r#"{"action":3}"#, UNREADABLE),
        flow("a negative capacity", r#"{"action":3,"buffer_available":-1}"#, UNREADABLE),
        flow("a capacity of 1.5", r#"{"action":3,"buffer_available":1.5}"#, UNREADABLE),
        flow(
            "a capacity of 2^64 - 1",
            r#"{"action":3,"buffer_available":18446744073709551615}"#,
            Outcome::Taken("the proxy's own limit holds"),
        ),
        flow("flow control with a numeric id", r#"{"correlation_id":1,"action":1}"#, UNREADABLE),
        flow("flow control with an id of 300 bytes", &long, Outcome::Closed("correlation id of 300 bytes")),
        to_proxy(
            "1,024 requests paused beside one that is",
            (0..1_024).flat_map(pause).collect(),
            Outcome::Closed("more than 1024 requests paused"),
        ),
        to_proxy(
            "one request paused 2,000 times",
            pause(1).repeat(2_000),
            Outcome::Taken("once is like 2,000 times"),
        ),
    ])
}

fn reports() -> Vec<Row> {
    let row = |name, kind, json: &str, gets| to_proxy(name, frame(kind, json), gets);
    Vec::from([
        row("health that is no JSON", 0x30, "fine", UNREADABLE),
        row("health without a state", 0x30, "{}", UNREADABLE),
        row("health with state 9", 0x30, r#"{"state":9}"#, UNREADABLE),
        row("health with a state nobody knows", 0x30, r#"{"state":{"status":"sleepy"}}"#, UNREADABLE),
        row("health whose state is `null`", 0x30, r#"{"state":null}"#, UNREADABLE),
        row("metrics that are no JSON", 0x31, "junk", UNREADABLE),
        row("metrics with a negative counter", 0x31, r#"{"counters":[{"name":"n","value":-1}]}"#, UNREADABLE),
        row(
            "metrics with a bound that is a word",
            0x31,
            r#"{"histograms":[{"name":"h","buckets":[{"le":"much"}]}]}"#,
            UNREADABLE,
        ),
        row("a configuration request that is no JSON", 0x32, "?", UNREADABLE),
        row("a configuration request of no kind", 0x32, r#"{"update_type":{}}"#, UNREADABLE),
        row(
            "a configuration request nobody knows",
            0x32,
            r#"{"update_type":{"type":"self_destruct"}}"#,
            UNREADABLE,
        ),
    ])
}

fn agent_frames() -> Vec<Row> {
    let wrong = |name, kind| to_agent(name, frame(kind, "{}"), Outcome::Closed("for the other side to send"));
    let mut rows = either(Receiver::AgentOpen, 0x10);
    rows.extend([
        wrong("an answer", 0x20),
        wrong("health", 0x30),
        wrong("metrics", 0x31),
        wrong("a configuration request", 0x32),
        wrong("flow control", 0x33),
    ]);
    rows
}

/// Events to an agent that has `one` and `two` unanswered, and a second event of `two` behind it.
fn events() -> Vec<Row> {
    let closed = |name, kind, json: &[u8]| {
        to_agent(name, frame(kind, json), Outcome::Closed("so no answer could name it"))
    };
    let bad = |name, kind, json: &str, words| to_agent(name, frame(kind, json), Outcome::BadEvent(words));
    let deep = "[".repeat(10_000) + &"]".repeat(10_000);
    let config = format!(r#"{{"correlation_id":"three","config":{deep}}}"#);
    Vec::from([
        closed("an event without a payload", 0x10, b""),
        closed("an event that is no JSON", 0x10, b"GET /"),
        closed("an event that is an array", 0x11, b"[]"),
        closed("an event cut short", 0x12, b"{\"correlation_id\":\"three\","),
        closed("an event whose id is not UTF-8", 0x13, b"{\"correlation_id\":\"\xff\"}"),
        closed("an event with garbage behind it", 0x14, b"{\"correlation_id\":\"three\"}}"),
        to_agent(
            "an event with an id of 300 bytes",
            frame(0x10, headers_event(&"i".repeat(300))),
            Outcome::Closed("correlation id of 300 bytes"),
        ),
        bad("an event without an id", 0x11, r#"{"chunk_index":0,"data":""}"#, "missing field"),
        bad("an event with a numeric id", 0x11, r#"{"correlation_id":3,"data":""}"#, "expected a"),
        bad("an event with an id and nothing else", 0x10, r#"{"correlation_id":"three"}"#, "missing field"),
        bad("an event whose body is not base64", 0x11, &chunk_event("three", "%%%"), "base64"),
        bad("an event whose base64 lacks its padding", 0x13, &chunk_event("three", "YWI"), "base64"),
        bad(
            "a WebSocket frame with an opcode nobody knows",
            0x15,
            r#"{"correlation_id":"three","opcode":"shout","data":""}"#,
            "unknown variant `shout`",
        ),
        bad("a configuration nested 10,000 deep", 0x17, &config, "recursion limit"),
        to_agent(
            "a configuration without an id",
            frame(0x17, r#"{"config":{}}"#),
            Outcome::Taken("handed out under an empty id, which the answer names"),
        ),
    ])
}

fn agent_control() -> Vec<Row> {
    let row = |name, json: &str, gets| to_agent(name, frame(0x40, json), gets);
    Vec::from([
        row("a cancel that is no JSON", "stop", UNREADABLE),
        row("a cancel without an id", r#"{"reason":1}"#, UNREADABLE),
        row("a cancel with a numeric id", r#"{"correlation_id":1}"#, UNREADABLE),
        row(
            "a cancel for a reason nobody knows",
            r#"{"correlation_id":"one","reason":99}"#,
            Outcome::Taken("cancelled, the reason reads as manual"),
        ),
        row(
            "a cancel of a request nobody asked about",
            r#"{"correlation_id":"nobody","reason":1}"#,
            Outcome::Taken("nothing follows"),
        ),
        row(
            "a cancel of an exchange nobody gave",
            r#"{"correlation_id":"one","exchange_id":999}"#,
            Outcome::Taken("nothing follows"),
        ),
    ])
}
