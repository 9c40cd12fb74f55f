"""A question reads little of the dataset: the files of its years, the pages of its targets, the columns it names."""

import json
import unittest

import world
from contract import HISTORY
from engines import in_duckdb as duckdb
from engines import in_spark as spark

# Columns that hold maps and lists have no statistics: no reader skips by them.
FLAT = [name for name, kind in HISTORY.items() if not kind.startswith(("map", "array"))]


def profile(query):
    """What DuckDB reports about a query's scan, and the bytes it read."""
    text = duckdb().execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {query}").fetchall()[0][1]
    report = json.loads(text)

    def scans(operators):
        for operator in operators:
            if operator["type"] == "TABLE_SCAN":
                yield operator
            yield from scans(operator.get("children", []))

    [scan] = scans(report["operator"])
    return scan, report["io"]["total_bytes_read"]


def scanned(frame):
    """The metrics of Spark's scan once `frame` has run, and its plan."""
    frame.collect()
    plan = frame._jdf.queryExecution().executedPlan()
    metrics = plan.collectLeaves().apply(0).metrics()
    return {name: metrics.apply(name).value() for name in ("numFiles", "numOutputRows")}, plan.toString()


def size(dataset):
    return sum(file.stat().st_size for file in dataset.files())


class Pruning(unittest.TestCase):
    def test_duckdb_reads_the_files_of_the_years_asked_for(self):
        dataset = world.portfolio()

        def check(where, files):
            scan, _ = profile(f"SELECT sum(rank) FROM '{dataset.history}' WHERE {where}")
            self.assertEqual(int(scan["extra_info"]["Total Files Read"]), files, where)

        years = len(dataset.files())
        self.assertGreaterEqual(years, 8)
        check("year = 2024", 1)
        check("year BETWEEN 2020 AND 2022", 3)
        check("year >= 2020", years - 1)
        check("year < 2019 OR year = 2023", 1)

    def test_spark_reads_the_files_of_the_years_asked_for(self):
        frame = spark().read.parquet(f"{world.portfolio().path}/backlinks_history")

        def check(where, files):
            metrics, plan = scanned(frame.where(where).select("rank"))
            self.assertEqual(metrics["numFiles"], files, plan)
            self.assertRegex(plan, r"PartitionFilters: \[[^\]]*year#\d+", plan)

        check("year = 2024", 1)
        check("year BETWEEN 2020 AND 2022", 3)
        check("year < 2019 OR year = 2023", 1)

    def test_duckdb_reads_a_small_part_of_the_bytes_for_one_target(self):
        dataset = world.portfolio()
        where = "WHERE target = 'heise.de'"
        scan, read = profile(f"SELECT max(referring_domains) FROM '{dataset.history}' {where}")
        self.assertLess(scan["rows_scanned"], 120)
        self.assertLess(read, size(dataset) / 8)
        # One that is not there, in no file's range: nothing but footers
        scan, read = profile(f"SELECT max(referring_domains) FROM '{dataset.history}' WHERE target = '0.de'")
        self.assertEqual(scan["rows_scanned"], 0)
        self.assertLess(read, size(dataset) / 8)

    def test_spark_skips_pages_without_the_target(self):
        frame = spark().read.parquet(f"{world.portfolio().path}/backlinks_history").select("target", "rank")
        rows = frame.count()
        # Pages have 2,048 rows, files here about 3,400: half of each is skipped by the page index.
        metrics, plan = scanned(frame.where("target = '11st.co.kr'"))
        self.assertLess(metrics["numOutputRows"], 0.7 * rows, plan)
        self.assertRegex(plan, r"PushedFilters: \[[^\]]*EqualTo\(target,11st\.co\.kr\)", plan)
        metrics, plan = scanned(frame.where("target = '0.de'"))
        self.assertEqual(metrics["numOutputRows"], 0, plan)

    def test_small_row_groups_have_ranges_of_targets_that_do_not_overlap(self):
        dataset = world.replay(world.portfolio(), "--row-group-rows", "500")
        groups = duckdb().execute(f"""
            SELECT file_name, row_group_id, row_group_num_rows, stats_min_value, stats_max_value
            FROM parquet_metadata('{dataset.history}') WHERE path_in_schema = 'target' ORDER BY file_name, row_group_id
        """).fetchall()
        self.assertGreater(len(groups), 40)
        self.assertLessEqual(max(group[2] for group in groups), 500)
        for one, other in zip(groups, groups[1:]):
            if one[0] == other[0]:
                self.assertLessEqual(one[4], other[3])
        scan, _ = profile(f"SELECT max(referring_domains) FROM '{dataset.history}' WHERE target = 'heise.de'")
        # At most two of each file's row groups, where the rows of the target cross their border
        self.assertLessEqual(scan["row_groups_scanned"], 2 * len(dataset.files()))
        self.assertLess(scan["row_groups_scanned"], len(groups) / 2)

    def test_files_have_statistics_and_page_indexes_for_every_flat_column(self):
        dataset = world.portfolio()
        found = duckdb().execute(f"""
            SELECT path_in_schema, file_name, stats_min_value, stats_max_value, stats_null_count, num_values,
                   column_index_length, offset_index_length
            FROM parquet_metadata('{dataset.history}')
        """).fetchall()
        groups = duckdb().execute(f"SELECT sum(num_row_groups) FROM parquet_file_metadata('{dataset.history}')")
        groups = groups.fetchall()[0][0]
        by_column = {}
        for name, *rest in found:
            by_column.setdefault(name, []).append(rest)
        for name in FLAT:
            self.assertEqual(len(by_column[name]), groups, name)
            for file, least, most, nulls, values, column_index, offset_index in by_column[name]:
                if nulls is None or nulls < values:
                    self.assertIsNotNone(least, f"{name} in {file}")
                    self.assertIsNotNone(most, f"{name} in {file}")
                self.assertIsNotNone(nulls, f"{name} in {file}")
                self.assertGreater(column_index or 0, 0, f"{name} in {file}")
                self.assertGreater(offset_index or 0, 0, f"{name} in {file}")
        # The dates of a file are those of its year.
        for file, least, most, *_ in by_column["date"]:
            year = file.split("year=")[1][:4]
            self.assertTrue(least.startswith(year) and most.startswith(year), (file, least, most))

    def test_files_are_sorted_by_target_and_date(self):
        dataset = world.portfolio()
        for file in dataset.files():
            rows = duckdb().execute(f"SELECT target, epoch_us(date) FROM '{file}'").fetchall()
            self.assertEqual(rows, sorted(rows), file)

    def test_files_are_compressed_and_encoded_as_meant(self):
        found = duckdb().execute(f"""
            SELECT DISTINCT path_in_schema, compression, encodings FROM parquet_metadata('{world.portfolio().history}')
        """).fetchall()
        self.assertEqual({compression for _, compression, _ in found}, {"ZSTD"})
        encodings = {}
        for name, _, used in found:
            encodings.setdefault(name.split(",")[0], set()).update(used.split(", "))
        for name, kind in HISTORY.items():
            wanted = {"bigint": "DELTA_BINARY_PACKED", "timestamp": "DELTA_BINARY_PACKED", "string": "RLE_DICTIONARY"}
            if kind in wanted:
                self.assertIn(wanted[kind], encodings[name], name)

    def test_the_question_that_was_asked_is_in_every_file(self):
        dataset = world.portfolio()
        found = duckdb().execute(f"SELECT file_name, key, value FROM parquet_kv_metadata('{dataset.history}')")
        by_file = {}
        for file, key, value in found.fetchall():
            by_file.setdefault(file, {})[key.decode()] = value.decode()
        self.assertEqual(set(by_file), set(map(str, dataset.files())))
        for metadata in by_file.values():
            self.assertEqual(metadata["backlinks_export.schema_version"], str(dataset.record["schema_version"]))
            self.assertEqual(metadata["backlinks_export.program_version"], dataset.record["version"])
            for name in ["date_from", "date_to", "rank_scale"]:
                self.assertEqual(metadata[f"backlinks_export.{name}"], dataset.record["parameters"][name])
