"""Rare answers of the API, as both engines read them: extremes, empty maps, odd keys, rows without a date."""

import unittest

import answers
import odd
from contract import HISTORY, in_duckdb, in_spark
from engines import in_duckdb as duckdb
from engines import in_spark as spark

COLUMNS = [name for name in HISTORY if name not in ("target", "date")]


def wanted():
    def row(target, date, year, known):
        known = {"month_start": answers.month_start(date), **known}
        return (target, date, year, *(known.get(name) for name in COLUMNS))

    return [row(*one) for one in odd.WANTED]


class OddAnswers(unittest.TestCase):
    maxDiff = 4000

    def check(self, found):
        self.assertEqual(len(found), len(odd.WANTED))
        for one, other in zip(found, wanted()):
            self.assertEqual(one, other)

    def test_duckdb_reads_them_as_they_were_served(self):
        found = duckdb().execute(
            f"SELECT target, epoch_us(date), year, {', '.join(COLUMNS)} FROM '{odd.odd().history}'"
            " ORDER BY target, date NULLS LAST, rank"
        )
        self.check(found.fetchall())

    def test_spark_reads_them_as_they_were_served(self):
        frame = spark().read.parquet(f"{odd.odd().path}/backlinks_history")
        ordered = frame.orderBy("target", frame["date"].asc_nulls_last(), "rank")
        found = ordered.selectExpr("target", "unix_micros(date)", "year", *COLUMNS).collect()
        self.check([tuple(row) for row in found])

    def test_a_null_map_and_an_empty_map_stay_apart(self):
        query = "referring_links_types IS NULL, cardinality(referring_links_types)"
        where = "WHERE target = 'maps-odd.com' ORDER BY date"
        one = duckdb().execute(f"SELECT {query} FROM '{odd.odd().history}' {where}").fetchall()
        spark().read.parquet(f"{odd.odd().path}/backlinks_history").createOrReplaceTempView("odd")
        two = [tuple(row) for row in spark().sql(f"SELECT {query} FROM odd {where}").collect()]
        self.assertEqual(one, [(False, 0), (True, None), (True, None)])
        # Spark returns -1 or null for the size of a null map, by its settings.
        self.assertEqual([row[0] for row in two], [False, True, True])
        self.assertEqual(two[0][1], 0)

    def test_items_without_a_date_are_in_a_table_of_their_own(self):
        files = f"{odd.odd().path}/backlinks_undated/*.parquet"
        query = "SELECT target, rank, date IS NULL, month_start IS NULL FROM '{}' ORDER BY rank"
        wanted = [("undated-odd.com", rank, True, True) for rank in (1, 2, 3)]
        self.assertEqual(duckdb().execute(query.format(files)).fetchall(), wanted)
        described = duckdb().execute(f"DESCRIBE SELECT * FROM '{files}'").fetchall()
        self.assertEqual([tuple(row[:2]) for row in described], in_duckdb(HISTORY))
        frame = spark().read.parquet(f"{odd.odd().path}/backlinks_undated")
        self.assertEqual(frame.dtypes, in_spark(HISTORY))
        self.assertEqual(frame.where("date IS NULL AND month_start IS NULL").count(), 3)
        history = f"SELECT count(*) FROM '{odd.odd().history}' WHERE date IS NULL OR month_start IS NULL OR year IS NULL"
        self.assertEqual(duckdb().execute(history).fetchall(), [(0,)])
        self.assertEqual((odd.odd().summary["undated"], odd.odd().summary["rows"]), (3, len(odd.WANTED)))
        message = f"SELECT message FROM '{odd.odd().targets}' WHERE target = 'undated-odd.com'"
        warning = "3 items without a usable date are in backlinks_undated"
        self.assertEqual(duckdb().execute(message).fetchall(), [(warning,)])
