"""Checks of the report as a reader sees it. Called by tests/report/run with the program and the project's folder."""

import base64
import http.server
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading
import traceback

from selenium.webdriver import ActionChains, Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.keys import Keys

PROGRAM, ROOT = sys.argv[1], pathlib.Path(sys.argv[2])
PICTURES = ROOT / "target" / "report-pages"
TARGETS = 230
HEADINGS = "[...document.querySelectorAll('#rows th')].map((it) => it.textContent)"
ROWS = "[...document.querySelectorAll('#rows tbody tr')]"
HOSTILE = "</script><img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"


class Api(http.server.BaseHTTPRequestHandler):
    """An API whose answers hold markup: a message, and the keys of maps."""

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        target = (asked[0] if isinstance(asked, list) else asked)["target"]
        number = int("".join(filter(str.isdigit, target)) or 0)
        task = {"id": "t", "status_code": 20000, "status_message": "Ok.", "cost": 0.03}
        if number == 7:
            task |= {"status_code": 40501, "status_message": f"Invalid Field: {HOSTILE}", "result": None}
        else:
            items = [self.item(number, month) for month in range(24)]
            task["result"] = [{"target": target, "items_count": len(items), "items": items}]
        body = {"version": "0.1", "status_code": 20000, "status_message": "Ok.", "cost": 0.03, "tasks": [task]}
        body = json.dumps(body | {"tasks_count": 1, "tasks_error": int(number == 7)}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    @staticmethod
    def item(number, month):
        date = f"{2024 + month // 12}-{month % 12 + 1:02}-28 00:00:00 +00:00"
        domains = 1000 + number * 10 + (number % 21 - 10) * month
        links = {"com": 60, HOSTILE: 30, "": 10}
        return {
            "type": "backlinks_history",
            "date": date,
            "rank": number * 4,
            "backlinks": domains * 9,
            "referring_domains": domains,
            "new_referring_domains": 20 + month,
            "lost_referring_domains": 10 + number % 9,
            "info": {"target_spam_score": number % 100},
            "referring_links_tld": links,
            "referring_links_countries": links,
        }

    def log_message(self, *_):
        pass


def made(folder):
    """A run with markup in all that is foreign: cells and headings of the input, messages, keys."""
    rows = ["domain,client,<b>market</b>,priority"]
    for number in range(TARGETS):
        client = '"' + HOSTILE.replace('"', '""') + '"' if number == 3 else f"Client {number % 12}"
        rows.append(f"site{number:03}.example.com,{client},{'DE' if number % 2 else '=1+1'},{number % 3}")
    source = folder / "portfolio.csv"
    source.write_text("\n".join([*rows, f'"{HOSTILE.replace(chr(34), chr(34) * 2)}",x,y,z', ""]))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Api)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    api = f"http://127.0.0.1:{server.server_address[1]}/apis/v1"
    limits = ["--rate", "60000/min", "--concurrency", "8"]
    command = [PROGRAM, "run", source, "--api", api, "--out", folder / "run", "--report", "--progress", "none", *limits]
    done = subprocess.run(command, env=os.environ | {"AISA_API_KEY": "x"}, capture_output=True, text=True, timeout=300)
    server.shutdown()
    assert done.returncode == 3, f"exit code {done.returncode}: {done.stdout}{done.stderr}"
    assert f"report    {folder}/run/report.html" in done.stdout, done.stdout
    return folder / "run" / "report.html"


class Page(Chrome):
    """Headless Chromium with one page, in light colors by default."""

    def __init__(self):
        options = ChromeOptions()
        # As root Chromium does not start with its sandbox; it opens only this test's own files.
        for flag in ("headless", "no-sandbox", "disable-dev-shm-usage", "disable-component-update", "hide-scrollbars"):
            options.add_argument(f"--{flag}")
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        # The system's driver: selenium downloads none.
        super().__init__(options=options, service=Service("/usr/bin/chromedriver"))

    def open(self, report, width=1280, colors="light"):
        scheme = {"name": "prefers-color-scheme", "value": colors}
        self.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        self.size(width)
        self.get(report.as_uri())

    def size(self, width):
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def run(self, expression, *arguments):
        return self.execute_script(f"return {expression}", *arguments)

    def keys(self, *keys):
        ActionChains(self).send_keys(*keys).perform()


