//! Moves inputs between folders, which the fuzzer reads, and the corpus files that are kept.
//!
//! ```text
//! corpus targets                        the names of all targets
//! corpus seed <target> <folder>         writes the seeds, one file each
//! corpus unpack <target> <folder>       writes the kept inputs, one file each
//! corpus pack <target> <folder> [most]  keeps the inputs of a folder, the short ones first
//! corpus check <target> <file>...       checks single inputs, and says what is wrong with them
//! ```

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use dialback::testing::fuzz::{TARGETS, inputs, pack, seeds, target};
use serde_json::Value;

/// What a corpus file may have, in bytes.
const MOST_BYTES: usize = 600_000;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["targets"] => TARGETS.iter().for_each(|target| println!("{}", target.name)),
        ["seed", name, folder] => {
            let frames = vectors()?;
            let seeds = seeds(&frames).into_iter().filter(|seed| seed.target == *name);
            write(seeds.map(|seed| seed.bytes), "seed", folder)?;
        }
        ["unpack", name, folder] => {
            let corpus = fs::read(kept(name)).unwrap_or_default();
            write(inputs(&corpus), "kept", folder)?;
        }
        ["pack", name, folder] => keep(name, folder, 1_500)?,
        ["pack", name, folder, most] => keep(name, folder, most.parse()?)?,
        ["check", name, files @ ..] => {
            let target = target(name).ok_or("no such target")?;
            for file in files {
                match (target.check)(&fs::read(file)?) {
                    Ok(()) => println!("{file}: passes"),
                    Err(failure) => return Err(format!("{file}: {failure}").into()),
                }
            }
        }
        _ => return Err("targets | seed | unpack | pack | check; see the head of this file".into()),
    }
    Ok(())
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn kept(name: &str) -> PathBuf {
    root().join("corpus").join(name).with_extension("seeds")
}

fn write<T: AsRef<[u8]>>(
    inputs: impl Iterator<Item = T>,
    prefix: &str,
    folder: &str,
) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(folder)?;
    for (number, input) in inputs.enumerate() {
        fs::write(Path::new(folder).join(format!("{prefix}-{number:05}")), input)?;
    }
    Ok(())
}

fn keep(name: &str, folder: &str, most: usize) -> Result<(), Box<dyn Error>> {
    let mut inputs = Vec::new();
    for entry in fs::read_dir(folder)? {
        inputs.push(fs::read(entry?.path())?);
    }
    inputs.sort_by(|a, b| a.len().cmp(&b.len()).then_with(|| a.cmp(b)));
    inputs.dedup();
    let found = inputs.len();
    inputs.truncate(most);
    while pack(&inputs).len() > MOST_BYTES {
        inputs.pop();
    }
    fs::write(kept(name), pack(&inputs))?;
    println!("{name}: {} of {found} inputs kept", inputs.len());
    Ok(())
}

fn vectors() -> Result<Vec<Vec<u8>>, Box<dyn Error>> {
    let text = fs::read_to_string(root().join("../tests/vectors/upstream-0.6.54.json"))?;
    let file: Value = serde_json::from_str(&text)?;
    let vectors = file.get("vectors").and_then(Value::as_array).ok_or("no vectors")?;
    vectors.iter().map(|vector| unhex(vector.get("frame_hex").and_then(Value::as_str).unwrap_or(""))).collect()
}

fn unhex(text: &str) -> Result<Vec<u8>, Box<dyn Error>> {
    (0..text.len())
        .step_by(2)
        .map(|at| Ok(u8::from_str_radix(text.get(at..at + 2).ok_or("half a byte")?, 16)?))
        .collect()
}
