"""Every partitioning and every compression is read by both engines as the same rows."""

import functools
import itertools
import re
import unittest

import odd
import pyarrow.parquet
import world
from contract import HISTORY, in_duckdb, in_spark
from engines import in_duckdb as duckdb
from engines import in_spark as spark

LAYOUTS = ["year", "month", "run_date", "year,month", "year,month,run_date", "run_date,year", "none"]
COMPRESSIONS = {"zstd:1": "ZSTD", "zstd:19": "ZSTD", "snappy": "SNAPPY", "lz4": "LZ4_RAW", "none": "UNCOMPRESSED"}
# The engines' types for partition columns
KEYS_IN_DUCKDB = {"year": "BIGINT", "month": "BIGINT", "run_date": "DATE"}
KEYS_IN_SPARK = {"year": "int", "month": "int", "run_date": "date"}

COLUMNS = ", ".join(HISTORY)


def fingerprint_in_duckdb(source):
    """The number of rows, and a digest of their values in any order."""
    return duckdb("UTC").execute(f"SELECT count(*), bit_xor(hash({COLUMNS})) FROM {source}").fetchall()


def fingerprint_in_spark(frame):
    flat = [f"to_json(struct({name})) AS {name}" for name in HISTORY]
    hashes = frame.selectExpr(*flat).selectExpr(f"xxhash64({COLUMNS}) AS hash")
    return hashes.selectExpr("count(*)", "bit_xor(hash)").collect()[0]


@functools.cache
def small():
    """A hundred targets: enough for every month, few enough for many layouts."""
    path = world.folder()
    domains = (world.ROOT / "inputs/domains.txt").read_text().splitlines()
    (path / "some.txt").write_text("\n".join(domains[:100]) + "\n")
    arguments = ["--api", world.start_sandbox(), "--out", path / "out", *world.UNHURRIED]
    return world.Dataset(path / "out", world.call("run", path / "some.txt", *arguments))