def column(page, heading):
    """The cells of a column that are shown."""
    place = page.run(f"{HEADINGS}.indexOf(arguments[0])", heading)
    return page.run(f"{ROWS}.map((row) => row.cells[arguments[0]].textContent)", place)


def filtered(page, text):
    page.execute_script(
        "const filter = document.getElementById('filter');"
        "filter.value = arguments[0]; filter.dispatchEvent(new Event('input'))",
        text,
    )


def tab_to(page, name):
    """Presses Tab until the element with this text or id has the focus."""
    for _ in range(60):
        page.keys(Keys.TAB)
        if page.run("document.activeElement.id || document.activeElement.textContent") == name:
            return
    raise AssertionError(f"the Tab key does not get to {name}")


def loads_in_silence_and_asks_for_nothing(page, report):
    page.run("scrollTo(0, 1e6)")
    events = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]
    asked = [it["params"]["request"]["url"] for it in events if it["method"] == "Network.requestWillBeSent"]
    assert asked == [report.as_uri()], asked
    messages = page.get_log("browser")
    assert messages == [], messages
    assert page.run("document.documentElement.scrollWidth <= innerWidth"), "the page is wider than the window"


def shows_foreign_text_as_text(page, report):
    assert page.run("document.title").startswith("Backlinks history"), page.run("document.title")
    assert page.run("document.querySelectorAll('img, iframe, object, embed, link, b[onclick]').length") == 0
    assert page.run("document.scripts.length") == 2
    seen = page.run("document.body.innerText").count(HOSTILE)
    assert seen == 3, f"seen {seen} times; the message and both keys hold it"
    headings = page.run(HEADINGS)
    assert headings[:4] == ["Target", "client", "<b>market</b>", "priority"], headings
    filtered(page, "site003")
    assert HOSTILE.startswith(column(page, "client")[0].rstrip("…")), column(page, "client")
    filtered(page, "")


def the_policy_stops_what_is_not_the_pages_own(page, report):
    page.execute_script(
        "for (const name of ['script', 'style']) {"
        "  const it = document.createElement(name);"
        "  it.textContent = name === 'script' ? 'document.title = `owned`' : 'body { display: none }';"
        "  document.head.append(it);"
        "}"
    )
    assert page.run("document.title") != "owned"
    assert page.run("getComputedStyle(document.body).display") == "block"


def the_script_writes_rows_as_they_were_written_before(page, report):
    of = "map((row) => [...row.cells].map((it) => it.textContent.trim()))"
    static = page.run(
        "[...new DOMParser().parseFromString(arguments[0], 'text/html')"
        f".querySelectorAll('#rows tbody tr')].{of}",
        report.read_text(),
    )
    assert static == page.run(f"{ROWS}.{of}"), "the rows differ"
    assert len(static) == 100


def sorts_by_keyboard(page, report):
    page.execute_script("document.activeElement.blur(); scrollTo(0, 0)")
    page.keys(Keys.TAB)
    assert page.run("document.activeElement.textContent") == "Skip to the table of targets"
    page.keys(Keys.ENTER)
    tab_to(page, "Target")
    page.keys(Keys.ENTER)
    first = column(page, "Target")
    assert first == sorted(first) and first[0] == "site000.example.com", first[:3]
    sorted_by = "[...document.querySelectorAll('#rows [aria-sort]')].map((it) => it.textContent + it.ariaSort)"
    assert page.run(sorted_by) == ["Targetascending"]
    page.keys(Keys.SPACE)
    assert column(page, "Target")[0] == f"site{TARGETS - 1:03}.example.com"
    assert page.run(sorted_by) == ["Targetdescending"]
    tab_to(page, "12-month change")
    page.keys(Keys.ENTER)
    number = lambda text: int(text.replace(",", "").replace("\u2212", "-"))
    changes = [number(text) for text in column(page, "12-month change")]
    assert changes == sorted(changes, reverse=True) and changes[0] == 120, changes[:3]
    page.keys(Keys.ENTER)
    changes = [number(text) for text in column(page, "12-month change")]
    assert changes == sorted(changes) and changes[0] == -120, changes[:3]
    tab_to(page, "next")
    page.keys(Keys.ENTER, Keys.ENTER)
    assert page.run("document.getElementById('status').textContent") == f"201 to {TARGETS} of {TARGETS} targets"
    assert column(page, "12-month change")[-1] == "", "what is not known comes last"


