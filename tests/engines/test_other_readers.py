"""pyarrow, pandas, Polars and ClickHouse open each table's folder as it is, and read every value that the ledger has.

The same code as in docs/recipes.md, whose own blocks are run by the last test.
"""

import os
import re
import unittest

import answers
import odd
import pandas
import polars
import pyarrow
import pyarrow.dataset
import test_examples
import world
from contract import HISTORY
from engines import in_clickhouse as clickhouse

COLUMNS = list(HISTORY)
EMPTY = {name: {} if kind.startswith("map") else [] for name, kind in HISTORY.items() if "<" in kind}


def in_pyarrow(folder):
    return pyarrow.dataset.dataset(folder, partitioning="hive").to_table()


def in_pandas(folder):
    return pyarrow.Table.from_pandas(pandas.read_parquet(folder, dtype_backend="pyarrow"))


def in_polars(folder):
    return polars.scan_parquet(f"{folder}/", hive_partitioning=True).collect().to_arrow()


def in_clickhouse(folder):
    # Its `**` matches one folder or more.
    files = "*.parquet" if folder.endswith("/backlinks_undated") else "**/*.parquet"
    return clickhouse(f"SELECT * FROM file('{folder}/{files}')")


READERS = {"pyarrow": in_pyarrow, "pandas": in_pandas, "Polars": in_polars, "ClickHouse": in_clickhouse}


def rows(table):
    """The rows of a table by column, in a fixed order, with dates in microseconds and maps as dicts."""
    columns = []
    for name in COLUMNS:
        column = table[name]
        if name == "date":
            column = column.cast(pyarrow.timestamp("us", "UTC")).cast("int64")
        values = column.to_pylist()
        if HISTORY[name].startswith("map"):
            values = [entries if entries is None else dict(entries) for entries in values]
        columns.append(values)
    return in_order(dict(zip(COLUMNS, row)) for row in zip(*columns))


def in_order(rows):
    return sorted(rows, key=lambda row: (row["target"], row["date"] or 0, row["rank"] or 0))


def as_read_by(reader, row):
    """ClickHouse has neither null maps nor null lists."""
    empty = EMPTY if reader == "ClickHouse" else {}
    return {name: empty.get(name) if value is None else value for name, value in row.items()}


def odd_row(target, date, values):
    known = {"target": target, "date": date, "month_start": answers.month_start(date)}
    return {**dict.fromkeys(COLUMNS), **known, **values}


class OtherReaders(unittest.TestCase):
    maxDiff = 4000

    def check(self, folder, expected):
        """Each reader has these rows, and each column the type of the contract."""
        for reader, read in READERS.items():
            with self.subTest(f"{reader} reads {folder}"):
                table = read(folder)
                found = rows(table)
                self.assertEqual(len(found), len(expected))
                for one, other in zip(found, in_order(expected)):
                    self.assertEqual(one, as_read_by(reader, other))
                for name, kind in HISTORY.items():
                    if kind == "bigint":
                        self.assertEqual(table.schema.field(name).type, pyarrow.int64(), name)

    def test_each_reads_every_value_that_the_ledger_has(self):
        dataset = world.portfolio()
        self.check(f"{dataset.path}/backlinks_history", answers.rows(dataset.path))

    def test_each_reads_odd_values_and_the_table_of_undated_items(self):
        dated = [odd_row(target, date, values) for target, date, _, values in odd.WANTED]
        undated = [odd_row("undated-odd.com", None, {"rank": rank}) for rank in (1, 2, 3)]
        self.check(f"{odd.odd().path}/backlinks_history", dated)
        self.check(f"{odd.odd().path}/backlinks_undated", undated)

    def test_each_opens_a_dataset_without_rows(self):
        self.check(f"{odd.empty().path}/backlinks_history", [])

    def test_the_python_that_the_recipes_show_runs(self):
        root, _ = test_examples.project()
        page = (world.ROOT / "docs/recipes.md").read_text()
        section = page.split("\n## Polars, pandas, ClickHouse\n")[1].split("\n## ")[0]
        shown = re.findall(r"^```python\n(.*?)^```$", section, re.M | re.S)
        self.assertEqual(len(shown), 3)
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(root)
        for code in shown:
            with self.subTest(code):
                names = {}
                exec(code, names)
                self.assertGreater(len(list(names.values())[-1]), 0)
