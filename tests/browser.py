"""Headless Chromium: a browser that opens one page and says what the page did."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

PATIENCE = 180_000
"""Milliseconds that a page may take: a busy machine is slow, and no test is of its speed."""

NAMES = ("chromium", "chromium-browser", "google-chrome")


def chromium() -> str:
    """The path of Chromium; the test is skipped where there is none."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip("no Chromium: apt-get install chromium")
    return found


@contextmanager
def launched() -> Iterator[Any]:
    """A running browser."""
    path = chromium()
    api = pytest.importorskip("playwright.sync_api")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path)
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Opened:
    """A page, and what it did: messages of the console that are errors or warnings, and requests.

    Attributes
    ----------
    blocked : list of str
        Addresses that it asked for outside `allowed`; none of them was answered.
    """

    page: Any
    errors: list[str] = field(default_factory=list)
    blocked: list[str] = field(default_factory=list)


def open_page(browser: Any, address: str, *, allowed: str, **settings: Any) -> Opened:
    """Open an address in a context of its own.

    Parameters
    ----------
    allowed : str
        What the addresses of requests that are answered begin with.
    settings
        Of the context, such as `viewport`.
    """
    context = browser.new_context(**settings)
    context.set_default_timeout(PATIENCE)
    opened = Opened(context.new_page())
    page = opened.page

    def answer(route: Any) -> None:
        if route.request.url.startswith(allowed):
            route.continue_()
        else:
            opened.blocked.append(route.request.url)
            route.abort()

    def hear(message: Any) -> None:
        if message.type in ("error", "warning"):
            opened.errors.append(message.text)

    page.route("**/*", answer)
    page.on("console", hear)
    page.on("pageerror", lambda error: opened.errors.append(str(error)))
    page.goto(address)
    return opened
