"""A third reader of the ledger: plain Python, without the program's code or an engine's.

Knows only what is documented of `_raw/*.jsonl.gz`: gzip members of JSON lines, of which those with `record` =
`answer` carry the API's answer verbatim under `body`.
"""

import datetime
import gzip
import json
import re
from pathlib import Path

from contract import INFO_TEXTS, INTEGERS, MAPS

ALIASES = {
    "new_referring_domains": "new_reffering_domains",
    "lost_referring_domains": "lost_reffering_domains",
    "referring_links_attributes": "referring_links_flags",
}
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)


def records(directory):
    """Every line of a run's ledger."""
    for path in sorted(Path(directory, "_raw").glob("*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8", newline="\n") as lines:
            for line in lines:
                yield json.loads(line)


def stored(directory):
    """The answers with data, by target."""
    return {
        record["target"]: record["body"]
        for record in records(directory)
        if record["record"] == "answer" and record["class"] == "data"
    }


def rows(directory):
    """The expected rows of `backlinks_history`, from the ledger's answers, sorted by target and date."""
    return [row for target, body in sorted(stored(directory).items()) for row in rows_of(target, body)]


def rows_of(target, body):
    found = []
    for result in body["tasks"][0]["result"]:
        for item in result["items"]:
            found.append(row_of(target, item))
    return sorted(found, key=lambda row: (row["date"] is None, row["date"]))


def integer(value):
    """The integer in a string; None for any other string."""
    if not isinstance(value, str):
        return value
    return int(value) if re.fullmatch(r"-?[0-9]+", value) and -(2**63) <= int(value) < 2**63 else None


def row_of(target, item):
    def value(name):
        right = item.get(name)
        return item.get(ALIASES[name]) if right is None and name in ALIASES else right

    def entries(name):
        found = value(name)
        return found and {key: integer(links) for key, links in found.items()}

    info = item.get("info") or {}
    return {
        "target": target,
        "type": item.get("type"),
        "date": micros(item.get("date")),
        "month_start": month_start(micros(item.get("date"))),
        **{name: integer(value(name)) for name in INTEGERS},
        **{name: info.get(name.removeprefix("info_")) for name in INFO_TEXTS},
        "info_is_ip": info.get("is_ip"),
        "info_platform_type": info.get("platform_type"),
        "info_target_spam_score": info.get("target_spam_score"),
        **{name: entries(name) for name in MAPS},
    }


def micros(text):
    """Microseconds since 1970 of `2019-11-15 12:57:46 +00:00`."""
    if text is None:
        return None
    moment = datetime.datetime.strptime(text, "%Y-%m-%d %H:%M:%S %z")
    return (moment - EPOCH) // datetime.timedelta(microseconds=1)


def month_start(micros_):
    """The first day of a moment's month in UTC."""
    if micros_ is None:
        return None
    return (EPOCH + datetime.timedelta(microseconds=micros_)).date().replace(day=1)


def year(row):
    """The partition of a row: its year in UTC."""
    return (EPOCH + datetime.timedelta(microseconds=row["date"])).year
