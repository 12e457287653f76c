"""Write the pictures of docs/page.md, and of this site for CONTRIBUTING.md. It needs Chromium and the extra `dev`.

python docs/screenshots.py        # the page that shows a memory
python docs/screenshots.py site   # this site, after `python docs/website.py build`
"""

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


SITE = {
    "home": ("", 1280, "light"),
    "how-to": ("agents/", 1280, "dark"),
    "reference": ("reference/memory/", 1280, "light"),
    "phone": ("tutorial/", 390, "light"),
}
"""The pictures of the site: the page, the width of the window, and the colour scheme."""


def main() -> None:
    """Write the pictures that the command line names."""
    IMAGES.mkdir(exist_ok=True)
    if sys.argv[1:] == ["site"]:
        picture_site()
    else:
        picture_views()


def picture_site() -> None:
    """Write a picture of some pages of the site."""
    from starlette.staticfiles import StaticFiles

    folder = ROOT / "build" / "site"
    with served(StaticFiles(directory=folder, html=True)) as url, chromium(os.environ.get(CHROMIUM)) as browser:
        for name, (address, width, scheme) in SITE.items():
            page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
            page.goto(f"{url}/{address}")
            page.get_by_role("heading", level=1).first.wait_for()
            page.screenshot(path=IMAGES / f"site-{name}.png")
            page.close()


def picture_views() -> None:
    """Write a picture of each view."""
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
