//! The search: seeds, mutations, feedback, and the handling of failures.
//!
//! Why an engine of our own: against six planted faults, with 24 runs each, proptest 1.12 found the same ones in a
//! prototype that was no smaller, and it neither mutates a corpus nor keeps inputs that show something new.

use std::{
    collections::HashSet,
    fs,
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash},
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use fastrand::Rng;
use tokio::time::Instant;

/// How long each target is fuzzed unless `FUZZ_SECONDS` is set: enough to notice a broken parser.
const USUAL_SECONDS: u64 = 3;
/// The longest input.
const MAX_INPUT_BYTES: usize = 64 * 1024;
/// One input may take this long, in the slowest profile on a busy machine.
const MAX_CASE_TIME: Duration = Duration::from_secs(10);
/// Maximum inputs that are kept because they showed something new.
const MAX_SEEDS: usize = 5_000;
/// Maximum memory of the process, in KiB.
const MAX_MEMORY_KIB: u64 = 1024 * 1024;

/// What a target observed: inputs with the same value count as equal.
pub(crate) type Seen = u64;

/// A hash of the observation, the same in every process.
pub(crate) fn seen(what: impl Hash) -> Seen {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(what)
}

/// Runs `target` on mutated seeds until the time is over; fails with the input that it panics on.
pub(crate) fn fuzz(name: &str, seeds: &[Vec<u8>], words: &[&str], target: impl Fn(&[u8]) -> Seen) {
    let seconds = setting("FUZZ_SECONDS").unwrap_or(USUAL_SECONDS);
    let seed = setting("FUZZ_SEED").unwrap_or(1);
    let mut seeds = [seeds, &corpus(name)].concat();
    assert!(!seeds.is_empty(), "{name} has no seeds");
    let mut dice = Dice(Rng::with_seed(seed));
    let mut known = HashSet::new();
    let watch = Watch::start(name);
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut executions = 0_u64;
    let own = seeds.len();
    while Instant::now() < end {
        let input = match usize::try_from(executions).ok().filter(|number| *number < own) {
            Some(number) => seeds[number].clone(),
            None => mutated(&mut dice, &seeds, words),
        };
        watch.begin();
        let begun = Instant::now();
        let result = catch_unwind(AssertUnwindSafe(|| target(&input)));
        let took = begun.elapsed();
        watch.end();
        let Ok(seen) = result else { panic!("{name}: it panics on {}, FUZZ_SEED={seed}", keep(name, &input)) };
        assert!(took < MAX_CASE_TIME, "{name}: {took:?} for {}, FUZZ_SEED={seed}", keep(name, &input));
        if known.insert(seen) && seeds.len() < MAX_SEEDS {
            seeds.push(input);
        }
        executions += 1;
    }
    println!("{name}: {executions} executions in {seconds} s, {} kinds of behavior, seed {seed}", known.len());
    let memory = high_water().unwrap_or(0);
    assert!(memory < MAX_MEMORY_KIB, "{name}: {} MiB", memory / 1024);
}

fn setting(name: &str) -> Option<u64> {
    #[expect(clippy::disallowed_methods, reason = "a test's own knob")]
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name}={value} is not a number")))
}

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(name);
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).expect("a seed")).collect()
}

/// Writes a failing input to a file and returns its path.
fn keep(name: &str, input: &[u8]) -> String {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-{name}-{:016x}", seen(input)));
    fs::write(&path, input).expect("written");
    path.display().to_string()
}

/// The peak memory of this process, in KiB.
fn high_water() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/status").ok()?;
    text.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.trim().parse().ok())
}

/// Aborts the process if an input takes too long.
struct Watch(Arc<AtomicU64>);

impl Watch {
    fn start(name: &str) -> Self {
        let (ticks, name) = (Arc::new(AtomicU64::new(0)), name.to_owned());
        let watched = Arc::downgrade(&ticks);
        std::thread::spawn(move || {
            // An even number: no input is being processed.
            let mut before = 0;
            loop {
                std::thread::park_timeout(2 * MAX_CASE_TIME);
                let Some(ticks) = watched.upgrade() else { return };
                let now = ticks.load(Ordering::Relaxed);
                if now == before && now % 2 == 1 {
                    eprintln!("{name}: an input has taken {MAX_CASE_TIME:?} and does not end");
                    std::process::abort();
                }
                before = now;
            }
        });
        Self(ticks)
    }

    fn begin(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn end(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Random choices; the same seed makes the same choices.
pub(crate) struct Dice(Rng);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0.usize(..limit.max(1))
    }

    fn byte(&mut self) -> u8 {
        const TELLING: &[u8] = b"\0\n\r\t \"\\{}[],:.#%0129-+eEuaZ\x1b\x7f\x80\xbf\xc0\xed\xf0\xff";
        if self.below(2) == 0 { TELLING[self.below(TELLING.len())] } else { self.0.u8(..) }
    }

    /// A random range within this length.
    fn range(&mut self, length: usize) -> std::ops::Range<usize> {
        let from = self.below(length + 1);
        let most = if self.below(4) == 0 { length - from } else { (length - from).min(16) };
        from..from + self.below(most + 1)
    }
}

fn mutated(dice: &mut Dice, seeds: &[Vec<u8>], words: &[&str]) -> Vec<u8> {
    // The latest seeds find more than the others.
    let pick = |dice: &mut Dice| {
        let last = if dice.below(2) == 0 { seeds.len() } else { seeds.len().min(64) };
        seeds.len() - 1 - dice.below(last)
    };
    let mut input = seeds[pick(dice)].clone();
    for _ in 0..=dice.below(4) {
        let at = dice.below(input.len() + 1);
        let range = dice.range(input.len());
        match dice.below(9) {
            0 if !input.is_empty() => {
                let at = dice.below(input.len());
                input[at] ^= 1 << dice.below(8);
            }
            1 if !input.is_empty() => {
                let at = dice.below(input.len());
                input[at] = dice.byte();
            }
            2 => input.insert(at, dice.byte()),
            3 => drop(input.drain(range)),
            4 => {
                let piece = input[range].to_vec();
                input.splice(at..at, piece);
            }
            5 => {
                let other = &seeds[pick(dice)];
                let piece = other[dice.range(other.len())].to_vec();
                input.splice(range, piece);
            }
            6 if !words.is_empty() => {
                let word = words[dice.below(words.len())].bytes();
                input.splice(at..at, word);
            }
            7 if !words.is_empty() => {
                let word = words[dice.below(words.len())].bytes();
                input.splice(range, word);
            }
            _ => {
                let repeated = input[range].repeat(1 + dice.below(40));
                input.splice(at..at, repeated);
            }
        }
        input.truncate(MAX_INPUT_BYTES);
    }
    input
}
