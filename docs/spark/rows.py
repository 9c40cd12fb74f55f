"""Reads the ledgers of many runs on a Spark cluster and returns the rows of `backlinks-export replay`.

    spark-submit docs/spark/rows.py OUT DIR [DIR …]

DIR is a run's directory, or a glob of several, on any storage that Spark reads. OUT is a new Parquet table, partitioned
by year. In a notebook: `spark.addArtifacts("rows.py", pyfile=True)`, `from rows import history`, and then
`history(spark, ["s3a://bucket/audit/*"])`.

It reads the ledgers directly, `DIR/_raw/ledger-*.jsonl.gz`; docs/ledger.md describes them. Workers need only Python. As in
`replay`, the newest answer of a target counts, with data or without; one without data hides older rows. Re-fetched answers
(`--max-age`) and reused ones (`--previous`) need no special care. See docs/spark/README.md for its limits.
"""

import datetime
import decimal
import json
import re
import sys

from pyspark.sql import Window
from pyspark.sql import functions as f

INTEGERS = (
    "rank backlinks new_backlinks lost_backlinks new_referring_domains lost_referring_domains crawled_pages "
    "internal_links_count external_links_count broken_backlinks broken_pages referring_domains "
    "referring_domains_nofollow referring_main_domains referring_main_domains_nofollow referring_ips referring_subnets "
    "referring_pages referring_pages_nofollow"
).split()
INFO_TEXTS = ["server", "cms", "country", "ip_address"]
MAPS = [
    f"referring_links_{name}"
    for name in ["tld", "types", "attributes", "platform_types", "semantic_locations", "countries"]
]
# Aliases under which the API has served a key
ALIASES = {
    "new_referring_domains": "new_reffering_domains",
    "lost_referring_domains": "lost_reffering_domains",
    "referring_links_attributes": "referring_links_flags",
}
# A row, with its date in microseconds since 1970: Spark would take a Python timestamp for local time
ROW = {
    "type": "STRING",
    "micros": "BIGINT",
    "month_start": "DATE",
    "year": "INT",
    **dict.fromkeys(INTEGERS, "BIGINT"),
    **{f"info_{name}": "STRING" for name in INFO_TEXTS},
    "info_is_ip": "BOOLEAN",
    "info_platform_type": "ARRAY<STRING>",
    "info_target_spam_score": "BIGINT",
    **dict.fromkeys(MAPS, "MAP<STRING, BIGINT>"),
}
# The fields that are read from a line, apart from its body
HEAD = "record STRING, target STRING, at TIMESTAMP, class STRING, body_bytes BIGINT, broken STRING"
# Larger answers, and items beyond this number, give no rows
LARGEST_ANSWER = 8 * 1024 * 1024
MOST_ROWS = 20_000

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
DATE = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))? ?(?:Z|([+-])(\d\d):?(\d\d))?)?", re.ASCII
)
# A string that is read as an integer
INTEGER = re.compile(r"-?\d+", re.ASCII)
# A JSON number that is not a 64-bit integer: neither null nor a value
NO_INTEGER = object()


def history(spark, directories):
    """The rows of `backlinks_history` from the ledgers in these directories, with their `year`, in no order."""
    lines = spark.read.text([f"{directory}/_raw/ledger-*.jsonl.gz" for directory in directories], lineSep="\n")
    # Most lines are not answers; parse only the answers.
    lines = lines.where("""value LIKE '%"record":"answer"%' OR value LIKE '%"record":"taken_over"%'""")
    head = f.from_json("value", HEAD, {"columnNameOfCorruptRecord": "broken"})
    answers = lines.select(
        f.regexp_extract(f.col("_metadata.file_path"), "^(.*)/_raw/", 1).alias("directory"), "value", head.alias("head")
    )
    error = f.concat(f.lit("damaged ledger, or a run is writing to it: "), "directory")
    answers = answers.where(f.when(f.col("head.broken").isNull(), True).otherwise(f.raise_error(error)))
    final = answers.where("head.record IN ('answer', 'taken_over') AND head.class IN ('data', 'no_data')").select(
        "directory", "head.target", "head.at", "head.class",
        f.when((f.col("head.class") == "data") & (f.col("head.body_bytes") <= LARGEST_ANSWER), f.col("value")).alias("line"),
    )
    # The newest, in one directory or in several; a reused answer is the same in both.
    newest = Window.partitionBy("target").orderBy(f.desc("at"), "directory")
    chosen = final.withColumn("place", f.row_number().over(newest)).where("place = 1 AND line IS NOT NULL")
    fields = ", ".join(f"{name}: {kind}" for name, kind in ROW.items())
    rows_of = f.udf(rows_of_line, f"ARRAY<STRUCT<{fields}>>", useArrow=False)
    rows = chosen.select("target", f.explode(rows_of("line")).alias("row")).select("target", "row.*")
    # Items without a usable date are in a separate table
    rows = rows.where("micros IS NOT NULL")
    others = [name for name in ROW if name not in ("type", "micros", "month_start", "year")]
    return rows.select("target", "type", f.timestamp_micros("micros").alias("date"), "month_start", *others, "year")


