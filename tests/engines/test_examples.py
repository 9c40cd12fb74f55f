"""What README.md and docs/ show is run: every shell command in a copy of the project, then every query on its result.

How a block is marked:

- ```sh: all its commands are run with the built program as `backlinks-export` and as `cargo run --release --`, against
  the simulated API, with a shorter inputs/domains.txt. A line with `# not run` in it is left out, and so is
  `tests/run`, which is running already. Blocks of one page are run in order, in one directory.
- ```sql: its first line says for which engine: `-- duckdb` or `-- spark`. A query has to run and to have rows.
"""

import functools
import os
import re
import shutil
import subprocess
import unittest

import world
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
    """The blocks of all pages, each with where it stands."""
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

    def test_every_query_shown_has_rows(self):
        root, _ = project()
        ran = {"duckdb": 0, "spark": 0}
        for where, text in blocks("sql"):
            with self.subTest(where):
                first, _, query = text.partition("\n")
                engine = first.removeprefix("--").strip().lower()
                self.assertIn(engine, ran, f"{where}: the first line has to be `-- duckdb` or `-- spark`")
                ran[engine] += 1
                self.assertGreater(self.rows(engine, root, query), 0, f"{where} has no rows:\n{query}")
        print(f"{ran['duckdb']} queries run in DuckDB, {ran['spark']} in Spark ", end="")
        self.assertGreater(sum(ran.values()), 0, "no ```sql block was run")

    def rows(self, engine, root, text):
        # Paths in the examples are relative to the project's root.
        text = text.replace("out/", f"{root}/out/")
        rows = 0
        for query in filter(None, map(str.strip, text.split(";"))):
            if engine == "duckdb":
                rows = len(duckdb().execute(query).fetchall())
            else:
                rows = len(spark().sql(query).collect())
        return rows