class Layouts(unittest.TestCase):
    def check(self, dataset, keys, source=None):
        wanted_in_duckdb = fingerprint_in_duckdb(f"'{(source or small()).history}'")
        wanted_in_spark = fingerprint_in_spark(spark().read.parquet(f"{(source or small()).path}/backlinks_history"))
        connection = duckdb()
        # As the glob of every file, and as a folder with partitions named
        for table in [f"'{dataset.history}'", f"read_parquet('{dataset.history}', hive_partitioning = true)"]:
            found = [tuple(row[:2]) for row in connection.execute(f"DESCRIBE SELECT * FROM {table}").fetchall()]
            # DuckDB puts partition columns in order of their names, Spark in order of the folders.
            self.assertEqual(found, in_duckdb(HISTORY) + [(key, KEYS_IN_DUCKDB[key]) for key in sorted(keys)])
            self.assertEqual(fingerprint_in_duckdb(table), wanted_in_duckdb)
        frame = spark().read.parquet(f"{dataset.path}/backlinks_history")
        self.assertEqual(frame.dtypes, in_spark(HISTORY) + [(key, KEYS_IN_SPARK[key]) for key in keys])
        self.assertEqual(fingerprint_in_spark(frame), wanted_in_spark)
        if "year" in keys or "month" in keys:
            dated = " AND ".join(f"{key}(date) = {key}" for key in keys if key in ("year", "month"))
            wrong = f"SELECT count(*) FROM '{dataset.history}' WHERE NOT ({dated})"
            self.assertEqual(duckdb("UTC").execute(wrong).fetchall(), [(0,)])

    def test_every_partitioning_is_read_alike(self):
        for layout in LAYOUTS:
            with self.subTest(layout):
                dataset = world.replay(small(), "--partition-by", layout)
                folders = dataset.files()[0].relative_to(dataset.path / "backlinks_history").parts[:-1]
                keys = [] if layout == "none" else layout.split(",")
                self.assertEqual([folder.split("=")[0] for folder in folders], keys)
                self.check(dataset, keys)

    def test_months_and_days_of_runs_are_partitions_that_both_engines_prune_by(self):
        dataset = world.replay(small(), "--partition-by", "year,month,run_date")
        where = "year = 2024 AND month = 3"
        one = duckdb().execute(f"SELECT count(*) FROM '{dataset.history}' WHERE {where}").fetchall()[0][0]
        frame = spark().read.parquet(f"{dataset.path}/backlinks_history")
        self.assertGreater(one, 0)
        self.assertEqual(frame.where(where).count(), one)
        self.assertFalse([file for file in dataset.files() if re.search(r"month=0", str(file))], "padded months")

    def test_every_compression_is_read_alike(self):
        for flag, name in COMPRESSIONS.items():
            with self.subTest(flag):
                dataset = world.replay(small(), "--compression", flag)
                query = f"SELECT DISTINCT compression FROM parquet_metadata('{dataset.history}')"
                self.assertEqual(duckdb().execute(query).fetchall(), [(name,)])
                self.check(dataset, ["year"])
                targets = spark().read.parquet(f"{dataset.path}/targets").count()
                self.assertEqual(targets, small().summary["targets"])

    def test_a_plain_dataset_has_no_delta_encoding_and_is_read_alike(self):
        for original in [small(), odd.odd()]:
            dataset = world.replay(original, "--parquet-encoding", "plain")
            self.check(dataset, ["year"], source=original)
            for before, after in [(original, False), (dataset, True)]:
                encodings = self.encodings(before)
                self.assertGreater(len(encodings), len(HISTORY))
                deltas = {column for column, used in encodings.items() if "DELTA" in used}
                self.assertEqual(not deltas, after, deltas)

    def encodings(self, dataset):
        """The encodings of every column of every table, as DuckDB and pyarrow read them."""
        files = sorted(dataset.path.glob("*/**/*.parquet"))
        one = duckdb().execute(
            "SELECT file_name, path_in_schema, string_agg(DISTINCT encodings, ', ' ORDER BY encodings)"
            " FROM parquet_metadata(?) GROUP BY ALL", [list(map(str, files))]
        ).fetchall()
        two = {}
        for file in files:
            metadata = pyarrow.parquet.ParquetFile(file).metadata
            for group, column in itertools.product(range(metadata.num_row_groups), range(metadata.num_columns)):
                chunk = metadata.row_group(group).column(column)
                two.setdefault((str(file), chunk.path_in_schema), set()).update(chunk.encodings)
        self.assertEqual(len(one), len(two))
        return {(file, column): f"{used} {two[file, column.replace(', ', '.')]}" for file, column, used in one}

    def test_odd_answers_are_read_alike_in_every_partitioning(self):
        for layout in ["year,month", "run_date,year", "none"]:
            with self.subTest(layout):
                dataset = world.replay(odd.odd(), "--partition-by", layout)
                self.assertEqual(
                    fingerprint_in_duckdb(f"'{dataset.history}'"), fingerprint_in_duckdb(f"'{odd.odd().history}'")
                )
                frame = spark().read.parquet(f"{dataset.path}/backlinks_history")
                whole = spark().read.parquet(f"{odd.odd().path}/backlinks_history")
                self.assertEqual(fingerprint_in_spark(frame), fingerprint_in_spark(whole))

    def test_datasets_without_rows_are_read_in_every_partitioning(self):
        for layout in ["year,month", "run_date,year", "none"]:
            with self.subTest(layout):
                dataset = world.replay(odd.empty(), "--partition-by", layout)
                frame = spark().read.parquet(f"{dataset.path}/backlinks_history")
                self.assertEqual(frame.dtypes[: len(HISTORY)], in_spark(HISTORY))
                self.assertEqual(frame.count(), 0)
                found = duckdb().execute(f"DESCRIBE SELECT * FROM '{dataset.history}'").fetchall()
                self.assertEqual([tuple(row[:2]) for row in found][: len(HISTORY)], in_duckdb(HISTORY))

    def test_a_replay_as_the_run_was_is_the_same_byte_for_byte(self):
        dataset = world.replay(small())

        def digests(one):
            return [(file["path"], file["sha256"]) for file in one.record["files"]]

        self.assertEqual(digests(dataset), digests(small()))

    def test_duckdb_reads_both_tables_and_nothing_else_below_the_directory(self):
        dataset = small()
        found = duckdb().execute(f"SELECT file FROM glob('{dataset.path}/**/*.parquet') ORDER BY file").fetchall()
        wanted = sorted([*dataset.files(), *dataset.files("targets")])
        self.assertEqual([file for (file,) in found], list(map(str, wanted)))
        listed = sorted(str(dataset.path / file["path"]) for file in dataset.record["files"])
        self.assertEqual(list(map(str, wanted)), listed)
        joined = duckdb().execute(f"""
            SELECT count(*) FROM '{dataset.history}' AS history JOIN '{dataset.targets}' AS targets USING (target)
            WHERE targets.outcome = 'ok'
        """).fetchall()
        self.assertEqual(joined, [(dataset.summary["rows"],)])
