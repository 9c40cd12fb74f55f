//! A person at a shell: a directory of their own, words in, and what comes back: exit code, standard output and error.
//!
//! The environment is empty but for the token, so that no machine's settings change a test. The simulated API runs in
//! the test's process, so that its bill is at hand.

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::SystemTime,
};

use backlinks_export::sandbox::{Bill, Sandbox, Settings};
use clap::Parser;
use serde_json::Value;

/// The token of every test, which must not be found again anywhere.
pub(crate) const TOKEN: &str = "sk-canary-3b9d41c7";

/// A shell in a directory of its own, gone at the end.
pub(crate) struct Shell {
    dir: tempfile::TempDir,
    environment: BTreeMap<&'static str, String>,
}

/// What a command left behind.
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
        Self { dir: tempfile::tempdir().expect("a directory"), environment }
    }

    /// With a file `domains.txt` of so many domains.
    pub(crate) fn with_domains(count: usize) -> Self {
        let shell = Self::new();
        shell.list(0..count);
        shell
    }

    /// Writes `domains.txt` anew.
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

    /// The program with these words, separated by blanks.
    pub(crate) fn command(&self, words: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_backlinks-export"));
        command.args(words.split_whitespace()).current_dir(self.dir.path()).env_clear().envs(&self.environment);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(crate) fn run(&self, words: &str) -> Ran {
        Self::ran(self.command(words).output().expect("the program starts"))
    }

    /// Runs it with a text on standard input.
    pub(crate) fn run_with(&self, words: &str, stdin: &str) -> Ran {
        let mut child = self.command(words).stdin(Stdio::piped()).spawn().expect("the program starts");
        child.stdin.take().expect("a pipe").write_all(stdin.as_bytes()).expect("it reads");
        Self::ran(child.wait_with_output().expect("it ends"))
    }

    fn ran(output: std::process::Output) -> Ran {
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        Ran { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// Every file below a directory.
    pub(crate) fn files(&self, name: &str) -> Files {
        let mut files = Files::new();
        gather(&self.path(name), Path::new(""), &mut files);
        files
    }

    /// What the files of a table hold, without their times.
    pub(crate) fn bytes(&self, name: &str) -> Vec<Vec<u8>> {
        self.files(name).into_values().map(|(bytes, _)| bytes).collect()
    }
}

fn gather(root: &Path, below: &Path, files: &mut Files) {
    for entry in fs::read_dir(root.join(below)).expect("a directory") {
        let entry = entry.expect("an entry");
        let path = below.join(entry.file_name());
        if entry.path().is_dir() {
            gather(root, &path, files);
        } else {
            let modified = entry.metadata().and_then(|metadata| metadata.modified()).expect("a time");
            files.insert(path, (fs::read(entry.path()).expect("readable"), modified));
        }
    }
}

impl Ran {
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

/// The simulated API on a runtime of its own.
pub(crate) struct Api {
    // Dropped first: it ends the server.
    sandbox: Sandbox,
    _runtime: tokio::runtime::Runtime,
}

impl Api {
    /// With the flags of `sandbox`; without waits unless they say otherwise.
    pub(crate) fn new(flags: &str) -> Self {
        #[derive(Debug, Parser)]
        struct Line {
            #[command(flatten)]
            settings: Settings,
        }
        let at_once: &[&str] = if flags.contains("--latency") { &[] } else { &["--latency", "none"] };
        let words = ["sandbox"].iter().chain(at_once).copied().chain(flags.split_whitespace());
        let settings = Line::try_parse_from(words).unwrap_or_else(|error| panic!("{flags}: {error}")).settings;
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let sandbox = runtime.block_on(Sandbox::start(listen, settings)).expect("a free port");
        Self { sandbox, _runtime: runtime }
    }

    /// `--api URL` and a rate that holds nothing up.
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
