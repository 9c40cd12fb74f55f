"""Runs everything that README.md and docs/ show: every shell command in a copy of the project, then every query on its result.

How a block is marked:

- ```sh: all its commands are run with the built program as `backlinks-export` and as `cargo run --release --`, against
  the simulated API, with a shorter inputs/domains.txt. A line with `# not run` in it is left out, and so is
  `tests/run`, which is running already. Blocks of one page are run in order, in one directory.
- ```sql: its first line names the engine: `-- duckdb`, `-- spark` or `-- clickhouse`. All of it has to run, and a query has to have
  rows.
- docs/queries/*.sql: each is one query, run in both engines over the views that the page beside them defines. It has to
  give the same in both.
"""

import functools
import datetime
import math
import os
import re
import shutil
import subprocess
import sys
import unittest
from pathlib import Path

import world
from engines import in_clickhouse as clickhouse
from engines import in_duckdb as duckdb
from engines import in_spark as spark

# Targets of inputs/domains.txt that the copy keeps: the simulated API of `--sandbox` takes real time for each.
KEPT_DOMAINS = 150
BLOCK = re.compile(r"^```(sh|sql)\n(.*?)^```$", re.M | re.S)
# Stands in for cargo: runs the program for `cargo run`, and nothing else.
CARGO = """#!/bin/sh
[ "$1" = run ] || { echo "cargo $1 is not run by the test of examples; mark the line with '# not run'" >&2; exit 64; }
while [ $# -gt 0 ] && [ "$1" != -- ]; do shift; done
shift
exec backlinks-export "$@"
"""


def pages():
    return [page for page in [world.ROOT / "README.md", *sorted((world.ROOT / "docs").rglob("*.md"))] if page.exists()]


def blocks(language):
    """The blocks of all pages, each with its place."""
    for page in pages():
        text = page.read_text()
        for found in BLOCK.finditer(text):
            if found[1] == language:
                line = text.count("\n", 0, found.start()) + 1
                yield f"{page.relative_to(world.ROOT)}:{line}", found[2]


@functools.cache
def project():
    """A copy of what a user has after cloning, and how each block of shell commands ended there."""
    root = world.folder()
    shutil.copytree(world.ROOT / "inputs", root / "inputs")
    domains = root / "inputs/domains.txt"
    domains.write_text("".join(domains.read_text().splitlines(keepends=True)[:KEPT_DOMAINS]))
    commands = root / "commands"
    commands.mkdir()
    (commands / "backlinks-export").symlink_to(world.PROGRAM)
    (commands / "duckdb").symlink_to(Path(sys.executable).parent / "duckdb")
    (commands / "cargo").write_text(CARGO)
    (commands / "cargo").chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}",
        "BACKLINKS_API_URL": world.start_sandbox(),
        "AISA_API_KEY": "any-token",
    }
    ended = []
    for where, text in blocks("sh"):
        lines = [line for line in text.splitlines() if "# not run" not in line and line.split("#")[0].strip() != "tests/run"]
        script = "\n".join(lines).strip()
        if not script:
            continue
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=root,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=world.LONGEST_RUN,
        )
        ended.append((where, script, done))
    return root, ended


class Examples(unittest.TestCase):
    def test_every_shell_command_shown_runs(self):
        _, ended = project()
        for where, script, done in ended:
            with self.subTest(where):
                self.assertEqual(done.returncode, 0, f"{where}\n{script}\n{done.stdout}{done.stderr}")
        print(f"{len(ended)} blocks of commands run ", end="")
        self.assertGreater(len(ended), 0, "no ```sh block was run")

    def test_every_query_shown_runs_and_has_rows(self):
        root, _ = project()
        ran = dict.fromkeys(SESSIONS, 0)
        for where, text in blocks("sql"):
            with self.subTest(where):
                engine, statements = marked(text, root)
                self.assertIn(engine, ran, f"{where}: the first line has to name one of them")
                ran[engine] += 1
                run = SESSIONS[engine]()
                for statement in statements:
                    rows = run(statement)
                    if statement.startswith(QUERY):
                        self.assertGreater(len(rows), 0, f"{where} has no rows:\n{statement}")
        print(f"blocks run: {ran} ", end="")
        self.assertEqual([engine for engine, blocks in ran.items() if blocks == 0], [], "no block was run")

    def test_every_query_file_gives_the_same_in_both_engines(self):
        root, _ = project()
        files = sorted((world.ROOT / "docs/queries").glob("*.sql"))
        # A separate session, with its own views. Months begin by the session's time zone, in both engines.
        connection, session = duckdb("UTC"), spark().newSession()
        session.conf.set("spark.sql.session.timeZone", "UTC")
        for where, text in blocks("sql"):
            if where.startswith("docs/queries/"):
                engine, statements = marked(text, root)
                for statement in statements:
                    connection.execute(statement) if engine == "duckdb" else session.sql(statement)
        for file in files:
            with self.subTest(file.name):
                query = file.read_text().strip().rstrip(";")
                types = connection.execute(f"DESCRIBE {query}").fetchall()
                columns = [f'epoch_us("{name}")' if "TIME ZONE" in kind else f'"{name}"' for name, kind, *_ in types]
                one = connection.execute(f"SELECT {', '.join(columns)} FROM ({query})").fetchall()
                frame = session.sql(query)
                self.assertEqual(frame.columns, [name for name, *_ in types])
                moments = [f"unix_micros(`{name}`)" if kind == "timestamp" else f"`{name}`" for name, kind in frame.dtypes]
                two = [tuple(row) for row in frame.selectExpr(*moments).collect()]
                self.assertEqual(len(one), len(two), file.name)
                for row, other in zip(one, two):
                    self.assertTrue(all(map(close, row, other)), f"{file.name}: DuckDB {row}, Spark {other}")
        print(f"{len(files)} queries run in both engines ", end="")


# The beginnings of statements with rows
QUERY = ("SELECT", "WITH", "FROM")


def marked(text, root):
    """The engine that a block is for, and its statements, their paths those of the project's copy."""
    first, _, rest = text.partition("\n")
    # Paths in the examples are relative to the project's root.
    rest = re.sub(r"(?<=['`\"])out/", lambda _: f"{root}/out/", rest)
    statements = filter(None, map(str.strip, rest.split(";")))
    return first.removeprefix("--").strip().lower(), list(statements)


def in_a_duckdb():
    connection = duckdb()
    return lambda statement: connection.execute(statement).fetchall()


def in_a_spark():
    session = spark().newSession()
    return lambda statement: session.sql(statement).collect()


def in_a_clickhouse():
    return lambda statement: clickhouse(statement).to_pylist()


# For each engine, a function that starts a session and returns one that runs a statement
SESSIONS = {"duckdb": in_a_duckdb, "spark": in_a_spark, "clickhouse": in_a_clickhouse}


def close(one, other):
    """Whether two values are the same, apart from how the engines round a fraction."""
    if isinstance(one, (str, datetime.date)) or one is None or other is None:
        return one == other
    if isinstance(one, int) and isinstance(other, int):
        return one == other
    return math.isclose(float(one), float(other), rel_tol=1e-9)
