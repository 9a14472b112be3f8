"""A real browser (Chromium) in front of a real server with the shop's admin."""

import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from itertools import cycle
from pathlib import Path
from typing import Any

from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.db import connection
from django.test.testcases import LiveServerThread
from playwright.sync_api import Browser as Chromium
from playwright.sync_api import Locator, Page, sync_playwright

from tests.absence import absent

LEVEL_A_AND_AA = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22a", "wcag22aa"]
SIZES = {"desktop": {"width": 1280, "height": 800}, "phone": {"width": 390, "height": 844}}
Looks = Sequence[tuple[str, str]]
"""Sizes and themes."""


@contextmanager
def serving() -> Iterator[str]:
    """Yields the address of a server with the admin and its static files."""
    thread = LiveServerThread("localhost", StaticFilesHandler)
    thread.daemon = True
    thread.start()
    thread.is_ready.wait()
    try:
        assert thread.error is None, thread.error
        yield f"http://localhost:{thread.port}"
    finally:
        thread.terminate()


@contextmanager
def chromium() -> Iterator[Chromium]:
    program = os.environ.get("BRIDGE_TEST_CHROMIUM") or shutil.which("chromium")
    if program is None:
        absent("Chromium (BRIDGE_TEST_CHROMIUM)", "there is no program `chromium`; apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        connection.close()  # Playwright's event loop has its own, which the next test would find
        browser.close()


class Admin:
    """The pages of one person. Each page that is opened is checked."""

    def __init__(self, browser: Chromium, address: str, images: Path, looks: Iterable[Looks]) -> None:
        self._looks = cycle(looks)
        self.page: Page = browser.new_page(viewport=SIZES["desktop"], locale="en-GB", color_scheme="light")  # type: ignore[arg-type]
        self.page.set_default_timeout(10_000)
        self._address = address
        self._images = images
        self._axe = Axe()
        self.faults: list[str] = []
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        self.page.on("response", self._response)

    def _console(self, message: Any) -> None:
        if message.type in ("error", "warning") and not message.location.get("url", "").endswith("/favicon.ico"):
            self.faults.append(f"console: {message.text}")

    def _response(self, response: Any) -> None:
        if response.status >= HTTPStatus.BAD_REQUEST and not response.url.endswith("/favicon.ico"):
            self.faults.append(f"{response.status}: {response.url}")

    def log_in(self, user: str, password: str) -> None:
        self.open("/admin/login/?next=/admin/")
        self.page.fill("#id_username", user)
        self.page.fill("#id_password", password)
        self.page.press("#id_password", "Enter")
        self.page.wait_for_url("**/admin/")

    def open(self, path: str) -> None:
        self.page.goto(f"{self._address}{path}")

    def follow(self, way: Locator) -> None:
        """Clicks on a link or button, and waits for the page that it leads to. A click alone returns before."""
        with self.page.expect_navigation():
            way.click()

    def check(self, image: str | None = None) -> None:
        """Looks for violations in the next looks, and takes pictures in the light theme."""
        self.page.add_style_tag(
            content="* { transition: none !important; }"
        )  # colours in transition would count as violations
        for size, theme in next(self._looks):
            self._look(size, theme)
            self._accessible(f"{self.page.url} {size} {theme}")
            width = self.page.evaluate("document.documentElement.scrollWidth")
            if width > SIZES[size]["width"]:
                self.faults.append(f"{self.page.url} is {width} pixels wide on a {size}")
        for size in SIZES if image is not None else ():
            self._look(size, "light")
            name = image if size == "desktop" else f"{image}-{size}"
            self.page.screenshot(path=self._images / f"{name}.png", full_page=size == "desktop")
        self._look("desktop", "light")

    def _look(self, size: str, theme: str) -> None:
        self.page.set_viewport_size(SIZES[size])  # type: ignore[arg-type]
        self.page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]

    def _accessible(self, where: str) -> None:
        found = self._axe.run(self.page, options={"runOnly": {"type": "tag", "values": LEVEL_A_AND_AA}})
        for violation in found.response["violations"]:
            nodes = "; ".join(f"{node['html'][:200]} ({node['failureSummary']})" for node in violation["nodes"][:3])
            self.faults.append(f"{where}: {violation['id']}: {violation['help']}: {nodes}")
