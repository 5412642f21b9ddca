//! What the tool says of itself, and of what it can't do.

use crate::tool::{golden, run, run_unread};

const COMMANDS: [&str; 7] = ["listen", "agent", "bridge", "decode", "bench", "completions", "man"];

#[test]
fn help_is_as_it_was() {
    golden("help.txt", &run(&["--help"], b"").well().out);
    for command in COMMANDS {
        let long = run(&[command, "--help"], b"").well().out;
        golden(&format!("help-{command}.txt"), &long);
        let short = run(&[command, "-h"], b"").well().out;
        assert!(short.contains("Usage:") && short.len() <= long.len(), "{short}");
    }
}

#[test]
fn the_version_is_told() {
    assert_eq!(run(&["--version"], b"").well().out, format!("dialback {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn what_makes_no_sense_is_told_and_ends_with_2() {
    let cases: [&[&str]; 20] = [
        &[],
        &["frobnicate"],
        &["--frobnicate"],
        &["decode", "--format", "xml"],
        &["decode", "--encoding", "cbor"],
        &["listen"],
        &["listen", "nowhere"],
        &["listen", "h:99999"],
        &["listen", "a.b:1", "--cert", "c"],
        &["listen", "tls:127.0.0.1:0"],
        &["listen", "/tmp/x", "--unix-mode", "999"],
        &["listen", "/tmp/x", "--timeout", "soon"],
        &["listen", "/tmp/x", "--sample", "--events", "f"],
        &["agent"],
        &["agent", "tls:h:1"],
        &["agent", "/tmp/x", "--connections", "0"],
        &["agent", "/tmp/x", "--ca", "c"],
        &["bridge", "/tmp/a"],
        &["bridge", "tls:h:1", "/tmp/x"],
        &["bench"],
    ];
    let mut text = String::new();
    for arguments in cases {
        let ended = run(arguments, b"").badly(2, "");
        assert_eq!(ended.out, "", "{arguments:?}");
        text += &format!("$ dialback {}\n{}\n", arguments.join(" "), ended.err);
    }
    golden("usage.txt", &text);
}

#[test]
fn what_can_not_be_done_is_told_and_ends_with_1() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let write = |name: &str, text: &str| {
        std::fs::write(path(name), text).unwrap();
        path(name)
    };
    let rules = write("rules.toml", "[[rule]]\npath = \"/x\"\n\nblock = { status = 99 }\n");
    let tokens = write("tokens", "# ours\ns3cret waf-1\ns3cret\n");
    let events = write("events.jsonl", "{\"type\":\"Ping\"}\n");
    let broken = write("broken.jsonl", "{\"type\":\"RequestHeaders\",\"payload\":{}}\n\nno json\n");
    let config = write("config.json", "{");
    let empty = write("empty", "\n");
    let socket = path("proxy.sock");
    let cases: [(&[&str], &str); 12] = [
        (&["decode", &path("missing")], "can't read"),
        (&["agent", &socket, "--rules", &rules], "rules.toml:4:20: a block's status must be 200 to 599"),
        (&["agent", "--check", "--rules", &rules], "rules.toml:4:20"),
        (&["agent", &socket, "--rules", &path("missing")], "can't read"),
        (&["agent", &socket, "--token-file", &empty], "the first line is empty"),
        (&["agent", "tls:h:1", "--ca", &tokens], "no certificate"),
        (&["listen", &socket, "--tokens", &tokens], "tokens:3: a line must be a token"),
        (&["listen", &socket, "--events", &events], "no event is in there"),
        (&["listen", &socket, "--events", &broken], "broken.jsonl:1: no RequestHeaders"),
        (&["listen", &tokens], "not a socket"),
        (&["bridge", &socket, &socket, "--agent-config", &config], "config.json: EOF"),
        (&["bench", "--dial", &socket], "can't reach the agent"),
    ];
    for (arguments, words) in cases {
        let ended = run(arguments, b"").badly(1, words);
        assert!(ended.err.contains("error: ") && !ended.err.contains("s3cret"), "{ended:?}");
    }
}

#[test]
fn completions_are_there_for_every_shell() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = run(&["completions", shell], b"").well().out;
        assert!(script.contains("dialback") && script.contains("on-agent-loss"), "{shell}: {script}");
    }
}

#[test]
fn the_manual_has_a_page_for_the_tool_and_each_command() {
    let page = run(&["man"], b"").well().out;
    assert!(page.contains(".TH dialback 1"), "{page}");
    for command in COMMANDS {
        assert!(page.contains(&format!("dialback\\-{command}(1)")), "{command} is not on the page");
        let page = run(&["man", command], b"").well().out;
        assert!(page.contains(&format!(".TH dialback-{command} 1")), "{page}");
        assert!(page.contains(".SH OPTIONS"), "{page}");
    }
    run(&["man", "frobnicate"], b"").badly(2, "there is no command");
}

#[test]
fn a_closed_pipe_is_no_reason_to_panic() {
    let frames = [0, 0, 0, 3, 0x42, b'{', b'}'].repeat(50_000);
    for arguments in [&["decode"][..], &["decode", "--format", "json"], &["completions", "bash"], &["man"]] {
        let ended = run_unread(arguments, &frames);
        assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{arguments:?}");
    }
}
