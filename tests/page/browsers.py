"""A served memory, and Debian's Chromium driven by Playwright."""

from __future__ import annotations

import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

CHROMIUM = "AGENTMEM_CHROMIUM"
"""The variable of the environment that names Chromium, if it is not in the path."""


@contextmanager
def served(app: Any) -> Iterator[str]:
    """Serve an application on a free port; yield its URL."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    config = uvicorn.Config(app, log_level="error", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


@contextmanager
def chromium(path: str | None = None) -> Iterator[Browser]:
    """Start headless Chromium."""
    path = path or shutil.which("chromium")
    if path is None:
        msg = "Chromium is not installed. Install it: apt-get install chromium."
        raise RuntimeError(msg)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


def opened(context: BrowserContext, url: str, view: str = "") -> Page:
    """Open a view of the page, and wait until it is shown."""
    page = context.new_page()
    go(page, url, view)
    return page


def go(page: Page, url: str, view: str) -> None:
    """Show a view in an open page, and wait until it is shown."""
    page.goto("about:blank")
    page.goto(f"{url}/#/{view}")
    shown(page)


def shown(page: Page) -> None:
    """Wait until the page shows its view."""
    page.locator("main[aria-busy='false']").wait_for()
