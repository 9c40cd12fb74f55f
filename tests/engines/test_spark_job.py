"""docs/spark/rows.py reads the ledgers by itself, and finds the rows that `replay` and `run` published."""

import functools
import os
import shutil
import subprocess
import sys
import unittest

import odd
import world
from contract import HISTORY
from engines import in_spark as spark

sys.path.insert(0, str(world.ROOT / "docs/spark"))
import rows  # noqa: E402

COLUMNS = [*(name for name in HISTORY if name != "date"), "unix_micros(date)", "year"]


def history(session, directories):
    """As in a notebook: the workers are sent the file first."""
    session.sparkContext.addPyFile(rows.__file__)
    return rows.history(session, directories)


def found(frame):
    """The rows in an order that both sides share."""
    rows = [tuple(row) for row in frame.selectExpr(*COLUMNS).collect()]
    return sorted(rows, key=lambda row: (row[0], row[-2] is None, row[-2], repr(row)))


def published(dataset):
    return found(spark().read.parquet(f"{dataset.path}/backlinks_history"))


@functools.cache
def overlapping():
    """Three runs over lists that overlap: newer answers, failures, and a target that has lost its data."""
    folder = world.folder()
    domains = (world.ROOT / "inputs/domains.txt").read_text().splitlines()[:90]
    runs = [((0, 50), []), ((20, 90), ["--fail-code", "40501:0.3"]), ((40, 70), ["--fail-code", "40102:0.3"])]
    paths = []
    for number, ((first, end), faults) in enumerate(runs):
        listed = folder / f"{number}.txt"
        listed.write_text("\n".join(domains[first:end]) + "\n")
        paths.append(folder / f"run-{number}")
        api = world.start_sandbox(*faults)
        arguments = ["--api", api, "--out", paths[-1], "--max-failures", "100%", "--date-from", "2024-01-01"]
        world.call("run", listed, *arguments, *world.UNHURRIED)
    out = folder / "merged"
    common = ["--progress", "none", "--summary", "json", "--max-failures", "100%"]
    return folder, world.Dataset(out, world.call("replay", *paths, "--out", out, *common))


@functools.cache
def monthly():
    """A run, its refresh, and one that reuses stored answers."""
    folder, api = world.folder(), world.start_sandbox()
    (folder / "list.txt").write_text("".join(f"site{number}.com\n" for number in range(30)))
    (folder / "longer.txt").write_text("".join(f"site{number}.com\n" for number in range(45)))
    common = ["--api", api, "--date-from", "2024-01-01", *world.UNHURRIED]
    world.call("run", folder / "list.txt", "--out", folder / "a", "--date-to", "2024-06-30", *common)
    world.call("run", folder / "list.txt", "--out", folder / "a", "--max-age", "1s", *common)
    longer = ["--out", folder / "b", "--previous", folder / "a"]
    return folder, world.Dataset(folder / "b", world.call("run", folder / "longer.txt", *longer, *common))


