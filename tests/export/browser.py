"""Headless Chromium with a page of `export.web` in it."""

import base64
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

PATIENCE = 120  # seconds that a loaded machine may take to load the models and decode
_FLAGS = (
    "--headless",
    "--no-sandbox",  # or it refuses to run as root
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # no network: the page must do without
)


def start(chromium: str, driver: str, profile: Path) -> webdriver.Chrome:
    """A browser with an empty profile; the caller quits it."""
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*_FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    return webdriver.Chrome(options=options, service=Service(driver))


class Page:
    """The page, as its user sees it."""

    def __init__(self, browser: webdriver.Chrome, index: Path) -> None:
        self.browser = browser
        self.index = index
        browser.get(index.as_uri())

    def run(self, script: str, *values: Any) -> Any:
        """What a script returns; ``arguments`` are its values."""
        return self.browser.execute_script(script, *values)

    def wait(self) -> str:
        """Wait until all is shown that was chosen; the line that says what it is."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            time.sleep(0.02)
            if self.run("return document.body.getAttribute('aria-busy')") == "false":
                return self.run("return document.getElementById('status').textContent")
        raise TimeoutError(self.run("return document.body.innerText"))

    def drop(self, *files: Path) -> str:
        """Drop files on the page, as the system does."""
        data = {"items": [], "files": [str(file) for file in files], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            event = {"type": kind, "x": 200, "y": 100, "data": data}
            self.browser.execute_cdp_cmd("Input.dispatchDragEvent", event)
        end = time.monotonic() + PATIENCE
        while files[-1].name not in (said := self.wait()) and time.monotonic() < end:
            time.sleep(0.02)
        return said

    def set(self, **values: Any) -> str:
        """Set controls by name, wait, and say what is shown."""
        self.run(
            """for (const [name, value] of Object.entries(arguments[0])) {
                 const control = document.querySelector(`#controls [name=${name}]`);
                 const group = document.getElementById('controls').elements[name];
                 if (control.type === 'checkbox') control.checked = value; else group.value = value;
                 control.dispatchEvent(new Event('input', {bubbles: true}));
               }""",
            values,
        )
        return self.wait()

    def choose(self, model: str) -> str:
        """Choose a representation by its model's name."""
        self.run("document.querySelector(`input[aria-label='${arguments[0]}']`).click()", model)
        return self.wait()

    def canvas(self, name: str) -> np.ndarray:
        """What a canvas shows, (H, W, 3) uint8 RGB."""
        url = self.run("return document.getElementById(arguments[0]).toDataURL('image/png')", name)
        data = np.frombuffer(base64.b64decode(url.partition(",")[2]), np.uint8)
        return cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
