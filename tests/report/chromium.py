"""A headless Chromium that is told what to do over a pipe, with Python's own library alone.

The DevTools protocol over --remote-debugging-pipe is JSON between NUL bytes on descriptors 3 and 4: no port, no
WebSocket, no driver of its own to keep in step with the browser.
"""

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import tempfile
import time

LONGEST_WAIT_S = 60
FLAGS = [
    "--headless",
    "--no-sandbox",  # as root Chromium does not start otherwise; it opens this test's own files alone
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
]


class Chromium:
    """The browser, with its own profile, which goes with it."""

    def __init__(self):
        self.profile = tempfile.mkdtemp(prefix="report-chromium-")
        to_browser, to_write = os.pipe()
        to_read, from_browser = os.pipe()
        # High numbers, so that neither stands in the way of 3 and 4.
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 20) for end in (to_browser, from_browser)]

        def place_ends():
            os.dup2(ends[0], 3)
            os.dup2(ends[1], 4)

        self.process = subprocess.Popen(
            ["chromium", *FLAGS, f"--user-data-dir={self.profile}"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=place_ends,
            pass_fds=(3, 4),
        )
        for end in (to_browser, from_browser, *ends):
            os.close(end)
        self.write, self.read = to_write, to_read
        self.buffer, self.number, self.events = b"", 0, []

    def receive(self, until):
        """The next message; `None` where none comes before `until`."""
        while b"\0" not in self.buffer:
            left = until - time.monotonic()
            if left <= 0 or not select.select([self.read], [], [], left)[0]:
                return None
            chunk = os.read(self.read, 1 << 16)
            if not chunk:
                raise RuntimeError("chromium ended")
            self.buffer += chunk
        message, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(message)

    def call(self, method, session=None, **parameters):
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self.write, data) :]
        until = time.monotonic() + LONGEST_WAIT_S
        while (answer := self.receive(until)) is not None:
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]
            self.events.append(answer)
        raise RuntimeError(f"{method}: no answer within {LONGEST_WAIT_S} s")

    def close(self):
        try:
            self.call("Browser.close")
            self.process.wait(timeout=20)
        except (RuntimeError, OSError, subprocess.TimeoutExpired):
            self.process.kill()
            self.process.wait()
        os.close(self.write)
        os.close(self.read)
        shutil.rmtree(self.profile, ignore_errors=True)


class Page:
    """A page in a tab of its own, with all that it said and asked for."""

    KEYS = {"Tab": 9, "Enter": 13, " ": 32, "Backspace": 8, "Escape": 27}

    def __init__(self, browser, url, width=1280, height=900, dark=False):
        self.browser = browser
        target = browser.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = browser.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", media="", features=[scheme])
        self.size(width, height)
        self.call("Page.navigate", url=url)
        self.wait("document.readyState === 'complete'")

    def call(self, method, **parameters):
        return self.browser.call(method, self.session, **parameters)

    def size(self, width, height):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def run(self, expression):
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in result:
            raise RuntimeError(f"{expression}: {result['exceptionDetails']}")
        return result["result"].get("value")

    def wait(self, expression):
        until = time.monotonic() + LONGEST_WAIT_S
        while not self.run(expression):
            if time.monotonic() > until:
                raise RuntimeError(f"never came true: {expression}")
            time.sleep(0.05)

    def key(self, key, shift=False):
        parameters = {"key": key, "windowsVirtualKeyCode": self.KEYS.get(key, ord(key[0].upper())), "modifiers": 8 * shift}
        text = {"Enter": "\r"}.get(key, key if len(key) == 1 else None)
        down = {"type": "keyDown", "text": text} if text else {"type": "rawKeyDown"}
        self.call("Input.dispatchKeyEvent", **parameters, **down)
        self.call("Input.dispatchKeyEvent", type="keyUp", **parameters)

    def type(self, text):
        for character in text:
            self.key(character)

    def picture(self, path):
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], 12_000), "scale": 1}
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
        with open(path, "wb") as file:
            file.write(base64.b64decode(shot["data"]))

    def print(self, path):
        pdf = self.call("Page.printToPDF", printBackground=False, preferCSSPageSize=True)
        with open(path, "wb") as file:
            file.write(base64.b64decode(pdf["data"]))

    def events(self, method):
        of = [event for event in self.browser.events if event.get("sessionId") == self.session]
        return [event["params"] for event in of if event["method"] == method]
