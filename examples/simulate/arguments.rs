//! The words after the command.

use dialback::testing::sim::SimConfig;

pub const USAGE: &str = "\
simulate [--seeds N] [--from N] [--threads N] [preset] [numbers]   plays many seeds
simulate --seed N [preset] [numbers]                               plays one, with every step

presets   --calm | --rough | --hostile
numbers   --agents N  --hostile-agents N  --connections N  --requests N  --window N";

/// What is to be played.
pub struct Arguments {
    pub seeds: u64,
    pub from: u64,
    pub seed: Option<u64>,
    pub threads: u64,
    pub config: SimConfig,
    /// What bears on the configuration, to be said again.
    said: Vec<String>,
}

impl Arguments {
    pub fn parse(words: impl Iterator<Item = String>) -> Result<Self, String> {
        let cores = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
        let mut this = Self {
            seeds: 1_000,
            from: 0,
            seed: None,
            threads: cores,
            config: SimConfig::default(),
            said: vec![],
        };
        let mut words = words;
        while let Some(word) = words.next() {
            let preset = match word.as_str() {
                "--calm" => Some(SimConfig::calm()),
                "--rough" => Some(SimConfig::rough()),
                "--hostile" => Some(SimConfig::hostile()),
                _ => None,
            };
            if let Some(config) = preset {
                if !this.said.is_empty() {
                    return Err(format!("{word} must come before the numbers, and alone"));
                }
                this.config = config;
                this.said.push(word);
                continue;
            }
            let value = words.next().ok_or_else(|| format!("{word} wants a number"))?;
            let number: u64 = value.parse().map_err(|_| format!("{word} wants a number, not {value}"))?;
            this.take(&word, number)?;
        }
        Ok(this)
    }

    fn take(&mut self, word: &str, number: u64) -> Result<(), String> {
        let small = u32::try_from(number).map_err(|_| format!("{word} {number} is too much"));
        match word {
            "--seeds" => self.seeds = number,
            "--from" => self.from = number,
            "--seed" => self.seed = Some(number),
            "--threads" => self.threads = number.max(1),
            "--agents" => self.config.agents = small?,
            "--hostile-agents" => self.config.hostile_agents = small?,
            "--connections" => self.config.connections = small?,
            "--requests" => self.config.requests = small?,
            "--window" => self.config.proxy.window = small?,
            other => return Err(format!("{other} is not known")),
        }
        if !["--seeds", "--from", "--seed", "--threads"].contains(&word) {
            self.said.extend([word.to_string(), number.to_string()]);
        }
        Ok(())
    }

    /// The command that plays one of these seeds again.
    pub fn replay(&self, seed: u64) -> String {
        let said = self.said.iter().map(|word| format!(" {word}")).collect::<String>();
        format!("cargo run --release --example simulate -- --seed {seed}{said}")
    }
}
