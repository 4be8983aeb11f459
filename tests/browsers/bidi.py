"""A browser under test, driven by WebDriver BiDi: one protocol for Chromium and Firefox.

Firefox speaks it itself, Chromium through Debian's chromedriver. What a test does reaches the page
as real pointer and key events. All requests, and all errors of pages and policies, are recorded.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import queue
import re
import shutil
import subprocess
import threading
from typing import TYPE_CHECKING, Any, Self

import httpx
from websockets.sync.client import connect

from tests.waiting import HANG_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from websockets.sync.client import ClientConnection

CHROMIUM, FIREFOX = "chromium", "firefox"
CHROMIUM_ARGUMENTS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-sync", "--disable-background-networking", "--disable-component-update",
    "--disable-dev-shm-usage", "--disable-renderer-backgrounding",
    "--disable-backgrounding-occluded-windows",
    "--disable-features=OptimizationHints,Translate,MediaRouter",
)  # fmt: skip
FIREFOX_SETTINGS = {  # nothing but the page asks for anything
    "app.normandy.enabled": False,
    "app.update.enabled": False,
    "browser.safebrowsing.malware.enabled": False,
    "browser.safebrowsing.phishing.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "browser.startup.homepage_override.mstone": "ignore",
    "datareporting.policy.dataSubmissionEnabled": False,
    "extensions.systemAddon.update.enabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "services.settings.server": "http://127.0.0.1:9/",
    "toolkit.telemetry.enabled": False,
    "browser.newtabpage.enabled": False,
    "browser.startup.page": 0,
    "privacy.reduceTimerPrecision": False,
}
LONGEST_MESSAGE = 256 * 1024 * 1024
KEYS = {
    "Enter": "\ue007", "Escape": "\ue00c", "Tab": "\ue004", "ArrowUp": "\ue013",
    "ArrowDown": "\ue015", "Home": "\ue011", "End": "\ue010", "Backspace": "\ue003",
    "Shift": "\ue008", "Control": "\ue009", "Alt": "\ue00a", "PageUp": "\ue00e",
}  # fmt: skip
# looks after each change of the document, and now and then for what is no part of it
UNTIL_TRUE = """
    const look = async () => { const value = %s; return value instanceof Node || value; };
    const end = performance.now() + 2000;
    let wake = () => {};
    const observer = new MutationObserver(() => wake());
    const all = { subtree: true, childList: true, attributes: true, characterData: true };
    observer.observe(document, all);
    for (;;) {
        const value = await look().catch(() => null);
        if (value || performance.now() > end) { observer.disconnect(); return value; }
        await new Promise((resolve) => { wake = resolve; setTimeout(resolve, 25); });
    }