def rows_of_line(line):
    """The rows in an answer's line, as tuples of `ROW`."""
    body = body_of(loads(line))
    if not isinstance(body, dict):
        raise ValueError("the answer is not a JSON object")
    task = next((task for task in listed(body.get("tasks")) if task is not None), None)
    items = [
        item
        for result in listed(task.get("result") if isinstance(task, dict) else None)
        if isinstance(result, dict)
        for item in listed(result.get("items"))
        if isinstance(item, dict)
    ]
    rows = [row_of(item) for item in items[:MOST_ROWS]]
    return sorted(rows, key=lambda row: (row[1] is None, row[1]))


def loads(text):
    """JSON with exact numbers."""
    return json.loads(text, parse_int=exact, parse_float=exact, parse_constant=no_json)


def no_json(name):
    raise ValueError(f"{name} is not JSON")


def exact(token):
    """A 64-bit integer, however it is written."""
    try:
        number = int(token)
        return number if -(2**63) <= number < 2**63 else NO_INTEGER
    except ValueError:
        pass
    try:
        number = decimal.Decimal(token)
        # Do not expand numbers with more digits than fit in 64 bits.
        if number != 0 and number.adjusted() > 19:
            return NO_INTEGER
        whole = int(number)
    except (decimal.DecimalException, ValueError):
        return NO_INTEGER
    return whole if whole == number and -(2**63) <= whole < 2**63 else NO_INTEGER


def body_of(line):
    """The body, which is verbatim in the line if it is JSON on one line."""
    if "body" in line:
        return line["body"]
    if "body_text" in line:
        return loads(line["body_text"])
    return loads(line["body_latin1"].encode("latin-1").decode("utf-8", "replace"))


def listed(value):
    return value if isinstance(value, list) else []


def row_of(item):
    def value(name):
        right = item.get(name)
        return item.get(ALIASES[name]) if right is None and name in ALIASES else right

    info = item.get("info")
    info = info if isinstance(info, dict) else {}
    micros = micros_of(text(item.get("date")))
    moment = None if micros is None else EPOCH + datetime.timedelta(microseconds=micros)
    platforms = info.get("platform_type")
    return (
        text(item.get("type")),
        micros,
        None if moment is None else moment.date().replace(day=1),
        None if moment is None else moment.year,
        *(integer(value(name)) for name in INTEGERS),
        *(text(info.get(name)) for name in INFO_TEXTS),
        info["is_ip"] if isinstance(info.get("is_ip"), bool) else None,
        [text(element) for element in platforms] if isinstance(platforms, list) else None,
        integer(info.get("target_spam_score")),
        *(counts(value(name)) for name in MAPS),
    )


def integer(value):
    if isinstance(value, str) and INTEGER.fullmatch(value):
        value = exact(value)
    return value if type(value) is int else None


def text(value):
    """Replaces half a surrogate pair: it is not a character, and Spark rejects it."""
    if not isinstance(value, str):
        return None
    return value if value.isascii() else value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def counts(value):
    return {text(key): integer(count) for key, count in value.items()} if isinstance(value, dict) else None


def micros_of(written):
    """Microseconds since 1970 for a date as the API writes it, with or without time, fraction and offset."""
    found = DATE.fullmatch(written.strip()) if written is not None else None
    if found is None:
        return None
    year, month, day, hour, minute, second, fraction, sign, offset_hour, offset_minute = found.groups()
    try:
        moment = datetime.datetime(
            *map(int, (year, month, day, hour or 0, minute or 0, second or 0)), tzinfo=datetime.timezone.utc
        )
        offset = datetime.timedelta(hours=int(offset_hour or 0), minutes=int(offset_minute or 0))
        moment = moment + offset if sign == "-" else moment - offset
    except (ValueError, OverflowError):
        return None
    micros = (moment - EPOCH) // datetime.timedelta(microseconds=1) + int((fraction or "0").ljust(6, "0")[:6])
    return micros if 1900 <= moment.year <= 9999 else None


def main(out, *directories):
    from pyspark.sql import SparkSession

    spark = SparkSession.builder.appName("backlinks-export rows").getOrCreate()
    rows = history(spark, directories)
    # One file per year, sorted as in `replay`.
    rows = rows.repartition("year").sortWithinPartitions("year", "target", f.asc_nulls_last("date"))
    rows.write.partitionBy("year").parquet(out)
    spark.stop()


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
