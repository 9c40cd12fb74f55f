"""Compares docs/queries/*.sql with plain Python over the ledger's original answers.

Each function of `ANSWERS` reads the question at the head of its query's file, not the SQL below it: dicts and loops,
exact fractions where the query divides. DuckDB runs the file unchanged; that Spark agrees is checked in
test_examples.
"""

import collections
import datetime
import functools
import re
import unittest
from fractions import Fraction

import answers
import odd
import world
from contract import MAPS
from engines import in_duckdb as duckdb

QUERIES = world.ROOT / "docs/queries"
# The number of lines in a list of the largest values.
TOP = 20


class Ledger:
    """What a run received: the rows by target in order of their dates, and the outcome of each input line."""

    def __init__(self, dataset):
        self.rows = collections.defaultdict(list)
        for target, body in answers.stored(dataset.path).items():
            for result in body["tasks"][0]["result"]:
                for item in result["items"]:
                    row = answers.row_of(target, {**item, "date": None})
                    row["date"] = moment(item.get("date"))
                    # Items without a date are in a separate table
                    self.rows[target] += [row] if row["date"] else []
        self.dated = {target: sorted(rows, key=lambda row: row["date"]) for target, rows in self.rows.items()}
        self.newest = max(month_of(row) for row in self.dated_rows())
        self.lines = list(lines(dataset, self.rows))

    def all_rows(self):
        return [row for rows in self.rows.values() for row in rows]

    def dated_rows(self):
        return [row for rows in self.dated.values() for row in rows]

    def last_with(self, target, *names, until=None):
        """The latest row of a target that has all of these, up to a month."""
        for row in reversed(self.dated[target]):
            if all(row[name] is not None for name in names) and (until is None or month_of(row) <= until):
                return row
        return None


def lines(dataset, rows):
    """Each line of the inputs with its outcome; the calls of a target are accounted to the first line that names it."""
    calls, came, inputs = collections.Counter(), collections.defaultdict(list), []
    columns = []
    for record in answers.records(dataset.path):
        if record["record"] == "input":
            inputs.append(record)
        elif record["record"] == "inputs":
            columns = record["columns"]
        elif record["record"] == "sent":
            calls[record["target"]] += 1
        elif record["record"] == "called_off":
            calls[record["target"]] -= 1
        elif record["record"] == "answer":
            came[record["target"]].append(record)
    seen = set()
    nothing = dict.fromkeys(["micros", "rows", "http_status", "api_status_code", "message", "possibly_billed"])
    for record in inputs:
        target = record.get("target")
        own = {"client": dict(zip(columns, record.get("columns", []))).get("client")}
        if target is None:
            yield {**nothing, **own, "outcome": "rejected", "message": record["rejected"]}
        elif target in seen:
            yield {**nothing, **own, "outcome": "duplicate"}
        else:
            seen.add(target)
            of_use = [answer for answer in came[target] if answer["class"] in ("data", "no_data")]
            # The valid answer, or else the latest unusable one
            last = (of_use or came[target] or [{}])[-1]
            outcome = {"data": "ok", "no_data": "no_data", None: "pending"}.get(last.get("class"), "failed")
            # A call without an answer, or whose answer was lost in transit, with unknown cost
            lost = [one for one in came[target] if one["class"] == "maybe_billed" and one["cost_source"] == "unknown"]
            yield {
                **own,
                "outcome": outcome,
                # If no call was made or no price was reported, the cost is unknown.
                "micros": total(answer["cost_micros_usd"] for answer in came[target]),
                "rows": len(rows.get(target, [])),
                **{name: last.get(name) for name in ["http_status", "api_status_code", "message"]},
                "possibly_billed": calls[target] - len(came[target]) + len(lost),
            }


def moment(text):
    """A date as the API writes it; None if it is not a date."""
    try:
        return datetime.datetime.fromisoformat(text.replace(" +", "+")).astimezone(datetime.timezone.utc)
    except (AttributeError, ValueError):
        return None


