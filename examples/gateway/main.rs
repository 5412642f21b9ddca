//! An HTTP reverse proxy whose requests and responses are asked about, and a page that watches.
//!
//! ```text
//! cargo run --release --example gateway
//! cargo run --release --example gateway -- --port 8080 --status-port 8081 --manual
//! ```
//!
//! It starts a proxy, an upstream behind it, and agents that dial in over a Unix socket; then it prints
//! what to try with curl and where the page is. Unless it is told `--manual`, agents come and go and a
//! little traffic flows, so that there is something to see. On its standard input it takes commands:
//! `come guard`, `go guard`, `kill guard`, the same for `editor`, `knock`, and `quit`.

mod play;
mod site;

use std::process::ExitCode;

use tokio::io::{AsyncBufReadExt, BufReader, stdin};

use site::{EDITOR, Error, GUARD, Site};

/// What the command line says.
struct Options {
    port: u16,
    status_port: u16,
    manual: bool,
}

const USAGE: &str = "usage: gateway [--port N] [--status-port N] [--manual]
  --port N         where the proxy listens on 127.0.0.1; 0 takes a free port (8080)
  --status-port N  where the status page is (8081)
  --manual         no agents and no traffic but by commands";

fn options(mut words: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options { port: 8080, status_port: 8081, manual: false };
    while let Some(word) = words.next() {
        let mut port = || {
            let text = words.next().ok_or(format!("{word} wants a port"))?;
            text.parse().map_err(|_| format!("{word} wants a port from 0 to 65535, not {text:?}"))
        };
        match word.as_str() {
            "--port" => options.port = port()?,
            "--status-port" => options.status_port = port()?,
            "--manual" => options.manual = true,
            _ => return Err(format!("what is {word:?}?")),
        }
    }
    Ok(options)
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = match options(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("{error}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match run(&options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("gateway: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: &Options) -> Result<(), Error> {
    let site = Site::open(options.port, options.status_port).await?;
    introduce(&site);
    let playing = if options.manual {
        None
    } else {
        println!("Agents come and go by themselves now, and a little traffic flows.\n");
        Some(tokio::spawn(play::traffic(site.proxy)))
    };
    tokio::select! {
        () = play::comings_and_goings(&site.crew), if !options.manual => {}
        () = commands(&site) => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    if let Some(playing) = playing {
        playing.abort();
    }
    site.close().await;
    Ok(())
}

fn introduce(site: &Site) {
    let proxy = format!("http://{}", site.proxy);
    println!("the proxy     {proxy}");
    println!("the page      http://{}", site.status);
    println!("agents dial   {}\n", site.socket.display());
    for (what, command) in [
        ("allowed", format!("curl -i {proxy}/")),
        ("blocked by the guard", format!("curl -i {proxy}/admin")),
        ("redirected by the guard", format!("curl -i {proxy}/old")),
        ("challenged by the guard", format!("curl -i {proxy}/vault")),
        ("blocked for its body, unseen by the upstream", format!("curl -i {proxy}/echo -d 'an attack'")),
        ("a body rewritten by the editor", format!("curl -i {proxy}/letter")),
        ("rewritten while it streams", format!("curl -N {proxy}/stream")),
    ] {
        println!("# {what}\n{command}");
    }
    println!("\nWithout a guard there is no verdict, so 503; without an editor letters go unedited.");
}

/// Obeys, line by line. The end of the input is no command: whoever has none may still watch.
async fn commands(site: &Site) {
    let mut lines = BufReader::new(stdin()).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let words: Vec<&str> = line.split_whitespace().collect();
        let done = match words.as_slice() {
            [] => Ok(()),
            ["quit"] => return,
            ["knock"] => {
                site.crew.knock();
                Ok(())
            }
            ["come", id] => site.crew.come(id),
            ["go", id] => site.crew.go(id),
            ["kill", id] => site.crew.kill(id),
            _ => {
                Err(format!("what is {line:?}? come, go or kill, with {GUARD} or {EDITOR}; knock; quit")
                    .into())
            }
        };
        if let Err(error) = done {
            eprintln!("{error}");
        }
    }
    std::future::pending().await
}
