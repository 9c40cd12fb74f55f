"""The datasets under test, made by the real binary over real HTTP on loopback; each is made once, when first asked for.

Every process started here is ended by its id, also when a test or the making of a dataset fails.
"""

import atexit
import functools
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Set by tests/run
PROGRAM = Path(os.environ["BACKLINKS_EXPORT"]).resolve()
# A run that takes longer hangs.
LONGEST_RUN = 240
# A rate that never makes a test wait
UNHURRIED = ["--rate", "100000/min", "--concurrency", "30", "--progress", "none", "--quiet", "--summary", "json"]

_processes = []
_folders = []


def stop():
    """Ends what was started and removes what was written."""
    while _processes:
        process = _processes.pop()
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    while _folders:
        shutil.rmtree(_folders.pop(), ignore_errors=True)


atexit.register(stop)


def folder():
    """A new folder, removed in the end."""
    path = Path(tempfile.mkdtemp(prefix="backlinks-engines-"))
    _folders.append(path)
    return path


def ended_by_its_id(process):
    """Makes sure that a process of a test ends with it."""
    _processes.append(process)


def start_sandbox(*flags):
    """A simulated API; its base URL."""
    command = [PROGRAM, "sandbox", "--listen", "127.0.0.1:0", "--latency", "none", *flags]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    _processes.append(process)
    line = process.stdout.readline()
    # "simulated API at http://127.0.0.1:41234/apis/v1, bill at …"
    urls = [word.rstrip(",") for word in line.split() if word.startswith("http://")]
    if not urls:
        raise AssertionError(f"the sandbox did not start: it printed {line!r} and ended with {process.poll()}")
    return urls[0]


def call(*arguments, exit_code=0, **options):
    """Runs the program; what it printed on standard output."""
    environment = {**os.environ, "AISA_API_KEY": "any-token"}
    environment.pop("BACKLINKS_API_URL", None)
    done = subprocess.run(
        [PROGRAM, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LONGEST_RUN,
        env=environment,
        **options,
    )
    if done.returncode != exit_code:
        shown = " ".join(map(str, arguments))
        raise AssertionError(f"`{shown}` ended with {done.returncode}, not {exit_code}:\n{done.stdout}{done.stderr}")
    return done.stdout


class Dataset:
    """A run's directory, and the program's summary of it."""

    def __init__(self, path, summary):
        self.path = Path(path)
        self.summary = json.loads(summary)
        self.record = json.loads((self.path / "_run.json").read_text())

    @property
    def history(self):
        """The glob of the table's files, as DuckDB takes it."""
        return f"{self.path}/backlinks_history/**/*.parquet"

    @property
    def targets(self):
        return f"{self.path}/targets/*.parquet"

    def files(self, table="backlinks_history"):
        return sorted((self.path / table).rglob("*.parquet"))


def replay(dataset, *flags):
    """Another form of a dataset, from the same answers."""
    path = folder() / "replayed"
    common = ["--progress", "none", "--quiet", "--summary", "json", "--max-failures", "100%"]
    return Dataset(path, call("replay", dataset.path, "--out", path, *common, *flags))


ODD_COLUMNS = "domain,client,Größe (cm);{x},Client\nodd-columns.com,ours,12,shadow\nnext-odd.com,,\"a\nb\",\n"


@functools.cache
def portfolio():
    """Some 300 targets with clients' columns, lines that are not domains or duplicates, and an API with faults."""
    path = folder()
    domains = (ROOT / "inputs/domains.txt").read_text().splitlines()
    (path / "some.txt").write_text("\n".join(domains[:260]) + "\n")
    (path / "odd.csv").write_text(ODD_COLUMNS)
    api = start_sandbox(
        *["--fail-502", "0.05", "--fail-html", "0.02", "--fail-garbage", "0.02", "--fail-wrong-target", "0.02"],
        *["--fail-code", "40401:0.03,50000:0.02", "--no-cost-header", "0.05"],
    )
    inputs = [ROOT / "inputs/portfolio.csv", path / "some.txt", path / "odd.csv"]
    out = path / "out"
    return Dataset(out, call("run", *inputs, "--api", api, "--out", out, "--max-failures", "100%", *UNHURRIED))


@functools.cache
def capped():
    """A run that stopped at its spending cap: most targets are pending."""
    path = folder()
    api, out = start_sandbox(), path / "out"
    inputs = ROOT / "inputs/portfolio.csv"
    arguments = ["--api", api, "--out", out, "--max-cost", "1", *UNHURRIED]
    return Dataset(out, call("run", inputs, *arguments, exit_code=5))