def filters_by_keyboard(page, report):
    page.run("document.getElementById('targets').focus()")
    tab_to(page, "filter")
    assert page.run("document.activeElement.labels[0].textContent") == "Filter"
    page.keys("client 5 de")
    # Each word, in whichever cell
    matching = [it for it in range(TARGETS) if it % 2 and "5" in f"site{it:03} Client {it % 12} {it % 3}" and it != 3]
    count = len(matching)
    assert page.run("document.getElementById('status').textContent").endswith(f"{count} targets that match, of {TARGETS}")
    assert sorted(column(page, "Target")) == [f"site{it:03}.example.com" for it in matching]
    assert set(column(page, "<b>market</b>")) == {"DE"}
    page.keys("zzz")
    assert page.run("document.getElementById('status').textContent") == "No target matches"
    page.keys(Keys.BACKSPACE * len("client 5 dezzz"))
    assert page.run("document.getElementById('status').textContent").endswith(f"100 of {TARGETS} targets")


def can_be_read_by_assistive_technology(page, report):
    tree = page.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    of = lambda role: [node for node in tree if node.get("role", {}).get("value") == role and not node.get("ignored")]
    named = lambda role: all(node.get("name", {}).get("value") for node in of(role))
    for role in ("image", "button", "searchbox", "region"):
        assert of(role) and named(role), f"{role} without a name"
    assert page.run("document.documentElement.lang") == "en"
    assert page.run("[...document.querySelectorAll('h1, h2, h3')].map((it) => it.tagName).join('')").startswith("H1H2")


def fits_a_narrow_window(page, report):
    page.size(400)
    wide = page.run("document.documentElement.scrollWidth")
    page.size(1280)
    assert wide <= 400, f"{wide} pixels wide"


def keeps_large_figures_apart(page, report):
    overlaps = "[...document.querySelectorAll('.keys b')].filter((it) => it.scrollWidth > it.clientWidth).length"
    page.run("document.querySelectorAll('.keys b').forEach((it) => { it.textContent = '999,999,999,999' })")
    for width in (1280, 1000, 500, 400):
        page.size(width)
        assert page.run(overlaps) == 0, f"at {width} pixels"
    page.size(1280)


CHECKS = [
    loads_in_silence_and_asks_for_nothing,
    shows_foreign_text_as_text,
    the_script_writes_rows_as_they_were_written_before,
    sorts_by_keyboard,
    filters_by_keyboard,
    can_be_read_by_assistive_technology,
    fits_a_narrow_window,
    the_policy_stops_what_is_not_the_pages_own,
    keeps_large_figures_apart,
]


def pictures(page, report):
    """The page of simulated histories in light, dark, narrow and print, to be looked at."""
    for name, width, colors in (("light", 1280, "light"), ("dark", 1280, "dark"), ("narrow", 400, "light")):
        page.open(report, width, colors)
        size = page.execute_cdp_cmd("Page.getLayoutMetrics", {})["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], 12_000), "scale": 1}
        shot = page.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
        (PICTURES / f"{name}.png").write_bytes(base64.b64decode(shot["data"]))
        background = page.run("getComputedStyle(document.body).backgroundColor")
        assert (background == "rgb(20, 24, 27)") == (colors == "dark"), background
    printed = page.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True})
    (PICTURES / "print.pdf").write_bytes(base64.b64decode(printed["data"]))
    for name in ("light.png", "dark.png", "narrow.png", "print.pdf"):
        assert (PICTURES / name).stat().st_size > 20_000, name


def main():
    shutil.rmtree(PICTURES, ignore_errors=True)
    PICTURES.mkdir(parents=True)
    passed = failed = 0
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        hostile = made(folder)
        command = [PROGRAM, "run", ROOT / "inputs" / "portfolio.csv", "--sandbox", "--out", folder / "demo", "--report"]
        subprocess.run([*command, "--progress", "none", "-q"], check=True, capture_output=True, timeout=300)
        with Page() as page:
            page.open(hostile)
            for check in [*CHECKS, pictures]:
                try:
                    check(page, folder / "demo" / "report.html" if check is pictures else hostile)
                    passed += 1
                    print(f"ok   {check.__name__.replace('_', ' ')}", flush=True)
                except Exception:
                    failed += 1
                    print(f"FAIL {check.__name__.replace('_', ' ')}\n{traceback.format_exc()}", flush=True)
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


main()