"""
EVENTS = ["network.beforeRequestSent", "log.entryAdded"]


def programs() -> dict[str, list[str]]:
    """Return the programs of each browser that is installed."""
    found = {}
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium and driver:
        found[CHROMIUM] = [driver, chromium]
    firefox = shutil.which("firefox-esr") or shutil.which("firefox")
    if firefox:
        found[FIREFOX] = [firefox]
    return found


class PageError(AssertionError):
    """The browser refused a command, or a script of the test failed."""


class Browser:
    """One browser with one tab."""

    def __init__(self, name: str, websocket: ClientConnection) -> None:
        self.name = name
        self._websocket = websocket
        self._answers: dict[int, queue.Queue[dict[str, Any]]] = {}
        self._number = 0
        self.requests: list[str] = []
        self.errors: list[str] = []
        self.origins: set[str] = set()  # of all pages so far
        threading.Thread(target=self._read, daemon=True).start()

    def begin(self) -> Self:
        """Open the session and find the tab."""
        if self.name == FIREFOX:
            self.command("session.new", capabilities={})
        self.command("session.subscribe", events=EVENTS)
        self._context = self.command("browsingContext.getTree")["contexts"][0]["context"]
        return self

    def command(self, method: str, **params: Any) -> dict[str, Any]:
        """Return the result of a command of the protocol."""
        self._number += 1
        number = self._number
        answers: queue.Queue[dict[str, Any]] = queue.Queue()
        self._answers[number] = answers
        self._websocket.send(json.dumps({"id": number, "method": method, "params": params}))
        answer = answers.get(timeout=HANG_S)
        del self._answers[number]
        if answer["type"] == "error":
            raise PageError(f"{method}: {answer['message']}")
        result: dict[str, Any] = answer["result"]
        return result

    def open(self, url: str) -> None:
        """Load an address, and wait until it is loaded."""
        self.origins.add(url.partition("/#")[0].removesuffix("/") + "/")
        self.command("browsingContext.navigate", context=self._context, url=url, wait="complete")

    @contextlib.contextmanager
    def running_first(self, body: str) -> Iterator[None]:
        """Run the body of a function in each page before its own scripts."""
        declared = {"functionDeclaration": f"() => {{{body}}}", "contexts": [self._context]}
        script = self.command("script.addPreloadScript", **declared)["script"]
        try:
            yield
        finally:
            self.command("script.removePreloadScript", script=script)

    def run(self, body: str) -> Any:
        """Return the JSON value that the body of an asynchronous function returns in the page."""
        expression = f"(async () => JSON.stringify((await (async () => {{{body}}})()) ?? null))()"
        done = self.command(
            "script.evaluate",
            expression=expression,
            target={"context": self._context},
            awaitPromise=True,
        )
        if done["type"] == "exception":
            raise PageError(done["exceptionDetails"]["text"])
        return json.loads(done["result"]["value"])

    def wait(self, expression: str) -> Any:
        """Return the value of an expression in the page as soon as it is true."""
        found: list[Any] = []

        def has_come() -> bool:
            with contextlib.suppress(PageError):  # while the page loads
                found[:] = [self.run(UNTIL_TRUE % expression)]
            return bool(found and found[0])

        try:
            wait_until(has_come)
        except BaseException as error:
            text = self.run("return document.body.innerText;")
            raise PageError(f"not true: {expression}\n{self.errors}\n{text[-1500:]}") from error
        return found[0]

    def text(self, selector: str) -> str:
        """Return the visible text of an element."""
        shown: str = self.run(f"return document.querySelector({json.dumps(selector)}).innerText;")
        return shown

    def click(self, selector: str, index: int = 0) -> None:
        """Click into the middle of the element, which must be visible there."""
        self._point(*self._middle(selector, index), "pointerDown", "pointerUp")

    def hold(self, selector: str, index: int = 0) -> None:
        """Press the mouse button there, as `click` does, until `release`."""
        self._point(*self._middle(selector, index), "pointerDown")

    def release(self) -> None:
        """Release the mouse button where it is."""
        self._act(
            {"type": "pointer", "id": "mouse", "actions": [{"type": "pointerUp", "button": 0}]}
        )

    def _middle(self, selector: str, index: int) -> tuple[int, int]:
        """Return the middle of an element as soon as it can be clicked, and does not move."""
        chosen = f"[...document.querySelectorAll({json.dumps(selector)})].at({index})"
        x, y = self.wait(
            f"""await (async () => {{
            const place = () => {{
              const box = {chosen}?.getBoundingClientRect();
              return box && [box.x + Math.min(box.width / 2, 300), box.y + box.height / 2];
            }};
            const frame = () => new Promise((resolve) => requestAnimationFrame(resolve));
            {chosen}?.scrollIntoView({{ block: "nearest", behavior: "instant" }});
            const before = place();
            await frame().then(frame);
            const [element, after] = [{chosen}, place()];
            if (!element || element.disabled || String(before) !== String(after)) return null;
            return element.contains(document.elementFromPoint(...after)) && after.map(Math.round);
            }})()"""
        )
        return x, y

    def _point(self, x: int, y: int, *kinds: str) -> None:
        move = {"type": "pointerMove", "x": x, "y": y}
        actions = [move, *({"type": kind, "button": 0} for kind in kinds)]
        self._act({"type": "pointer", "id": "mouse", "actions": actions})

    def press(self, *keys: str) -> None:
        """Press keys together, such as Control and k."""
        values = [KEYS.get(key, key) for key in keys]
        down = [{"type": "keyDown", "value": value} for value in values]
        up = [{"type": "keyUp", "value": value} for value in reversed(values)]
        self._act({"type": "key", "id": "keys", "actions": [*down, *up]})

    def type(self, text: str) -> None:
        """Type a text where the focus is."""
        actions = [
            {"type": kind, "value": character}
            for character in text
            for kind in ("keyDown", "keyUp")
        ]
        self._act({"type": "key", "id": "keys", "actions": actions})

    def choose_files(self, selector: str, *paths: Path) -> None:
        """Choose files in a field for files."""
        node = self.command(
            "browsingContext.locateNodes",
            context=self._context,
            locator={"type": "css", "value": selector},
        )["nodes"][0]
        reference = {"sharedId": node["sharedId"]}
        self.command(
            "input.setFiles",
            context=self._context,
            element=reference,
            files=[str(path) for path in paths],
        )

    def resize(self, width: int, height: int) -> None:
        """Set the size of the window's content."""
        size = {"width": width, "height": height}
        self.command("browsingContext.setViewport", context=self._context, viewport=size)

    def screenshot(self, path: Path) -> None:
        """Write what is seen."""
        shot = self.command("browsingContext.captureScreenshot", context=self._context)
        path.write_bytes(base64.b64decode(shot["data"]))

    def _act(self, *sources: dict[str, Any]) -> None:
        self.command("input.performActions", context=self._context, actions=list(sources))

    def _read(self) -> None:
        with contextlib.suppress(Exception):  # the browser has ended
            for text in self._websocket:
                message = json.loads(text)
                if message["type"] == "event":
                    self._note(message["method"], message["params"])
                elif (waiting := self._answers.get(message.get("id"))) is not None:
                    waiting.put(message)

    def _note(self, method: str, params: dict[str, Any]) -> None:
        if method == "network.beforeRequestSent":
            self.requests.append(params["request"]["url"])
        elif params.get("level") == "error":
            self.errors.append(str(params.get("text")))