def month_of(row):
    """Months since the year 0"""
    return row["date"].year * 12 + row["date"].month - 1


def first_of(month):
    return datetime.date(month // 12, month % 12 + 1, 1)


def total(values):
    """The sum of the known values; None if no value is known."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def rounded(exact, digits):
    """A half away from zero, from the exact value"""
    if exact is None:
        return None
    scaled = abs(exact) * 10**digits
    whole = int(scaled + Fraction(1, 2))
    return (whole if exact >= 0 else -whole) / 10**digits


def most(found, by, *names):
    """The first of a list, the largest before the others, equal ones by name."""
    return sorted(found, key=lambda line: (-line[by], *(line[name] for name in names)))[:TOP]


def who_grew_most_in_a_year(ledger):
    found = []
    for target in ledger.dated:
        now = ledger.last_with(target, "referring_domains")
        then = ledger.last_with(target, "referring_domains", until=ledger.newest - 12)
        if then and then["referring_domains"]:
            was, is_now = then["referring_domains"], now["referring_domains"]
            percent = rounded(Fraction(100 * is_now, was) - 100, 1)
            found.append({"target": target, "year_ago": was, "today": is_now, "percent": percent})
    return most(found, "percent", "target")


def who_lost_more_than_it_gained_in_a_year(ledger):
    found = []
    for target, rows in ledger.dated.items():
        year = [row for row in rows if month_of(row) > ledger.newest - 12]
        lost, gained = (total(row[name] for row in year) for name in ["lost_referring_domains", "new_referring_domains"])
        if lost is not None and gained is not None and lost > gained:
            found.append({"target": target, "lost": lost, "gained": gained})
    return sorted(found, key=lambda line: (line["gained"] - line["lost"], line["target"]))[:TOP]


def share_of_com_by_year(ledger):
    com, everything = collections.Counter(), collections.Counter()
    for row in ledger.all_rows():
        links = (row["referring_links_tld"] or {}).get("com")
        if links is not None and row["backlinks"] is not None:
            year = row["date"].year
            com[year] += links
            everything[year] += row["backlinks"]
    percent = {year: rounded(Fraction(100 * com[year], everything[year]), 1) for year in sorted(com)}
    return [{"year": year, "com_percent": percent[year]} for year in percent]


def portfolio_month_by_month(ledger):
    months = collections.defaultdict(dict)
    for row in ledger.dated_rows():
        # The rows of a target are in order, so the last one of a month is kept.
        months[month_of(row)][row["target"]] = row
    return [
        {
            "month": first_of(month),
            "targets": len(rows),
            "backlinks": total(row["backlinks"] for row in rows.values()),
            "referring_domains": total(row["referring_domains"] for row in rows.values()),
        }
        for month, rows in sorted(months.items())
    ]


def where_every_target_stands(ledger):
    latest = [rows[-1] for _, rows in sorted(ledger.dated.items()) if rows]
    numbers = ["rank", "backlinks", "referring_domains"]
    return [{"target": row["target"], "as_of": row["date"], **{name: row[name] for name in numbers}} for row in latest]


def highest_spam_scores(ledger):
    latest = [ledger.last_with(target, "info_target_spam_score") for target in ledger.dated]
    found = [{"target": row["target"], "spam_score": row["info_target_spam_score"]} for row in latest if row]
    return most(found, "spam_score", "target")


def months_of_sudden_gains(ledger):
    began = 2021 * 12 + 4
    found = []
    for target, rows in ledger.dated.items():
        counted = [row for row in rows if month_of(row) >= began and row["new_referring_domains"] is not None]
        for row in counted:
            date, gained = row["date"], row["new_referring_domains"]
            before = [
                other["new_referring_domains"] for other in counted if 1 <= month_of(row) - month_of(other) <= 12
            ]
            usual = Fraction(sum(before), len(before)) if before else 0
            if usual > 10 and gained > 5 * usual:
                line = {"target": target, "date": date, "gained": gained, "usual": rounded(usual, 1)}
                found.append((-gained / usual, target, date, line))
    return [line for *_, line in sorted(found, key=lambda each: each[:3])][:TOP]


def largest_shares_of_nofollow(ledger):
    found = []
    for target in ledger.dated:
        row = ledger.last_with(target, "referring_domains", "referring_domains_nofollow")
        if row and row["referring_domains"] >= 100:
            domains, nofollow = row["referring_domains"], row["referring_domains_nofollow"]
            percent = rounded(Fraction(100 * nofollow, domains), 1)
            found.append({"target": target, "domains": domains, "nofollow": nofollow, "nofollow_percent": percent})
    return most(found, "nofollow_percent", "target")


def most_links_a_domain(ledger):
    found = []
    for target in ledger.dated:
        row = ledger.last_with(target, "backlinks", "referring_domains")
        if row and row["referring_domains"]:
            links, domains = row["backlinks"], row["referring_domains"]
            each = rounded(Fraction(links, domains), 1)
            found.append({"target": target, "backlinks": links, "domains": domains, "links_a_domain": each})
    return most(found, "links_a_domain", "target")


def targets_with_months_left_out(ledger):
    found = []
    for target, rows in ledger.dated.items():
        served = {month_of(row) for row in rows}
        left_out = [month for month in range(min(served), max(served)) if month not in served]
        if left_out:
            found.append((-len(left_out), target, len(served), len(served) + len(left_out)))
    return [{"target": name, "months": months, "expected": expected} for _, name, months, expected in sorted(found)]


def cost_by_outcome(ledger):
    found = []
    for outcome in sorted({line["outcome"] for line in ledger.lines}):
        of_it = [line for line in ledger.lines if line["outcome"] == outcome]
        micros, rows = (total(line[name] for line in of_it) for name in ["micros", "rows"])
        found.append({
            "outcome": outcome,
            "lines": len(of_it),
            "usd": None if micros is None else rounded(Fraction(micros, 10**6), 2),
            "history_rows": rows,
            "usd_per_1000_rows": rounded(Fraction(micros, 1000 * rows), 4) if rows and micros is not None else None,
        })
    return found


def why_there_is_no_data(ledger):
    reason = ["outcome", "http_status", "api_status_code", "message"]
    groups = collections.defaultdict(list)
    for line in ledger.lines:
        if line["outcome"] not in ("ok", "duplicate"):
            groups[tuple(line[name] for name in reason)].append(line["possibly_billed"])
    found = [
        {**dict(zip(reason, group)), "targets": len(billed), "possibly_billed_calls": total(billed)}
        for group, billed in groups.items()
    ]
    return sorted(found, key=lambda line: (-line["targets"], line["outcome"], line["message"] is None, line["message"]))


def countries_of_servers(ledger):
    countries = collections.defaultdict(list)
    for target in ledger.dated:
        located = ledger.last_with(target, "info_country")
        if located:
            row = ledger.last_with(target, "referring_domains")
            countries[located["info_country"]].append(row and row["referring_domains"])
    found = [
        {"country": country, "targets": len(domains), "referring_domains": total(domains)}
        for country, domains in countries.items()
    ]
    return sorted(found, key=lambda line: (-line["targets"], line["country"]))


def cost_by_client(ledger):
    found = []
    for client in {line["client"] for line in ledger.lines}:
        of_it = [line for line in ledger.lines if line["client"] == client]
        micros, rows = (total(line[name] for line in of_it) for name in ["micros", "rows"])
        usd = None if micros is None else micros / 10**6
        found.append({"client": client, "lines": len(of_it), "usd": usd, "history_rows": rows})
    return sorted(found, key=lambda line: (line["usd"] is None, -(line["usd"] or 0), line["client"] is None, line["client"]))


ANSWERS = {
    "01-growth": who_grew_most_in_a_year,
    "02-net-loss": who_lost_more_than_it_gained_in_a_year,
    "03-com-share": share_of_com_by_year,
    "04-portfolio-by-month": portfolio_month_by_month,
    "05-latest": where_every_target_stands,
    "06-spam": highest_spam_scores,
    "07-shocks": months_of_sudden_gains,
    "08-nofollow": largest_shares_of_nofollow,
    "09-concentration": most_links_a_domain,
    "10-missing-months": targets_with_months_left_out,
    "11-cost": cost_by_outcome,
    "12-failures": why_there_is_no_data,
    "13-coverage-by-country": countries_of_servers,
    "14-cost-by-client": cost_by_client,
}
# The sort columns of queries whose lines can be equal in all of them, and then may be in any order
ORDERED_BY = {"12-failures": ["targets", "outcome", "message"]}


@functools.cache
def ledger_of(make):
    return Ledger(make())


class Queries(unittest.TestCase):
    maxDiff = 4000

    def check(self, name, make):
        """Whether DuckDB agrees with the ledger in any time zone; returns the number of lines."""
        for zone in ["Pacific/Kiritimati", "America/New_York"]:
            lines = self.check_in(zone, name, make)
        return lines

    def check_in(self, zone, name, make):
        dataset, connection = make(), duckdb(zone)
        connection.execute(
            "CREATE VIEW backlinks_history AS"
            f" SELECT * FROM read_parquet('{dataset.history}', hive_partitioning = true)"
        )
        connection.execute(f"CREATE VIEW targets AS SELECT * FROM '{dataset.targets}'")
        result = connection.execute((QUERIES / f"{name}.sql").read_text())
        columns = [column[0] for column in result.description]
        found = [dict(zip(columns, row)) for row in result.fetchall()]
        wanted = ANSWERS[name](ledger_of(make))
        for line in wanted:
            self.assertEqual(list(line), columns)
        if name in ORDERED_BY:
            order = [[[line[column] for column in ORDERED_BY[name]] for line in lines] for lines in (found, wanted)]
            self.assertEqual(order[0], order[1])
            found, wanted = (sorted(lines, key=lambda line: repr(list(line.values()))) for lines in (found, wanted))
        self.assertEqual(found, wanted)
        return len(found)

    def test_every_query_has_a_second_way_to_its_answer(self):
        self.assertEqual(sorted(ANSWERS), sorted(file.stem for file in QUERIES.glob("*.sql")))

    def test_each_query_answers_its_question_as_plain_python_does(self):
        for name in ANSWERS:
            with self.subTest(name):
                # Two empty results would prove nothing.
                self.assertGreater(self.check(name, world.portfolio), 0)

    def test_each_query_says_what_is_pending_where_a_run_stopped_at_its_cap(self):
        for name in ANSWERS:
            with self.subTest(name):
                self.check(name, world.capped)

    def test_each_query_takes_null_for_unknown_and_leaves_out_items_without_a_date(self):
        for name in ANSWERS:
            with self.subTest(name):
                self.check(name, odd.odd)

    def test_the_long_table_of_maps_that_the_recipes_show_has_every_entry(self):
        page = (world.ROOT / "docs/recipes.md").read_text()
        section = page.split("\n## Maps as a long table\n")[1].split("\n## ")[0]
        [shown] = re.findall(r"^```sql\n-- duckdb\n(COPY .*?);", section, re.M | re.S)
        for make in [world.portfolio, odd.odd]:
            out = world.folder() / "links.parquet"
            connection = duckdb()
            connection.execute(shown.replace("out/demo/backlinks_history/**/*.parquet", make().history)
                               .replace("out/links.parquet", str(out)))
            latest = {(row["target"], month_of(row)): row for rows in ledger_of(make).dated.values() for row in rows}
            wanted = [
                (target, first_of(month), name.removeprefix("referring_links_"), key, links)
                for (target, month), row in latest.items()
                for name in MAPS
                for key, links in (row[name] or {}).items()
            ]
            found = connection.execute(f"SELECT target, month_start, dimension, key, links FROM '{out}'").fetchall()
            self.assertGreater(len(found), 0)
            self.assertEqual(sorted(found, key=repr), sorted(wanted, key=repr))
