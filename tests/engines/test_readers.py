"""DuckDB reads a directory again and again while it is published again and publishers are killed: whole tables only.

DuckDB skips a file that disappears between listing and opening it. A swap within those microseconds can
cost an answer one partition; a reader that
checks `_SUCCESS` and `_run.json` before and after, as in docs/reliability.md, notices it.
"""

import os
import random
import subprocess
import threading
import time
import unittest

import world
from engines import in_duckdb as duckdb

PUBLICATIONS = 200
# Many small files: more to list and open between two swaps, and quickly written
FORM = ["--date-from", "2024-06-01", "--date-to", "2024-12-31", "--partition-by", "year,month"]
# Between two reads, so that the publisher gets a processor
PAUSE_S = 0.005
FIRST_TARGETS = 5
# One publication in this many is killed at a random moment
ONE_KILLED_OF = 3
# Results that lack a partition without an error; comparing _run.json would have revealed them
MOST_UNNOTICED = 2
# What a reader may encounter: listed files are gone. It gets an error, no rows, and has to read again.
GONE = ["No such file", "No files found", "does not exist"]

HISTORY = "SELECT count(*), count(DISTINCT target), sum(rank), sum(backlinks) FROM read_parquet('{}')"
TARGETS = "SELECT count(*), count(DISTINCT target), sum(rows), min(outcome) FROM read_parquet('{}')"


def mark(out):
    """What a careful reader checks before and after; `None`: a publication is in progress."""
    try:
        record = (out / "_run.json").read_bytes()
        return record if (out / "_SUCCESS").exists() else None
    except FileNotFoundError:
        return None


class Reader(threading.Thread):
    """Runs the same query until it is stopped; counts each result, and records which are certain."""

    def __init__(self, question, out):
        super().__init__()
        self.question, self.out, self.answers, self.certain, self.errors = question, out, {}, set(), {}
        self.stopped = threading.Event()

    def run(self):
        connection = duckdb("UTC").cursor()
        # Otherwise, cached metadata of an earlier file of the same name could cause errors of its own
        connection.execute("SET enable_object_cache = false")
        while not self.stopped.wait(PAUSE_S):
            try:
                before = mark(self.out)
                answer = connection.execute(self.question).fetchall()[0]
                self.answers[answer] = self.answers.get(answer, 0) + 1
                # _SUCCESS, then _run.json: the other way round a publication could end in between
                if before is not None and (self.out / "_SUCCESS").exists() and mark(self.out) == before:
                    self.certain.add(answer)
            except Exception as error:  # noqa: BLE001
                text = str(error)
                kind = next((gone for gone in GONE if gone in text), text)
                self.errors[kind] = self.errors.get(kind, 0) + 1


class Readers(unittest.TestCase):
    def test_a_reader_beside_publications_and_kills_sees_whole_tables_only(self):
        seed = int(os.environ.get("SEED", time.time()))
        print(f"(seed {seed}) ", end="", flush=True)
        chance = random.Random(seed)
        path, api = world.folder(), world.start_sandbox()
        flags = ["--api", api, "--out", path / "out", *FORM, *world.UNHURRIED]
        tables = {"backlinks_history/**": HISTORY, "targets": TARGETS}
        questions = {table: question.format(f"{path}/out/{table}/*.parquet") for table, question in tables.items()}
        whole = {table: set() for table in tables}
        connection = duckdb("UTC")
        connection.execute("SET enable_object_cache = false; SET enable_external_file_cache = false")

        def publish(targets, after=None):
            """One more target, so that every file of both tables has other bytes than before."""
            (path / "some.txt").write_text("".join(f"reader-{number}.com\n" for number in range(targets)))
            command = [world.PROGRAM, "run", path / "some.txt", *flags]
            environment = {**os.environ, "AISA_API_KEY": "any-token"}
            process = subprocess.Popen(
                list(map(str, command)), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=environment
            )
            if after is not None:
                time.sleep(after)
                process.kill()
            ended = process.wait()
            # While no run publishes
            for table, question in questions.items():
                whole[table].add(connection.execute(question).fetchall()[0])
            return ended

        self.assertEqual(publish(FIRST_TARGETS), 0)
        # Kills fall within the time that the last complete publication took, since the load of the machine varies.
        usual = 0
        readers = {table: Reader(question, path / "out") for table, question in questions.items()}
        for reader in readers.values():
            reader.start()
        try:
            killed = 0
            for number in range(PUBLICATIONS):
                is_killed = number % ONE_KILLED_OF == ONE_KILLED_OF - 1
                begun = time.monotonic()
                ended = publish(FIRST_TARGETS + 1 + number, usual * chance.random() if is_killed else None)
                if not is_killed:
                    usual = time.monotonic() - begun
                killed += ended != 0
                self.assertIn(ended, (0, -9) if is_killed else (0,))
        finally:
            for reader in readers.values():
                reader.stopped.set()
            for reader in readers.values():
                reader.join()
        self.assertGreater(killed, PUBLICATIONS // ONE_KILLED_OF // 4)
        for table, reader in readers.items():
            self.assertEqual(reader.certain - whole[table], set(), table)
            self.assertGreater(len(reader.certain), PUBLICATIONS // 4, table)
            mixed = sum(times for answer, times in reader.answers.items() if answer not in whole[table])
            self.assertLessEqual(mixed, MOST_UNNOTICED, table)
            self.assertGreater(len(reader.answers), PUBLICATIONS // 4, table)
            self.assertLessEqual(set(reader.errors), set(GONE), table)
