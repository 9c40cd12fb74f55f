//! A person at a shell: a directory, a command line, and its results: exit code, standard output and standard error.
//!
//! The environment is empty except for the token, so that no machine's settings affect a test. The simulated API runs
//! in the test's process, so that its bill is available.

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    net::SocketAddr,
    path::PathBuf,
    process::{Command, Output, Stdio},
    time::SystemTime,
};

use backlinks_export::sandbox::{Bill, Sandbox, Settings};
use clap::Parser;
use serde_json::Value;

use super::program::{files, quick_folder};

/// Short histories, the same on any day.
pub(crate) const DATES: &str = "--date-from 2023-11-01 --date-to 2024-02-29";

/// The token of every test, which must not appear anywhere else.
pub(crate) const TOKEN: &str = "sk-canary-3b9d41c7";

/// A shell in its own directory, which is removed at the end.
pub(crate) struct Shell {
    dir: tempfile::TempDir,
    environment: BTreeMap<&'static str, String>,
}

/// The results of a command.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Every file with its bytes and the time of its last change.
pub(crate) type Files = BTreeMap<PathBuf, (Vec<u8>, SystemTime)>;

impl Shell {
    pub(crate) fn new() -> Self {
        let environment = BTreeMap::from([("AISA_API_KEY", TOKEN.to_owned())]);
        Self { dir: quick_folder(), environment }
    }

    /// With a file `domains.txt` of this many domains.
    pub(crate) fn with_domains(count: usize) -> Self {
        let shell = Self::new();
        shell.list(0..count);
        shell
    }

    /// Rewrites `domains.txt`.
    pub(crate) fn list(&self, numbers: std::ops::Range<usize>) {
        let names: Vec<String> = numbers.map(|number| format!("site{number}.com")).collect();
        self.write("domains.txt", names.join("\n") + "\n");
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(name), content).expect("written");
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    pub(crate) fn set(mut self, name: &'static str, value: &str) -> Self {
        self.environment.insert(name, value.to_owned());
        self
    }

    pub(crate) fn unset(mut self, name: &str) -> Self {
        self.environment.remove(name);
        self
    }

    /// The program with these arguments, separated by blanks.
    pub(crate) fn command(&self, words: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_backlinks-export"));
        command.args(words.split_whitespace()).current_dir(self.dir.path()).env_clear().envs(&self.environment);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(crate) fn run(&self, words: &str) -> Ran {
        Ran::of(self.command(words).output().expect("the program starts"))
    }

    /// Runs it with a text on standard input.
    pub(crate) fn run_with(&self, words: &str, stdin: &str) -> Ran {
        let mut child = self.command(words).stdin(Stdio::piped()).spawn().expect("the program starts");
        child.stdin.take().expect("a pipe").write_all(stdin.as_bytes()).expect("it reads");
        Ran::of(child.wait_with_output().expect("it ends"))
    }

    /// Every file below a directory.
    pub(crate) fn files(&self, name: &str) -> Files {
        let root = self.path(name);
        let file = |path: PathBuf| {
            let modified = path.metadata().and_then(|metadata| metadata.modified()).expect("a time");
            let bytes = fs::read(&path).expect("readable");
            (path.strip_prefix(&root).expect("below").to_owned(), (bytes, modified))
        };
        files(&root).into_iter().map(file).collect()
    }

    /// Whether the last run in a directory was a success.
    pub(crate) fn is_complete(&self, dir: &str) -> bool {
        self.path(dir).join("_SUCCESS").exists()
    }

    /// The content of a table's files, without their times.
    pub(crate) fn bytes(&self, name: &str) -> Vec<Vec<u8>> {
        self.files(name).into_values().map(|(bytes, _)| bytes).collect()
    }
}

impl Ran {
    pub(crate) fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        Self { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// Checks the exit code.
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}\n{}", self.stdout, self.stderr);
        self
    }

    /// Standard output as one JSON object.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}", self.stdout))
    }
}

/// The flags of `sandbox`, without latency unless they request it.
pub(crate) fn settings(flags: &str) -> Settings {
    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        settings: Settings,
    }
    let at_once: &[&str] = if flags.contains("--latency") { &[] } else { &["--latency", "none"] };
    let words = ["sandbox"].iter().chain(at_once).copied().chain(flags.split_whitespace());
    Line::try_parse_from(words).unwrap_or_else(|error| panic!("{flags}: {error}")).settings
}

/// The simulated API on its own runtime.
pub(crate) struct Api {
    // Dropped first, which stops the server.
    sandbox: Sandbox,
    _runtime: tokio::runtime::Runtime,
}

impl Api {
    pub(crate) fn new(flags: &str) -> Self {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let sandbox = runtime.block_on(Sandbox::start(listen, settings(flags))).expect("a free port");
        Self { sandbox, _runtime: runtime }
    }

    /// `--api URL` and a rate that delays nothing.
    pub(crate) fn flags(&self) -> String {
        format!("--api {} --rate 20000/s --progress none", self.sandbox.url())
    }

    pub(crate) fn url(&self) -> String {
        self.sandbox.url()
    }

    pub(crate) fn bill(&self) -> Bill {
        self.sandbox.bill()
    }
}
