"""A headless Chromium for tests, driven through its DevTools protocol; nothing beyond aiohttp, which Ray brings."""

from __future__ import annotations

import asyncio
import base64
import os
import shutil
import subprocess
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from lesionforge.infra.ceph import ONE_APT

FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run", "--disable-sync"),
    *("--disable-quic", "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage"),
    "--remote-debugging-port=0",
]
INSTALL = "apt-get update && apt-get install -y --no-install-recommends chromium"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def _program() -> str:
    """The browser, installed where that may be done; the test is skipped where it may not."""
    if (found := _installed()) is not None:
        return found
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        pytest.skip(f"none of {', '.join(NAMES)} is installed. On Debian run as root: {INSTALL}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run([*ONE_APT, INSTALL], capture_output=True, text=True, env=environment)
    if (found := _installed()) is None:  # no network, or a system whose package is a stub for a snap
        pytest.skip(f"no browser after `{INSTALL}`: {' '.join(done.stderr.split())[-300:] or 'the package has none'}")
    return found


def _installed() -> str | None:
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Browser:
    """One page. Input goes through the browser's own event handling, as a person's would.

    Args:
        profile: an empty folder.
        size: of the window, pixels.
    """

    def __init__(self, profile: Path, size: tuple[int, int] = (1400, 900)) -> None:
        program = _program()
        self._loop = asyncio.new_event_loop()
        command = [program, *FLAGS, f"--user-data-dir={profile}", f"--window-size={size[0]},{size[1]}", "about:blank"]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._id = 0
        self.errors: list[str] = []  # of the page's scripts
        try:
            self._run(self._connect(profile / "DevToolsActivePort"))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the browser."""
        if hasattr(self, "_session"):
            self._run(self._session.close())
        self._process.terminate()
        self._process.wait(20)
        self._loop.close()

    def open(self, url: str) -> None:
        """Load a page and wait for it."""
        self.call("Page.navigate", url=url)
        deadline = time.monotonic() + 30
        while self.js("document.readyState + location.href") != f"complete{url}":
            assert time.monotonic() < deadline, f"{url} does not load"
            time.sleep(0.05)

    def js(self, expression: str) -> Any:
        """The value of an expression in the page."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise AssertionError(answer["exceptionDetails"])
        return answer["result"].get("value")

    def until(self, condition: str) -> None:
        """Wait for what the page does in a later task: a dialog tells that it closed only then."""
        deadline = time.monotonic() + 10
        while not self.js(condition):
            assert time.monotonic() < deadline, f"never true: {condition}"
            time.sleep(0.02)

    def click(self, selector: str) -> None:
        """Scroll to an element and press the left button in its middle."""
        x, y = self.spot(selector)
        self.mouse("mousePressed", x, y)
        self.mouse("mouseReleased", x, y)

    def drag(self, selector: str, start: float, end: float) -> None:
        """Drag over an element, from one fraction of its width to another."""
        (x0, y), (x1, _) = self.spot(selector, start), self.spot(selector, end)
        self.mouse("mousePressed", x0, y)
        for part in (0.5, 1.0):
            self.mouse("mouseMoved", x0 + part * (x1 - x0), y, buttons=1)
        self.mouse("mouseReleased", x1, y)

    def mouse(self, kind: str, x: float, y: float, buttons: int = 0) -> None:
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=buttons, clickCount=1)

    def spot(self, selector: str, across: float = 0.5) -> tuple[float, float]:
        """A point of an element in the window."""
        x, y = self.js(
            f"(() => {{ const e = document.querySelector({selector!r}); e.scrollIntoView({{block: 'center'}});"
            f" const r = e.getBoundingClientRect(); return [r.left + {across} * r.width, r.top + r.height / 2]; }})()"
        )
        return x, y

    def key(self, key: str, code: int = 0) -> None:
        """Press and release a key; ``code`` is its Windows virtual key code, which the browser's own handling needs."""
        text = {"text": key} if len(key) == 1 else {}
        fields = {"key": key, "code": key, "windowsVirtualKeyCode": code or ord(key[0].upper())}
        self.call("Input.dispatchKeyEvent", type="keyDown", **fields, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", **fields)

    def type(self, text: str) -> None:
        """Type into what has the focus."""
        self.call("Input.insertText", text=text)

    def screenshot(self) -> bytes:
        """The window as PNG."""
        return base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """One command of the protocol."""
        answer: dict[str, Any] = self._run(self._call(method, params))
        return answer

    async def _connect(self, port_file: Path) -> None:
        deadline = time.monotonic() + 30
        while not port_file.exists() or not port_file.read_text().strip():
            assert time.monotonic() < deadline, "the browser does not start"
            assert self._process.poll() is None, f"the browser ended with code {self._process.returncode}"
            await asyncio.sleep(0.05)
        port = port_file.read_text().split()[0]
        self._session = aiohttp.ClientSession(trust_env=False)
        async with self._session.get(f"http://127.0.0.1:{port}/json/list") as answer:
            pages = [page for page in await answer.json(content_type=None) if page["type"] == "page"]
        self._socket = await self._session.ws_connect(pages[0]["webSocketDebuggerUrl"], max_msg_size=2**28)
        for domain in ("Page", "Runtime"):
            await self._call(f"{domain}.enable", {})

    async def _call(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        self._id += 1
        await self._socket.send_json({"id": self._id, "method": method, "params": params})
        while True:
            message = await asyncio.wait_for(self._socket.receive_json(), 30)
            if message.get("method") == "Runtime.exceptionThrown":
                self.errors.append(str(message["params"]["exceptionDetails"]))
            if message.get("id") == self._id:
                assert "error" not in message, f"{method}: {message}"
                return dict(message["result"])

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self._loop.run_until_complete(work)