class SparkJob(unittest.TestCase):
    maxDiff = 4000

    def assert_same(self, one, other):
        self.assertEqual(len(one), len(other))
        for left, right in zip(one, other):
            self.assertEqual(left, right)

    def test_the_rows_are_those_of_the_dataset(self):
        dataset = world.portfolio()
        frame = history(spark(), [str(dataset.path)])
        table = spark().read.parquet(f"{dataset.path}/backlinks_history")
        self.assertEqual(
            [(field.name, field.dataType) for field in frame.schema], [(field.name, field.dataType) for field in table.schema]
        )
        one = found(frame)
        self.assertGreater(len(one), 15_000)
        self.assert_same(one, published(dataset))

    def test_odd_answers_are_understood_alike(self):
        dataset = odd.odd()
        self.assert_same(found(history(spark(), [str(dataset.path)])), published(dataset))

    def test_of_many_runs_the_newest_answer_counts_as_in_a_replay(self):
        folder, merged = overlapping()
        self.assertGreater(merged.summary["no_data"], 3)
        self.assertGreater(merged.summary["failed"], 0)
        one = found(history(spark(), [f"{folder}/run-*"]))
        self.assertGreater(len(one), 1_000)
        self.assert_same(one, published(merged))

    def test_refreshed_and_taken_over_answers_count_once(self):
        folder, dataset = monthly()
        self.assertEqual(dataset.summary["calls"], 15)
        self.assert_same(found(history(spark(), [str(dataset.path)])), published(dataset))
        self.assert_same(found(history(spark(), [str(folder / "a"), str(folder / "b")])), published(dataset))

    def test_torn_and_damaged_ledgers_are_no_silent_loss(self):
        torn = world.folder() / "torn"
        shutil.copytree(overlapping()[0] / "run-0", torn)
        ledger = torn / "_raw/ledger-0.jsonl.gz"
        ledger.write_bytes(ledger.read_bytes()[:-3000])
        # It contains the length of the ledger, so that lost answers are noticed.
        (torn / "_run.json").unlink()
        out = torn.parent / "again"
        world.call("replay", torn, "--out", out, "--max-failures", "100%", "--summary", "json", "--progress", "none")
        replayed = found(spark().read.parquet(f"{out}/backlinks_history"))
        whole = found(history(spark(), [f"{overlapping()[0]}/run-0"]))
        self.assertTrue(0 < len(replayed) < len(whole))
        # It would print every thread's stack.
        spark().sparkContext.setLogLevel("OFF")
        damaged = bytearray((overlapping()[0] / "run-0/_raw/ledger-0.jsonl.gz").read_bytes())
        damaged[len(damaged) // 2] ^= 0xFF
        for content in [ledger.read_bytes(), damaged]:
            ledger.write_bytes(content)
            with self.assertRaisesRegex(Exception, "ledger-0.jsonl.gz"):
                history(spark(), [str(torn)]).collect()
        spark().sparkContext.setLogLevel("ERROR")

    def test_numbers_dates_and_texts_are_read_as_the_program_reads_them(self):
        for written, wanted in {
            "12": 12, "12.0": 12, "1.25e2": 125, "-0.0": 0, "9223372036854775807.0": 2**63 - 1, "9007199254740993.0": 2**53 + 1,
            "0.5": rows.NO_INTEGER, "9223372036854775808": rows.NO_INTEGER, "1e400": rows.NO_INTEGER,
            "1e99999999999999999999": rows.NO_INTEGER, "1e-5": rows.NO_INTEGER,
        }.items():
            self.assertEqual(rows.exact(written), wanted, written)
        for written, wanted in {
            "512": 512, "-7": -7, "007": 7, "9223372036854775807": 2**63 - 1, "9223372036854775808": None, "512.0": None,
            " 512": None, "+5": None, "-": None, "": None, "5e2": None, "٣": None, 12: 12, True: None, None: None,
        }.items():
            self.assertEqual(rows.integer(written), wanted, written)
        for written, wanted in {
            "2019-11-15 12:57:46 +00:00": 1573822666000000, "2019-11-15T12:57:46.123456-05:30": 1573842466123456,
            "2019-11-15 12:57:46": 1573822666000000, "2019-11-15": 1573776000000000, " 2019-11-15 ": 1573776000000000,
            "2019-02-29": None, "0001-01-01 00:00:00 +00:00": None, "soon": None, "": None,
        }.items():
            self.assertEqual(rows.micros_of(written), wanted, written)
        self.assertEqual(rows.text("a\ud800b"), "a\ufffdb")
        self.assertEqual(rows.text("\U0001f600é"), "\U0001f600é")
        # Text that is not JSON on one line, and bytes that are not UTF-8
        body = '{"tasks":[null,{"result":[null,{"items":[{"rank":1.0,"type":"%s"},7]}]}]}'
        for line in [
            {"body_text": body.replace("{", "\n{") % "é"},
            {"body_latin1": (body % "é").encode().replace("é".encode(), b"\xff").decode("latin-1")},
        ]:
            [row] = rows.rows_of_line(rows.json.dumps(line))
            self.assertIn(row[0], ("é", "\ufffd"))
            self.assertEqual(row[list(rows.ROW).index("rank")], 1)

    def test_the_job_is_started_as_its_page_says(self):
        folder, merged = overlapping()
        out = world.folder() / "table"
        command = [os.environ["PYSPARK_PYTHON"], "-m", "pyspark.find_spark_home"]
        home = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        settings = ["spark.ui.enabled=false", "spark.driver.bindAddress=127.0.0.1", "spark.driver.host=127.0.0.1"]
        flags = [word for setting in settings for word in ("--conf", setting)]
        command = [f"{home}/bin/spark-submit", "--master", "local[2]", *flags, "docs/spark/rows.py", out, f"{folder}/run-*"]
        done = subprocess.run(command, cwd=world.ROOT, capture_output=True, text=True, timeout=world.LONGEST_RUN)
        self.assertEqual(done.returncode, 0, done.stderr[-3000:])
        self.assert_same(found(spark().read.parquet(str(out))), published(merged))
