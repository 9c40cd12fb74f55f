"""`pip install .` builds the program and installs it as a command."""

import json
import os
import subprocess
import sys
import unittest
from pathlib import Path

import world


class Wheel(unittest.TestCase):
    def test_pip_install_gives_a_program_that_runs(self):
        folder = world.folder()
        # With the crates that tests/run has compiled; the program that other tests run meanwhile stays as it is.
        settings = {
            "MATURIN_PEP517_ARGS": "--profile dev --features tokio/test-util",
            "CARGO_BUILD_BUILD_DIR": str(world.PROGRAM.parents[1]),
            "CARGO_TARGET_DIR": str(folder / "target"),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        }
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-input", "--no-build-isolation", "--no-deps"]
        environment = {**os.environ, **settings}
        done = subprocess.run(
            [*command, "--prefix", folder, "."], cwd=world.ROOT, env=environment, capture_output=True, text=True
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        program = folder / "bin/backlinks-export"
        version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
        self.assertEqual(version, subprocess.run([world.PROGRAM, "--version"], capture_output=True, text=True).stdout)
        run = ["run", world.ROOT / "inputs/portfolio.csv", "--limit", "3", "--sandbox", "--out", folder / "out"]
        done = subprocess.run([program, *run, "--summary", "json"], capture_output=True, text=True)
        self.assertEqual((done.returncode, json.loads(done.stdout)["calls"]), (5, 3), done.stderr)
