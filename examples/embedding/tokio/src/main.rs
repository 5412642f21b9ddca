//! The tokio side of the conversation, by the library's adapter: `proxy CHILD` or
//! `agent ADDRESS COUNT`.

mod agent;
mod proxy;

use std::path::Path;
use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["proxy", child] => proxy::serve(Path::new(child)).await,
        ["agent", address, count] => agent::dial(address, count).await,
        _ => Err("usage: proxy CHILD, or: agent ADDRESS COUNT".into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("FAILED: {error}");
            ExitCode::FAILURE
        }
    }
}
