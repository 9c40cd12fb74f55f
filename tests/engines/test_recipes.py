"""The steps of docs/recipes.md and of the Dockerfile are carried out, as far as a machine without a cluster, runner or container can.

The shell commands of the workflow, the Jobs, the container and cron are taken from the page unchanged and really
run, four processes at once where four are meant, against the simulated API. Around them is as much of a runner as the
page needs: workspaces of their own, a cache and artifacts, conditions of steps. The result is compared with one big
run, byte by byte, and the API's bill shows whether anything was bought twice.
"""

import concurrent.futures
import functools
import json
import os
import re
import shlex
import shutil
import subprocess
import unittest
import urllib.request
from pathlib import Path

import world
import yaml

PAGE = (world.ROOT / "docs/recipes.md").read_text()
DOCKERFILE = (world.ROOT / "Dockerfile").read_text()
# The libraries of a bare Debian image that a Rust program may link.
IN_DEBIAN = {"libc.so.6", "libgcc_s.so.1", "libm.so.6", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1", "linux-vdso.so.1"}
# Replaces cargo, since the program is already built.
CARGO = """#!/bin/sh
[ "$*" = "install --locked --path ." ] || { echo "cargo $* is not what this test knows" >&2; exit 64; }
"""


def blocks(heading, language):
    """The blocks of a language under a heading of the page."""
    section = PAGE.split(f"\n## {heading}")[1].split("\n## ")[0]
    return re.findall(rf"^```{language}\n(.*?)^```$", section, re.M | re.S)


@functools.cache
def commands():
    """A folder with the program and stand-ins for other commands."""
    folder = world.folder()
    (folder / "backlinks-export").symlink_to(world.PROGRAM)
    (folder / "cargo").write_text(CARGO)
    (folder / "cargo").chmod(0o755)
    return folder


def environment(api, **more):
    """The environment of a command on a machine without this test."""
    path = f"{commands()}{os.pathsep}{os.environ['PATH']}"
    return {"PATH": path, "HOME": str(commands()), "BACKLINKS_API_URL": api, **more}


def run(command, folder, env):
    return subprocess.run(
        command, cwd=folder, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=world.LONGEST_RUN
    )


def checkout():
    """A workspace with what the recipes export."""
    folder = world.folder()
    shutil.copytree(world.ROOT / "inputs", folder / "inputs")
    return folder


def bill(api):
    with urllib.request.urlopen(api.split("/apis/")[0] + "/bill") as answer:
        return json.load(answer)


def history(directory):
    """Each file of the table below a run's directory, without its run's id in the name."""
    table = Path(directory, "backlinks_history")
    return {re.sub(r"part-.*?(\d*)\.parquet$", r"\1", str(path.relative_to(table))): path.read_bytes()
            for path in sorted(table.rglob("*.parquet"))}


@functools.cache
def whole():
    """The history of one big run."""
    folder, api = checkout(), world.start_sandbox()
    world.call("run", "inputs/portfolio.csv", "--api", api, "--out", "out", *world.UNHURRIED, cwd=folder)
    return history(folder / "out")


class Runner:
    """As much of a GitHub runner as the page relies on."""

    def __init__(self):
        self.cache, self.artifacts, self.runs = {}, {}, 0

    def workflow(self, workflow, api):
        """Whether each job succeeded, and the folder of the last."""
        self.runs += 1
        succeeded, folder = {}, None
        for name, job in workflow["jobs"].items():
            needed = succeeded.get(job.get("needs"), True)
            if not needed and job.get("if") != "${{ !cancelled() }}":
                succeeded[name] = False
                continue
            matrix = job.get("strategy", {}).get("matrix", {"": [None]})
            ((variable, values),) = matrix.items()
            with concurrent.futures.ThreadPoolExecutor(len(values)) as pool:
                one = functools.partial(self.job, workflow, job, api)
                ended = list(pool.map(one, [{f"matrix.{variable}": str(value)} for value in values]))
            succeeded[name], folder = all(passed for passed, _ in ended), ended[-1][1]
        return succeeded, folder

    def job(self, workflow, job, api, known):
        folder, meta = checkout(), world.folder()
        known = {**known, "github.run_id": str(self.runs), "github.run_attempt": "1", "secrets.AISA_API_KEY": "any-token"}
        files = {name: str(meta / name) for name in ("GITHUB_ENV", "GITHUB_STEP_SUMMARY")}
        env = environment(api, CI="true", GITHUB_ACTIONS="true", **files)
        env |= {name: evaluated(value, known) for name, value in job.get("env", {}).items()}
        passed = True
        for step in job["steps"]:
            if not passed and step.get("if") != "always()":
                continue
            known |= {f"env.{name}": value for name, value in env.items()}
            if "run" in step:
                command = evaluated(step["run"], known)
                env |= {name: evaluated(value, known) for name, value in step.get("env", {}).items()}
                done = run(["bash", "-e", "-c", command], folder, env)
                passed = passed and done.returncode == 0
                self.log = f"{command}\n{done.stdout}{done.stderr}"
            else:
                options = {key: evaluated(value, known) for key, value in step.get("with", {}).items()}
                self.action(step["uses"], options, folder)
            lines = (meta / "GITHUB_ENV").read_text().splitlines() if (meta / "GITHUB_ENV").exists() else []
            env |= dict(line.split("=", 1) for line in lines)
        summary = meta / "GITHUB_STEP_SUMMARY"
        assert not passed or "### backlinks-export" in summary.read_text(), "the page of the run has a table"
        return passed, folder

    def action(self, uses, options, folder):
        name, version = uses.split("@")
        assert re.fullmatch(r"v\d+", version), uses
        store = {"actions/cache/save": self.cache, "actions/upload-artifact": self.artifacts}.get(name)
        if name == "actions/checkout":
            return
        place = folder / options["path"]
        if store is not None:
            key = options.get("key") or options["name"]
            # A cache's key is never overwritten; an artifact is, where the workflow asks for it.
            if (key in store and name == "actions/cache/save") or not place.exists():
                return
            assert key not in store or options["overwrite"] == "True", f"the artifact {key} is there"
            store[key] = world.folder() / "kept"
            shutil.copytree(place, store[key])
        elif name == "actions/cache/restore":
            keys = [key for key in self.cache if key.startswith(options["restore-keys"])]
            exact = options["key"] if options["key"] in self.cache else None
            if exact or keys:
                shutil.copytree(self.cache[exact or keys[-1]], place)
        elif name == "actions/download-artifact":
            prefix = options["pattern"].removesuffix("*")
            for key, kept in self.artifacts.items():
                if key.startswith(prefix):
                    shutil.copytree(kept, place / key)
        else:
            raise AssertionError(f"{uses} is not what this test knows")


def evaluated(text, known):
    """A value with its expressions replaced."""
    return re.sub(r"\$\{\{ *(.*?) *\}\}", lambda found: known[found[1]], str(text))


class Recipes(unittest.TestCase):
    maxDiff = 4000

    def assert_is_the_whole(self, directory):
        self.assertGreater(len(whole()), 5, "years")
        self.assertEqual(history(directory), whole())
        self.assertTrue((Path(directory) / "_SUCCESS").exists())

    def test_the_workflow_goes_on_after_a_failure_and_merges_to_what_one_run_gives(self):
        [text] = blocks("GitHub Actions", "yaml")
        workflow = yaml.safe_load(text)
        self.assertIs(workflow["concurrency"]["cancel-in-progress"], False)
        self.assertIs(workflow["jobs"]["fetch"]["strategy"]["fail-fast"], False)
        runner = Runner()
        # The account runs empty midway: every job fails, and paid answers are kept.
        poor = world.start_sandbox("--no-credit-after", "20")
        succeeded, _ = runner.workflow(workflow, poor)
        self.assertEqual(succeeded, {"fetch": False, "merge": False})
        self.assertEqual(len(runner.cache), 4)
        rich = world.start_sandbox()
        succeeded, folder = runner.workflow(workflow, rich)
        self.assertEqual(succeeded, {"fetch": True, "merge": True}, runner.log)
        first, second = bill(poor), bill(rich)
        self.assertEqual(first["billed_calls"], 20)
        self.assertEqual(second["calls"], 59 - 20, "stored answers are not bought again")
        self.assert_is_the_whole(folder / "out/merged")
        self.assertTrue((folder / "out/merged/report.html").exists())
        self.assertEqual(set(runner.artifacts), {"shard-1", "shard-2", "shard-3", "shard-4", "dataset"})
        # A second run in the same month makes no calls.
        succeeded, folder = runner.workflow(workflow, rich)
        self.assertEqual(succeeded, {"fetch": True, "merge": True}, runner.log)
        self.assertEqual(bill(rich)["calls"], 59 - 20)
        self.assert_is_the_whole(folder / "out/merged")

    def test_the_jobs_of_a_cluster_export_in_shards_and_merge(self):
        [text] = blocks("Kubernetes", "yaml")
        fetch, merge = yaml.safe_load_all(text)
        folder, api = checkout(), world.start_sandbox()
        (folder / "data").mkdir()

        def pod(job, index):
            spec = job["spec"]["template"]["spec"]
            [container] = spec["containers"]
            mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
            self.assertLessEqual(set(mounts.values()), {volume["name"] for volume in spec["volumes"]})
            line = [*container.get("command", ["backlinks-export"]), *container["args"]]
            line = [re.sub(r"(?<![\w.])/(data|inputs)\b", rf"{folder}/\1", word) for word in line]
            named = {entry["name"]: "any-token" for entry in container.get("env", [])}
            # Only the volumes can be written.
            return run(line, "/", environment(api, JOB_COMPLETION_INDEX=str(index), **named))

        spec = fetch["spec"]
        self.assertEqual(spec["completionMode"], "Indexed")
        with concurrent.futures.ThreadPoolExecutor(spec["parallelism"]) as pool:
            ended = list(pool.map(functools.partial(pod, fetch), range(spec["completions"])))
        for done in ended:
            self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(bill(api)["calls"], 59)
        done = pod(merge, 0)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assert_is_the_whole(folder / "data/merged")
        # Codes that a second try does not fix.
        self.assertEqual(spec["podFailurePolicy"]["rules"][0]["onExitCodes"]["values"], [2, 4, 5])
        self.assertGreater(spec["template"]["spec"]["terminationGracePeriodSeconds"], 130, "--timeout")

    def test_cron_needs_no_flock(self):
        [line] = blocks("cron", "text")
        *when, command = line.strip().split(maxsplit=5)
        self.assertEqual(len(when), 5)
        self.assertNotRegex(command, r"(?<!\\)%", "cron would take it for a line's end")
        folder, api = checkout(), world.start_sandbox()
        (folder / "portfolio.csv").write_bytes((folder / "inputs/portfolio.csv").read_bytes())
        (folder / "key").write_text("any-token\n")
        command = command.replace("\\%", "%").replace("/srv/audit", str(folder)).replace("/etc/aisa-key", str(folder / "key"))
        command = command.replace("/var/lib/node_exporter", str(folder))
        start = functools.partial(run, ["/bin/sh", "-c", command], "/", environment(api))
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            ended = sorted((done.result() for done in [pool.submit(start), pool.submit(start)]), key=lambda done: done.returncode)
        self.assertEqual([done.returncode for done in ended], [0, 1], [done.stderr for done in ended])
        self.assertIn("is in use by another run", ended[1].stderr)
        self.assertEqual(bill(api)["calls"], 59)
        [out] = (folder / "out").iterdir()
        self.assertRegex(out.name, r"^\d{4}-\d\d$")
        self.assert_is_the_whole(out)
        self.assertIn("backlinks_export", (folder / "backlinks.prom").read_text())

    def test_the_image_is_built_of_what_is_there_and_has_what_the_program_links(self):
        instructions = re.findall(r"^(FROM|COPY|RUN|USER|ENTRYPOINT|LABEL|ENV) (.*?)$(?!\n )", re.sub(r" \\\n\s*", " ", DOCKERFILE), re.M)
        for name, rest in instructions:
            if name == "FROM":
                self.assertRegex(rest, r"^\S+:\d+\.\d+\S*-slim\S*", "a version, not what is the latest today")
            if name == "COPY" and "--from" not in rest:
                *sources, _ = rest.split()
                for source in sources:
                    self.assertTrue((world.ROOT / source).exists(), source)
                    self.assertIn(f"!{source}", (world.ROOT / ".dockerignore").read_text().splitlines())
        copied = {source for name, rest in instructions if name == "COPY" and "--from" not in rest for source in rest.split()[:-1]}
        # Cargo asks for these files, whatever it builds, unless their paths are written out in Cargo.toml.
        metadata = run(["cargo", "metadata", "--locked", "--no-deps", "--format-version", "1"], world.ROOT, os.environ)
        [package] = json.loads(metadata.stdout)["packages"]
        manifest = (world.ROOT / "Cargo.toml").read_text()
        for target in package["targets"]:
            path = Path(target["src_path"]).relative_to(world.ROOT)
            named = f'path = "{path}"' in manifest and "test" in target["kind"]
            self.assertTrue(named or path.parts[0] in copied, path)
        toolchain = re.search(r'channel = "(.*)"', (world.ROOT / "rust-toolchain.toml").read_text())[1]
        self.assertTrue(instructions[0][1].startswith(f"rust:{toolchain}-slim-bookworm "))
        self.assertIn(f'image.version="{package["version"]}"', DOCKERFILE)
        self.assertIn(("USER", "10001:10001"), instructions)
        [build] = [rest for name, rest in instructions if name == "RUN"]
        words = shlex.split(re.search(r"cargo build [^&]*", build)[0])
        self.assertEqual(words, ["cargo", "build", "--profile", "dist", "--locked", "--bin", "backlinks-export"])
        linked = subprocess.run(["ldd", world.PROGRAM], capture_output=True, text=True, check=True).stdout
        names = {Path(line.split()[0]).name for line in linked.splitlines()}
        self.assertLessEqual(names, IN_DEBIAN)

    def test_the_linter_has_nothing_to_say_about_the_dockerfile(self):
        tool = Path(os.environ["PYSPARK_PYTHON"]).parent / "hadolint"
        done = run([tool, world.ROOT / "Dockerfile"], world.ROOT, os.environ)
        self.assertEqual((done.returncode, done.stdout), (0, ""), done.stdout + done.stderr)

    def test_the_container_is_started_with_flags_that_work(self):
        [text] = blocks("A container", "text")
        build, start = map(shlex.split, text.strip().splitlines())
        image = build[build.index("-t") + 1]
        self.assertIn(f"#   {' '.join(build)}\n", DOCKERFILE)
        arguments = start[start.index(image) + 1 :]
        folder, api = checkout(), world.start_sandbox()
        done = run(["backlinks-export", *arguments], folder, environment(api, AISA_API_KEY="any-token"))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assert_is_the_whole(folder / "out/audit")
