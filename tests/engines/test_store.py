"""`--publish` against a real S3 server: the objects there are the files here, and readers never see a mixture."""

import functools
import hashlib
import json
import os
import random
import shutil
import subprocess
import threading
import time
import unittest
import urllib.request

import store
import world
from contract import HISTORY
from engines import in_duckdb as duckdb

# Kills of an upload, spread over the time that one takes
KILLS = 12
# Datasets that replace each other beside a reader
REPLACEMENTS = 10
# Above this a file is sent in pieces.
PIECE = 8 << 20

QUIET = ["--progress", "none", "--quiet", "--summary", "json", "--max-failures", "100%"]
COLUMNS = ", ".join(HISTORY)


@functools.cache
def dataset(first, last, *flags):
    """Some of the domains, in many small files unless `flags` ask for others."""
    path = world.folder()
    domains = (world.ROOT / "inputs/domains.txt").read_text().splitlines()
    (path / "some.txt").write_text("\n".join(domains[first:last]) + "\n")
    form = flags or ("--partition-by", "year,month")
    command = ["run", path / "some.txt", "--api", world.start_sandbox(), "--out", path / "out", *world.UNHURRIED, *form]
    found = world.Dataset(path / "out", world.call(*command, "--max-failures", "100%", "--report"))
    found.command = command + ["--max-failures", "100%"]
    return found


def files(of):
    """What is to be under the prefix: everything that was published, and nothing of the ledger."""
    paths = [path for path in of.path.rglob("*") if path.is_file()]
    found = {str(path.relative_to(of.path)): path.read_bytes() for path in paths}
    return {name: data for name, data in found.items() if not name.startswith("_raw/")}


def publish(of, prefix, **options):
    """Runs the same command again, which has nothing to fetch."""
    return world.call(*of.command, "--publish", store.url(prefix), **options)


def published_to(output):
    return json.loads(output)["published_to"]


def kill(of, prefix, after):
    """Publishes, and kills the program after this many seconds; returns whether it was still running."""
    command = [world.PROGRAM, *map(str, of.command), "--publish", store.url(prefix)]
    environment = {**os.environ, "AISA_API_KEY": "any-token"}
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment
    )
    world.ended_by_its_id(process)
    try:
        process.wait(after)
    except subprocess.TimeoutExpired:
        process.kill()
    return process.wait() < 0


def look(prefix):
    """What a careful reader of a store does: the record, then `_SUCCESS`, then the parts, then the record again.

    None if there is no complete dataset to read; otherwise the run's id, once every part has been compared with it.
    """
    record = store.read(prefix, "_run.json")
    if record is None or store.read(prefix, "_SUCCESS") is None:
        return None
    wanted = {file["path"]: file["sha256"] for file in json.loads(record)["files"]}
    listed = {name for name in store.names(prefix) if "/" in name}
    digests = {name: hashlib.sha256(store.read(prefix, name) or b"").hexdigest() for name in wanted}
    if store.read(prefix, "_run.json") != record:
        return None
    if listed != set(wanted) or digests != wanted:
        different = listed ^ set(wanted) or [name for name in wanted if digests[name] != wanted[name]]
        raise AssertionError(f"a mixture: {sorted(different)}")
    return json.loads(record)["run_id"]