@contextlib.contextmanager
def browsing(name: str, folder: Path) -> Iterator[Browser]:
    """Start a browser with a profile of its own."""
    words = programs()[name]
    environ = os.environ | {"HOME": str(folder)}
    start = _started_firefox if name == FIREFOX else _started_chromium
    with start(words, folder, environ) as address:
        with connect(address, max_size=LONGEST_MESSAGE, open_timeout=HANG_S) as websocket:
            yield Browser(name, websocket).begin()


@contextlib.contextmanager
def _started_firefox(words: list[str], folder: Path, environ: dict[str, str]) -> Iterator[str]:
    settings = FIREFOX_SETTINGS.items()
    lines = [f"user_pref({json.dumps(key)}, {json.dumps(value)});" for key, value in settings]
    (folder / "user.js").write_text("\n".join(lines))
    options = [
        "--headless",
        "--no-remote",
        "--remote-debugging-port",
        "0",
        "--profile",
        str(folder),
    ]
    process = subprocess.Popen(
        [*words, *options], env=environ, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        yield _announced(process, r"(ws://\S+)") + "/session"
    finally:
        process.kill()
        process.communicate()


@contextlib.contextmanager
def _started_chromium(words: list[str], folder: Path, environ: dict[str, str]) -> Iterator[str]:
    driver, program = words
    process = subprocess.Popen([driver, "--port=0"], env=environ, stdout=subprocess.PIPE, text=True)
    port = _announced(process, r"on port (\d+)\.")
    url = f"http://127.0.0.1:{port}/session"
    arguments = [*CHROMIUM_ARGUMENTS, f"--user-data-dir={folder}"]
    options = {"binary": program, "args": arguments}
    wanted = {"alwaysMatch": {"webSocketUrl": True, "goog:chromeOptions": options}}
    session: dict[str, Any] = {}
    try:
        answer = httpx.post(url, json={"capabilities": wanted}, timeout=HANG_S).json()
        session = answer["value"]
        yield session["capabilities"]["webSocketUrl"]
    finally:
        if "sessionId" in session:
            with contextlib.suppress(httpx.HTTPError):
                httpx.delete(f"{url}/{session['sessionId']}")
        process.kill()
        process.communicate()


def _announced(process: subprocess.Popen[str], pattern: str) -> str:
    """Return what a program prints once it listens; what it prints later is discarded."""
    stream = process.stderr or process.stdout
    assert stream is not None
    for line in stream:
        found = re.search(pattern, line)
        if found:
            threading.Thread(target=stream.read, daemon=True).start()
            return found[1]
    raise AssertionError("the browser does not start")
