"""A real browser without a window, for tests of pages; skipped where there is none."""

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
REQUIRED = os.environ.get("LAKHXL_BROWSER") == "required"
needs_browser = pytest.mark.skipif(
    not (CHROMIUM and DRIVER) and not REQUIRED,
    reason="needs chromium and chromedriver (apt install chromium chromium-driver)",
)
WIDE, NARROW = 1200, 360
TOKEN = "a-token-of-the-tests"
COOKIE = f"lakhxl-{hashlib.sha256(TOKEN.encode()).hexdigest()[:12]}"
"""Name of the cookie that holds it."""


@contextmanager
def chromium() -> Iterator[Any]:
    """A headless Chromium, driven by selenium."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for word in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--hide-scrollbars",
        "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",  # no network but our own
    ):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    try:
        driver.set_page_load_timeout(60)
        sign_in(driver)
        yield driver
    finally:
        driver.quit()


def sign_in(driver: Any) -> None:
    """Give the browser the cookie that opens the pages of the tests."""
    cookie = {"name": COOKIE, "value": TOKEN, "url": "http://127.0.0.1/"}
    driver.execute_cdp_cmd("Network.setCookie", cookie)


def set_screen(driver: Any, width: int, *, dark: bool = False, height: int = 900) -> None:
    """Set the width of the page, and light or dark mode."""
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def console(driver: Any) -> list[str]:
    """Warnings and errors of the page since the last call.

    Without the table's note that it dropped the answer to an older question: who types slowly, as
    a busy machine does, asks several.
    """
    entries = [entry for entry in driver.get_log("browser") if entry["level"] != "INFO"]
    messages = [entry["message"] for entry in entries]
    return [message for message in messages if "Data Load Response Blocked" not in message]


def barriers(driver: Any) -> list[str]:
    """What axe finds that keeps people from using the page: serious and critical violations."""
    from axe_core_python.selenium import Axe

    return [
        f"{one['id']}: {one['help']}: {node['html'][:160]}"
        for one in Axe().run(driver)["violations"]
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]


OVERLAPS = """
const found = [];
for (const svg of document.querySelectorAll("svg")) {
  const labels = [...svg.querySelectorAll("text")];
  const boxes = labels.map((label) => [label, label.getBoundingClientRect()]);
  boxes.forEach(([one, a], n) => {
    for (const [other, b] of boxes.slice(n + 1))
      if (a.left < b.right - 1 && b.left < a.right - 1
          && a.top < b.bottom - 2 && b.top < a.bottom - 2)
        found.push(`${svg.getAttribute("aria-label")}: ${one.textContent} / ${other.textContent}`);
  });
}
return found;
"""
"""Labels of one chart that overlap."""

OUTSIDE = """
const scrolls = (element) => element && (getComputedStyle(element).overflowX !== "visible"
  || scrolls(element.parentElement));
return [...document.body.querySelectorAll("*")].filter((element) => {
  const box = element.getBoundingClientRect();
  return box.width && (box.right > innerWidth + 1 || box.left < -1) && !scrolls(element);
}).map((element) => `${element.tagName}.${element.className.baseVal ?? element.className}: `
  + element.textContent.slice(0, 60));
"""
"""Elements that stick out of the page at either side."""