@unittest.skipUnless(store.is_there(), "the S3 server is packaged only for Linux")
class Stores(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        store.filesystem()

    def test_a_published_dataset_is_read_from_the_store_as_it_is_here(self):
        import pyarrow.dataset

        here = dataset(0, 60)
        first = published_to(publish(here, "read/from there"))
        self.assertEqual(store.objects("read/from there"), files(here))
        self.assertEqual((first["files"], first["files_sent"]), (len(files(here)), len(files(here)) - 1))
        there = pyarrow.dataset.dataset(
            f"{store.BUCKET}/read/from there/backlinks_history", filesystem=store.filesystem(), partitioning="hive"
        )
        connection = duckdb("UTC")
        connection.register("there", there)
        fingerprint = f"SELECT count(*), bit_xor(hash({COLUMNS})) FROM "
        read = connection.execute(fingerprint + "there").fetchall()
        self.assertEqual(read, connection.execute(f"{fingerprint}'{here.history}'").fetchall())
        self.assertGreater(read[0][0], 1_000)

    def test_a_dataset_that_is_there_is_not_sent_again(self):
        here, prefix = dataset(0, 60), "again"
        publish(here, prefix)
        before = {name: (here.path / name).stat().st_mtime_ns for name in files(here)}
        again = publish(here, prefix)
        self.assertEqual(published_to(again)["files_sent"], 0)
        self.assertEqual(json.loads(again)["calls_this_run"], 0)
        self.assertEqual({name: (here.path / name).stat().st_mtime_ns for name in files(here)}, before)

    def test_large_files_go_in_pieces_and_arrive_whole(self):
        here, prefix = dataset(0, 1300, "--partition-by", "none", "--compression", "none"), "pieces"
        self.assertGreater(max(path.stat().st_size for path in here.files()), 2 * PIECE)
        publish(here, prefix)
        self.assertEqual(store.objects(prefix), files(here))

    def test_a_replay_is_published_as_a_run_is(self):
        here, prefix = dataset(0, 60), "replayed"
        out = world.folder() / "out"
        output = world.call("replay", here.path, "--out", out, *QUIET, "--publish", store.url(prefix))
        self.assertEqual(store.objects(prefix), files(world.Dataset(out, output)))

    def test_an_upload_that_is_killed_at_any_moment_is_gone_on_with(self):
        older, here = dataset(0, 30), dataset(0, 60)
        begun = time.monotonic()
        publish(here, "measured")
        takes = time.monotonic() - begun
        random.seed(7)
        killed, sent = 0, 0
        for number in range(KILLS):
            prefix = f"killed/{number}"
            if number % 2:
                publish(older, prefix)
            was_killed = kill(here, prefix, 1.3 * takes * (number + random.random()) / KILLS)
            killed += was_killed
            if not was_killed:
                # An upload now takes less time than when it was measured, or this is one of the last kills, which are too late.
                takes *= 0.8
            self.assertIn(look(prefix), [None, older.record["run_id"], here.record["run_id"]])
            sent += published_to(publish(here, prefix))["files_sent"]
            self.assertEqual(store.objects(prefix), files(here))
        print(f"({killed} of {KILLS} killed within {takes:.1f} s, {sent} files sent afterwards) ", end="", flush=True)
        self.assertGreater(killed, KILLS // 2)
        self.assertLess(sent, KILLS * (len(files(here)) - 1), "what had arrived was not sent again")

    def test_a_reader_beside_replacements_and_kills_reads_whole_datasets_alone(self):
        both, prefix = [dataset(0, 30), dataset(0, 60)], "replaced"
        publish(both[0], prefix)
        seen, failures, done = [], [], threading.Event()

        def reader():
            while not done.is_set():
                try:
                    seen.append(look(prefix))
                except (AssertionError, OSError) as error:
                    failures.append(error)

        watching = threading.Thread(target=reader)
        watching.start()
        try:
            for number in range(REPLACEMENTS):
                one = both[(number + 1) % 2]
                if number % 3 == 2:
                    kill(one, prefix, random.uniform(0.02, 0.2))
                before = len(seen)
                publish(one, prefix)
                # Until the reader has seen it: on a slow machine, one read takes longer than any fixed pause.
                patience = time.monotonic() + 10
                while one.record["run_id"] not in seen[before:] and time.monotonic() < patience:
                    time.sleep(0.02)
        finally:
            time.sleep(1)
            done.set()
            watching.join()
        self.assertEqual(failures, [])
        whole = [one for one in seen if one]
        print(f"({len(seen)} looks, {len(whole)} at whole datasets) ", end="", flush=True)
        self.assertEqual(set(whole), {one.record["run_id"] for one in both})

    def test_what_would_go_wrong_at_the_end_is_found_before_the_first_call(self):
        api = world.start_sandbox()
        foreign = f"{store.BUCKET}/foreign/targets/mine.parquet"
        with store.filesystem().open_output_stream(foreign) as stream:
            stream.write(b"mine")
        real = dataset(0, 30)
        publish(real, "real")
        wrong = "wrong-secret-0123456789"

        def check(url, expected, *flags, **variables):
            with self.subTest(url=url, **variables):
                out = world.folder() / "out"
                inputs = world.ROOT / "inputs/domains.txt"
                command = ["run", inputs, "--out", out, "--publish", url, *flags, "-vv", "--yes"]
                environment = {**os.environ, "AISA_API_KEY": "any", **variables}
                done = subprocess.run(
                    [world.PROGRAM, *map(str, command)],
                    stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, env=environment,
                )
                self.assertEqual(done.returncode, 2, done.stderr)
                for words in expected:
                    self.assertIn(words, done.stderr)
                for secret in [wrong, store.SECRET]:
                    self.assertNotIn(secret, done.stdout + done.stderr)
                self.assertFalse((out / "_raw").exists(), "nothing is begun")

        at = ["--api", api]
        check(store.url("a"), ["s3://datasets/a", "AWS_SECRET_ACCESS_KEY"], *at, AWS_SECRET_ACCESS_KEY=wrong)
        check("s3://no-such-bucket/a", ["s3://no-such-bucket/a", "create the bucket first"], *at)
        check(store.url("foreign"), ["contains targets/mine.parquet, which is not part of an export"], *at)
        check(store.url("real"), ["contains real data"], "--sandbox")
        unreachable = "http://127.0.0.1:1"
        check(store.url("a"), ["cannot list objects in", ": cannot reach 127.0.0.1"], *at, AWS_ENDPOINT_URL=unreachable)
        plain = "http://192.0.2.1:9000"
        check(store.url("a"), ["plain http is only allowed for loopback addresses"], *at, AWS_ENDPOINT_URL=plain)
        check("ftp://a/b", ["expected s3://bucket/prefix"], *at)
        self.assertEqual(store.read("foreign", "targets/mine.parquet"), b"mine")
        with urllib.request.urlopen(api.split("/apis/")[0] + "/bill") as answer:
            self.assertEqual(json.load(answer)["calls"], 0)

    def test_an_upload_that_fails_ends_with_1_and_says_where_the_dataset_is(self):
        here, out = dataset(0, 30), world.folder() / "out"
        shutil.copytree(here.path, out)
        part = max((out / "targets").rglob("*.parquet"))
        part.write_bytes(part.read_bytes()[:-1] + b"X")
        command = [*map(str, here.command), "--publish", store.url("damaged")]
        command[command.index(str(here.path))] = str(out)
        done = subprocess.run(
            [world.PROGRAM, *command],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, env={**os.environ, "AISA_API_KEY": "any"},
        )
        self.assertEqual(done.returncode, 1, done.stderr)
        result = json.loads(done.stdout)
        self.assertEqual([result[key] for key in ["published", "success", "published_to"]], [True, False, None])
        self.assertIn(f"error: the dataset was not uploaded: {part} was changed after publishing", done.stderr)
        self.assertIn("run the same command again", done.stderr)
        self.assertIsNone(store.read("damaged", "_SUCCESS"))

    def test_a_run_stopped_by_its_cap_is_put_without_success(self):
        here, prefix = world.capped(), "capped"
        publish(dataset(0, 30), prefix)
        out = world.folder() / "out"
        world.call(
            *["replay", here.path, "--out", out, "--progress", "none", "--quiet", "--summary", "json"],
            *["--publish", store.url(prefix)],
            exit_code=3,
        )
        self.assertIsNone(store.read(prefix, "_SUCCESS"))
        self.assertEqual(store.objects(prefix), files(world.Dataset(out, "{}")))
