"""Names and types follow the contract in both engines, even without rows."""

import re
import unittest

import odd
import world
from contract import HISTORY, TARGETS, in_duckdb, in_spark
from engines import in_duckdb as duckdb
from engines import in_spark as spark

# Columns of the three inputs, in their order, each name once
INPUT_COLUMNS = [
    "input_client",
    "input_market",
    "input_priority",
    "input_since",
    "input_Größe (cm);{x}",
]


def described(query):
    return [tuple(row[:2]) for row in duckdb().execute(f"DESCRIBE {query}").fetchall()]


class Schema(unittest.TestCase):
    maxDiff = None

    def test_duckdb_sees_the_columns_of_the_contract(self):
        def check(dataset, *partition):
            found = described(f"SELECT * FROM '{dataset.history}'")
            self.assertEqual(found, in_duckdb(HISTORY) + list(partition))

        check(world.portfolio(), ("year", "BIGINT"))
        check(odd.odd(), ("year", "BIGINT"))
        check(odd.empty_unpartitioned())

    def test_spark_sees_the_columns_of_the_contract(self):
        def check(dataset, *partition):
            frame = spark().read.parquet(f"{dataset.path}/backlinks_history")
            self.assertEqual(frame.dtypes, in_spark(HISTORY) + list(partition))

        check(world.portfolio(), ("year", "int"))
        check(odd.odd(), ("year", "int"))
        check(odd.empty_unpartitioned())

    def test_targets_has_the_columns_of_the_contract_and_those_of_the_inputs(self):
        dataset = world.portfolio()
        in_spark_ = spark().read.parquet(f"{dataset.path}/targets").dtypes
        in_duckdb_ = described(f"SELECT * FROM '{dataset.targets}'")
        self.assertEqual(in_duckdb_[: len(TARGETS)], in_duckdb(TARGETS))
        self.assertEqual(in_spark_[: len(TARGETS)], in_spark(TARGETS))
        more = [(name, "string") for name, _ in in_duckdb_[len(TARGETS) :]]
        self.assertEqual(in_spark_[len(TARGETS) :], more)
        names = [name for name, _ in more]
        self.assertEqual([name for name in INPUT_COLUMNS if name not in names], [], names)

    def test_an_empty_dataset_has_the_full_schema_in_both_engines(self):
        for dataset in [odd.empty(), odd.empty_unpartitioned()]:
            self.assertEqual(duckdb().execute(f"SELECT count(*) FROM '{dataset.history}'").fetchall(), [(0,)])
            self.assertEqual(described(f"SELECT * FROM '{dataset.history}'")[: len(HISTORY)], in_duckdb(HISTORY))
            frame = spark().read.parquet(f"{dataset.path}/backlinks_history")
            self.assertEqual(frame.count(), 0)
            self.assertEqual(frame.dtypes[: len(HISTORY)], in_spark(HISTORY))
            # A query over the partition column works as ever.
            if "year" in frame.columns:
                self.assertEqual(frame.where("year >= 2024").count(), 0)
                rows = duckdb().execute(f"SELECT count(*) FROM '{dataset.history}' WHERE year >= 2024").fetchall()
                self.assertEqual(rows, [(0,)])
            outcomes = duckdb().execute(f"SELECT outcome, rows FROM '{dataset.targets}'").fetchall()
            self.assertEqual(outcomes, [("no_data", 0)])

    def test_the_columns_are_nullable_in_spark(self):
        # Spark takes every column of a file for nullable; a reader that insists on the contrary finds out here.
        frame = spark().read.parquet(f"{world.portfolio().path}/backlinks_history")
        self.assertEqual([field.name for field in frame.schema if not field.nullable], [])

    def test_the_ddl_for_duckdb_makes_tables_that_take_the_published_rows(self):
        connection = duckdb()
        connection.execute(world.call("schema", "--format", "duckdb"))
        dataset = world.portfolio()
        for table, columns, files in [
            ("backlinks_history", HISTORY, dataset.history),
            ("backlinks_undated", HISTORY, f"{odd.odd().path}/backlinks_undated/*.parquet"),
            ("targets", TARGETS, dataset.targets),
        ]:
            found = [tuple(row[:2]) for row in connection.execute(f"DESCRIBE {table}").fetchall()]
            self.assertEqual(found, in_duckdb(columns))
            names = ", ".join(columns)
            connection.execute(f"INSERT INTO {table} SELECT {names} FROM '{files}'")
            one, other = (
                connection.execute(f"SELECT count(*), bit_xor(hash({names})) FROM {source}").fetchall()
                for source in [table, f"'{files}'"]
            )
            self.assertEqual(one, other)

    def test_the_ddl_for_spark_makes_tables_that_take_the_published_rows(self):
        session, dataset = spark(), world.portfolio()
        text = world.call("schema", "--format", "spark")
        session.sql("CREATE DATABASE IF NOT EXISTS from_ddl")
        session.sql("USE from_ddl")
        self.addCleanup(session.sql, "DROP DATABASE from_ddl CASCADE")
        self.addCleanup(session.sql, "USE default")
        for statement in filter(None, map(str.strip, text.split(";"))):
            session.sql(statement)
        for table, columns in [("backlinks_history", HISTORY), ("targets", TARGETS)]:
            self.assertEqual(session.table(table).dtypes, in_spark(columns))
            frame = session.read.parquet(f"{dataset.path}/{table}").select(*columns)
            frame.write.insertInto(table)
            self.assertEqual(session.table(table).count(), frame.count())

    def test_the_schema_for_people_names_every_column(self):
        markdown = world.call("schema", "--format", "markdown")
        self.assertEqual(re.findall(r"^\| `(\w+)`", markdown, re.M), [*HISTORY, *HISTORY, *TARGETS])
