"""Write the pictures of docs/page.md: `python docs/screenshots.py`. It needs Chromium and the extra `dev`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from urllib.parse import urlencode

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "page")]

from browsers import CHROMIUM, chromium, go, served  # noqa: E402
from page_data import MAYA, fill_maya  # noqa: E402

from langchain_agentmem import AgentMemory  # noqa: E402
from langchain_agentmem.serving import create_app  # noqa: E402

IMAGES = ROOT / "docs" / "images"

VIEWS = {
    "statistics": ("statistics", {}, "light"),
    "conversation": ("conversation", {"session": "malta-trip", "user": MAYA, "query": "peanuts"}, "light"),
    "profile": ("profile", {"user": MAYA}, "dark"),
    "entities": ("entities", {"user": MAYA}, "light"),
    "thread": ("thread", {"thread": "malta-plan", "user": MAYA}, "dark"),
    "memories": ("memories", {"user": MAYA}, "light"),
    "records": ("records", {"user": MAYA}, "light"),
    "forget": ("forget", {"user": MAYA}, "light"),
}
"""The pictures: the view, its parameters, and the colour scheme. The last one deletes the data."""


def main() -> None:
    """Write a picture of each view."""
    IMAGES.mkdir(exist_ok=True)
    with AgentMemory.from_url("sqlite:///:memory:") as memory:
        fill_maya(memory)
        with served(create_app(memory)) as url, chromium(os.environ.get(CHROMIUM)) as browser:
            for name, (view, parameters, scheme) in VIEWS.items():
                page = browser.new_page(viewport={"width": 1100, "height": 820}, color_scheme=scheme)
                go(page, url, f"{view}?{urlencode(parameters)}")
                if name == "profile":
                    page.get_by_role("heading", name="Facts now").scroll_into_view_if_needed()
                    page.mouse.wheel(0, 360)
                    page.wait_for_function("() => window.scrollY > 0")
                if name == "forget":
                    page.get_by_role("button", name="Forget this user…").click()
                    page.get_by_role("button", name="Forget the user", exact=True).click()
                    page.get_by_role("heading", name="Receipt").wait_for()
                page.screenshot(path=IMAGES / f"page-{name}.png")
                page.close()


if __name__ == "__main__":
    main()
