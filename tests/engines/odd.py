"""Answers that the simulated API never gives: extreme numbers, empty maps, odd keys, no dates. Written by hand
here, as are the expected rows."""

import functools
import itertools
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import world

LARGEST = 2**63 - 1

# The items of each host's answer; None: no data
ITEMS = {
    # Extremes, integers in strings, keys that are missing, the misspelt keys beside and instead of the right ones
    "extremes-odd.com": """[
        {"type":"backlinks_history","date":"2019-01-01 00:00:00 +00:00","rank":0,"backlinks":9223372036854775807,
         "broken_pages":-9223372036854775808,"crawled_pages":9007199254740993,"new_reffering_domains":5,
         "lost_reffering_domains":6,"lost_referring_domains":7,"referring_pages":4294967296.0,"info":null,
         "referring_ips":"512","referring_subnets":"-9223372036854775808","internal_links_count":"512.0",
         "referring_links_types":{"anchor":"7","image":" 7"}},
        {"date":"2019-12-31 23:59:59 +00:00"}]""",
    # A null map, an empty one, a null in one, keys of any kind, and the attributes' old name
    "maps-odd.com": """[
        {"date":"2020-02-29 12:00:00 +00:00","referring_links_tld":{"":3,"co.uk":null,"blogspot.com":1,"ключ":2,"a\\"b\\n":4},
         "referring_links_types":{},"referring_links_countries":null,"referring_links_flags":{"nofollow":9}},
        {"date":"2020-03-31 12:00:00 +00:00","info":{"platform_type":[],"is_ip":true,"cms":"","country":null}},
        {"date":"2020-04-30 12:00:00 +00:00","info":{"platform_type":["cms",null,"blogs"],"target_spam_score":0}}]""",
    # Items without a valid date go to backlinks_undated
    "undated-odd.com": """[
        {"date":null,"rank":1},{"date":"soon","rank":2},{"rank":3},{"date":"2021-01-01 00:00:00 +00:00","rank":4}]""",
    # The same moment in other notations; around New Year, the year differs between Tokyo and New York
    "moments-odd.com": """[
        {"date":"2022-12-31 23:30:00 +00:00","rank":1},{"date":"2023-01-01 00:30:00 +00:00","rank":2},
        {"date":"2023-01-01 02:45:00 +02:00","rank":3},{"date":"2022-12-31 23:30:00.123456 +00:00","rank":4}]""",
    "nothing-odd.com": None,
}

US = 1_000_000
# 2019-01-01 00:00:00 UTC and others, in microseconds since 1970
WANTED = [
    ("extremes-odd.com", 1546300800 * US, 2019, {
        "type": "backlinks_history", "rank": 0, "backlinks": LARGEST, "broken_pages": -LARGEST - 1,
        "crawled_pages": 9007199254740993, "new_referring_domains": 5, "lost_referring_domains": 7,
        "referring_pages": 4294967296, "referring_ips": 512, "referring_subnets": -LARGEST - 1,
        "referring_links_types": {"anchor": 7, "image": None},
    }),
    ("extremes-odd.com", 1577836799 * US, 2019, {}),
    ("maps-odd.com", 1582977600 * US, 2020, {
        "referring_links_tld": {"": 3, "co.uk": None, "blogspot.com": 1, "ключ": 2, 'a"b\n': 4},
        "referring_links_types": {}, "referring_links_attributes": {"nofollow": 9},
    }),
    ("maps-odd.com", 1585656000 * US, 2020, {"info_platform_type": [], "info_is_ip": True, "info_cms": ""}),
    ("maps-odd.com", 1588248000 * US, 2020, {
        "info_platform_type": ["cms", None, "blogs"], "info_target_spam_score": 0,
    }),
    ("moments-odd.com", 1672529400 * US, 2022, {"rank": 1}),
    ("moments-odd.com", 1672529400 * US + 123456, 2022, {"rank": 4}),
    ("moments-odd.com", 1672533000 * US, 2023, {"rank": 2}),
    ("moments-odd.com", 1672533900 * US, 2023, {"rank": 3}),
    ("undated-odd.com", 1609459200 * US, 2021, {"rank": 4}),
]


def answer(target):
    items = ITEMS[target]
    result = f'[{{"target":"{target}","items":{items}}}]' if items else "null"
    task = f'{{"id":"1","status_code":20000,"status_message":"Ok.","cost":0.02,"result":{result}}}'
    # On one line, as the API writes
    return f'{{"status_code":20000,"tasks":[{task}]}}'.replace("\n", " ")


class Api(BaseHTTPRequestHandler):
    """Answers each target with its items."""

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        body = answer(asked[0]["target"]).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("X-AISA-Customer-Cost-Micros-USD", "30000")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def export(targets, *flags):
    path = world.folder()
    lines = [f"{target},{client}\n" for target, client in zip(targets, itertools.cycle(["ours", "", "theirs"]))]
    (path / "in.csv").write_text("domain,client\n" + "".join(lines))
    server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        api, out = f"http://127.0.0.1:{server.server_port}", path / "out"
        summary = world.call("run", path / "in.csv", "--api", api, "--out", out, *world.UNHURRIED, *flags)
    finally:
        server.shutdown()
        server.server_close()
    return world.Dataset(out, summary)


@functools.cache
def odd():
    return export(ITEMS)


@functools.cache
def empty():
    """No target has data: the dataset has no rows."""
    return export(["nothing-odd.com"])


@functools.cache
def empty_unpartitioned():
    return export(["nothing-odd.com"], "--partition-by", "none")
