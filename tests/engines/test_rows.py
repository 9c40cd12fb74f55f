"""The rows in both engines are those of the ledger, value by value, and what the program reports about them is true."""

import collections
import functools
import json
import unittest

import answers
import world
from contract import ALL_INTEGERS, HISTORY, MAPS, OUTCOMES
from engines import in_duckdb as duckdb
from engines import in_spark as spark

COLUMNS = [name for name in HISTORY if name != "date"]


@functools.cache
def ledger_rows():
    """The rows as plain Python finds them in the ledger, as tuples of `COLUMNS` and the date's microseconds."""
    return [(*(row[name] for name in COLUMNS), row["date"]) for row in answers.rows(world.portfolio().path)]


def aggregates(rows):
    """Sum, least, most and number of the values of every integer column and of every map's entries."""

    def of(values):
        known = [value for value in values if value is not None]
        return (sum(known), min(known), max(known), len(known)) if known else (None, None, None, 0)

    found = {name: of([row[COLUMNS.index(name)] for row in rows]) for name in ALL_INTEGERS}
    for name in MAPS:
        maps = [row[COLUMNS.index(name)] for row in rows]
        found[name] = of([value for entries in maps if entries is not None for value in entries.values()])
    return found


class Rows(unittest.TestCase):
    maxDiff = 4000

    def assert_same_rows(self, found, wanted):
        self.assertEqual(len(found), len(wanted))
        for one, other in zip(found, wanted):
            self.assertEqual(one, other)

    def test_the_dataset_has_what_these_tests_are_about(self):
        dataset = world.portfolio()
        outcomes = dict(
            duckdb().execute(f"SELECT outcome, count(*) FROM '{dataset.targets}' GROUP BY outcome").fetchall()
        )
        self.assertEqual(set(outcomes), set(OUTCOMES) - {"pending"})
        self.assertGreater(len(ledger_rows()), 15_000)
        maps = [row[COLUMNS.index(name)] for name in MAPS for row in ledger_rows()]
        self.assertIn(None, maps, "a null map")
        self.assertTrue(any(entries is not None and "" in entries for entries in maps), "an empty key")
        self.assertTrue(any(entries and None in entries.values() for entries in maps), "a null value")
        platforms = [row[COLUMNS.index("info_platform_type")] for row in ledger_rows()]
        self.assertIn(None, platforms, "a null list")

    def test_duckdb_reads_every_value_that_the_ledger_has(self):
        names = ", ".join(COLUMNS)
        found = duckdb().execute(
            f"SELECT {names}, epoch_us(date) FROM '{world.portfolio().history}' ORDER BY target, date"
        )
        self.assert_same_rows(found.fetchall(), ledger_rows())

    def test_spark_reads_every_value_that_the_ledger_has(self):
        frame = spark().read.parquet(f"{world.portfolio().path}/backlinks_history").orderBy("target", "date")
        found = frame.selectExpr(*COLUMNS, "unix_micros(date)").collect()
        self.assert_same_rows([tuple(row) for row in found], ledger_rows())

    def test_sums_and_extremes_are_the_same_in_both_engines_and_in_the_ledger(self):
        wanted = aggregates(ledger_rows())
        path = world.portfolio().path
        functions = ["sum({})", "min({})", "max({})", "count({})"]
        wide = [each.format(name) for name in ALL_INTEGERS for each in functions]
        table = f"'{world.portfolio().history}'"
        connection = duckdb()
        one = connection.execute(f"SELECT {', '.join(wide)} FROM {table}").fetchall()[0]
        two = tuple(spark().read.parquet(f"{path}/backlinks_history").selectExpr(*wide).collect()[0])
        self.assertEqual(one, two)
        self.assertEqual(one, tuple(value for name in ALL_INTEGERS for value in wanted[name]))
        frame = spark().read.parquet(f"{path}/backlinks_history")
        for name in MAPS:
            each = ", ".join(each.format("value") for each in functions)
            one = connection.execute(
                f"SELECT {each} FROM (SELECT unnest(map_values({name})) AS value FROM {table})"
            ).fetchall()[0]
            exploded = frame.selectExpr(f"explode(map_values({name})) AS value")
            two = tuple(exploded.selectExpr(*(each.format("value") for each in functions)).collect()[0])
            self.assertEqual(one, two, name)
            self.assertEqual(one, wanted[name], name)

    def test_rows_are_counted_alike_everywhere(self):
        dataset, connection = world.portfolio(), duckdb()
        rows = len(ledger_rows())
        self.assertEqual(connection.execute(f"SELECT count(*) FROM '{dataset.history}'").fetchall(), [(rows,)])
        self.assertEqual(connection.execute(f"SELECT sum(rows) FROM '{dataset.targets}'").fetchall(), [(rows,)])
        self.assertEqual(spark().read.parquet(f"{dataset.path}/backlinks_history").count(), rows)
        self.assertEqual(dataset.record["totals"]["rows"], rows)
        self.assertEqual(dataset.summary["rows"], rows)
        listed = [file for file in dataset.record["files"] if file["path"].startswith("backlinks_history/")]
        self.assertEqual(sum(file["rows"] for file in listed), rows)
        # File by file
        found = connection.execute(
            f"SELECT file_name, num_rows FROM parquet_file_metadata('{dataset.history}')"
        ).fetchall()
        wanted = {str(dataset.path / file["path"]): file["rows"] for file in listed}
        self.assertEqual(dict(found), wanted)

    def test_each_target_has_as_many_rows_as_targets_says(self):
        dataset = world.portfolio()
        wanted = collections.Counter(row[0] for row in ledger_rows())
        counted = f"SELECT target, count(*) FROM '{dataset.history}' GROUP BY target"
        listed = f"SELECT target, rows FROM '{dataset.targets}' WHERE outcome = 'ok'"
        self.assertEqual(dict(duckdb().execute(counted).fetchall()), wanted)
        self.assertEqual(dict(duckdb().execute(listed).fetchall()), wanted)
        frame = spark().read.parquet(f"{dataset.path}/backlinks_history").groupBy("target").count()
        self.assertEqual(dict(map(tuple, frame.collect())), wanted)

    def test_the_partition_is_the_year_in_utc_in_any_time_zone(self):
        dataset = world.portfolio()
        wanted = collections.Counter(answers.year(row) for row in answers.rows(dataset.path))
        query = f"SELECT year, count(*) FROM '{dataset.history}' GROUP BY year"
        for zone in ["Pacific/Kiritimati", "Pacific/Pago_Pago", "UTC"]:
            self.assertEqual(dict(duckdb(zone).execute(query).fetchall()), wanted, zone)
        frame = spark().read.parquet(f"{dataset.path}/backlinks_history").groupBy("year").count()
        self.assertEqual(dict(map(tuple, frame.collect())), wanted)

    def test_both_engines_read_the_ledger_as_it_is(self):
        dataset = world.portfolio()
        wanted = sum(row[COLUMNS.index("backlinks")] or 0 for row in ledger_rows())
        found = duckdb().execute(f"""
            SELECT sum((item->>'backlinks')::BIGINT), count(*)
            FROM (SELECT unnest(from_json(body->'$.tasks[0].result[0].items', '["JSON"]')) AS item
                  FROM read_json('{dataset.path}/_raw/*.jsonl.gz', columns = {{record: 'VARCHAR', class: 'VARCHAR',
                                 body: 'JSON'}}, maximum_object_size = 67108864)
                  WHERE record = 'answer' AND class = 'data')
        """).fetchall()
        self.assertEqual(found, [(wanted, len(ledger_rows()))])
        frame = spark().read.json(f"{dataset.path}/_raw/*.jsonl.gz")
        answers_with_rows = frame.where("record = 'answer' AND class = 'data'")
        items = answers_with_rows.selectExpr("explode(body.tasks[0].result[0].items) AS item")
        found = items.selectExpr("sum(item.backlinks)", "count(*)").collect()
        self.assertEqual([tuple(row) for row in found], [(wanted, len(ledger_rows()))])

    def test_targets_is_the_same_in_both_engines(self):
        for dataset in [world.portfolio(), world.capped()]:
            connection = duckdb()
            relation = connection.execute(
                f"SELECT * REPLACE (epoch_us(fetched_at) AS fetched_at) FROM '{dataset.targets}' ORDER BY source"
            )
            one = relation.fetchall()
            frame = spark().read.parquet(f"{dataset.path}/targets").orderBy("source")
            moments = frame.withColumn("fetched_at", frame["fetched_at"].cast("double"))
            two = [
                tuple(round(value * 1e6) if name == "fetched_at" and value else value for name, value in row.asDict().items())
                for row in moments.collect()
            ]
            self.assertEqual(two, one)

    def test_targets_tells_each_lines_fate(self):
        dataset = world.portfolio()
        connection = duckdb()

        def line(where):
            names = "target, outcome, rows, input_client, input_market, source"
            return connection.execute(f"SELECT {names} FROM '{dataset.targets}' WHERE {where}").fetchall()

        lines = sum(1 for record in answers.records(dataset.path) if record["record"] == "input")
        self.assertEqual(connection.execute(f"SELECT count(*) FROM '{dataset.targets}'").fetchall(), [(lines,)])
        totals = dict(
            connection.execute(f"SELECT outcome, count(*) FROM '{dataset.targets}' GROUP BY outcome").fetchall()
        )
        summary = {name: dataset.summary[name] for name in ["ok", "no_data", "failed", "rejected"]}
        self.assertEqual(totals, {**summary, "duplicate": dataset.summary["duplicates"]})
        [(target, _, _, client, market, source)] = line("input = 'https://www.bücher.de/'")
        self.assertEqual((target, client, market), ("xn--bcher-kva.de", "Bücher.de", "DE"))
        self.assertTrue(source.endswith("portfolio.csv:7"), source)
        [(target, outcome, rows, client, _, _)] = line("input_client = 'Zalando, outlet'")
        self.assertEqual((target, outcome, rows), ("zalando.de", "duplicate", None))
        for client in ["Intranet", "Staging server"]:
            [(target, outcome, rows, _, market, _)] = line(f"input_client = '{client}'")
            self.assertEqual((target, outcome, rows, market), (None, "rejected", None, "US"))
        quoted = 'SELECT input_client, "input_Größe (cm);{x}" FROM'
        found = connection.execute(f"{quoted} '{dataset.targets}' WHERE target = 'odd-columns.com'").fetchall()
        self.assertEqual(found, [("ours", "12")])

    def test_money_in_targets_is_what_the_ledger_and_the_run_say(self):
        dataset = world.portfolio()
        spent = sum(
            record.get("cost_micros_usd") or 0
            for record in answers.records(dataset.path)
            if record["record"] == "answer"
        )
        found = duckdb().execute(f"SELECT sum(cost_usd), sum(attempts) FROM '{dataset.targets}'").fetchall()
        [(cost, attempts)] = found
        self.assertAlmostEqual(cost, spent / 1e6, places=6)
        self.assertAlmostEqual(dataset.summary["cost_usd"], spent / 1e6, places=6)
        sent = sum(1 for record in answers.records(dataset.path) if record["record"] == "sent")
        self.assertEqual(attempts, sent)
        self.assertEqual(dataset.summary["calls"], sent)

    def test_a_run_that_stopped_at_its_cap_is_readable_and_says_what_is_pending(self):
        dataset = world.capped()
        self.assertFalse((dataset.path / "_SUCCESS").exists())
        connection = duckdb()
        totals = dict(
            connection.execute(f"SELECT outcome, count(*) FROM '{dataset.targets}' GROUP BY outcome").fetchall()
        )
        self.assertGreater(totals["pending"], 10)
        self.assertGreater(totals["ok"], 5)
        pending = f"SELECT count(*), sum(rows), sum(attempts) FROM '{dataset.targets}' WHERE outcome = 'pending'"
        self.assertEqual(connection.execute(pending).fetchall(), [(totals["pending"], 0, 0)])
        rows = len(answers.rows(dataset.path))
        self.assertEqual(connection.execute(f"SELECT count(*) FROM '{dataset.history}'").fetchall(), [(rows,)])
        self.assertEqual(spark().read.parquet(f"{dataset.path}/backlinks_history").count(), rows)

    def test_run_json_is_json_that_duckdb_reads(self):
        dataset = world.portfolio()
        found = duckdb().execute(
            f"SELECT totals.rows, len(files) FROM read_json('{dataset.path}/_run.json')"
        ).fetchall()
        self.assertEqual(found, [(len(ledger_rows()), len(dataset.record["files"]))])
        self.assertEqual(json.loads((dataset.path / "_run.json").read_text()), dataset.record)
