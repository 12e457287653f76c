"""The files of the page: their headers, and that they hold nothing that could interpret a text or leave the service."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from html.parser import HTMLParser
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from langchain_agentmem import AgentMemory
from langchain_agentmem.serving import Access, create_app
from langchain_agentmem.serving.page.files import static_files

FILES = static_files()
SCRIPTS = sorted(name for name in FILES if name.endswith(".js"))


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    """A client without a key of a service with keys, which is mounted below a path too."""
    memory = AgentMemory.from_url("sqlite:///:memory:")
    app = create_app(memory, api_keys={"a-long-random-key": Access()})
    app.mount("/below", Starlette(routes=[Mount("/a/path", app=app)]))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://service") as opened:
        yield opened
    await memory.aclose()


class Parsed(HTMLParser):
    """The elements of a document with their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, str] = {}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.elements:
            tag = self.elements[-1][0]
            self.texts[tag] = self.texts.get(tag, "") + data.strip()


DOCUMENT = Parsed(FILES["index.html"].content.decode())


async def test_the_page_needs_no_key_and_the_data_does(client: httpx.AsyncClient) -> None:
    page = await client.get("/")
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert (await client.get("/v1/users")).status_code == 401


@pytest.mark.parametrize("prefix", ["", "/below/a/path"])
async def test_every_file_that_the_page_names_is_served_with_its_type(client: httpx.AsyncClient, prefix: str) -> None:
    types = {"link": {"page/icon.svg": "image/svg+xml", "page/page.css": "text/css; charset=utf-8"}}
    named = [one.get("src") or one.get("href") for tag, one in DOCUMENT.elements if tag in {"script", "link"}]
    imported = {f"page/{name}" for script in SCRIPTS for name in re.findall(r'from "\./([\w.-]+)"', _text(script))}
    assert {f"page/{name}" for name in FILES} - {"page/index.html"} == {*named, *imported}
    for name in sorted({*named, *imported} - {None}):
        found = await client.get(f"{prefix}/{name}")
        expected = types["link"].get(str(name), "text/javascript; charset=utf-8")
        assert (found.status_code, found.headers["content-type"]) == (200, expected)
        assert found.content == FILES[str(name).partition("/")[2]].content


@pytest.mark.parametrize("path", ["/", "/page/main.js"])
async def test_the_browser_accepts_nothing_but_files_and_data_of_the_service(
    client: httpx.AsyncClient, path: str
) -> None:
    headers = (await client.get(path)).headers
    policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    assert policy.pop("require-trusted-types-for") == "'script'"
    assert policy.pop("trusted-types") == "'none'"
    allowed = {"script-src", "style-src", "img-src", "connect-src"}
    assert {name: value for name, value in policy.items() if value == "'self'"}.keys() == allowed
    assert {value for name, value in policy.items() if name not in allowed} == {"'none'"}
    assert {"default-src", "frame-ancestors", "base-uri", "form-action"} <= policy.keys()
    assert (headers["x-content-type-options"], headers["referrer-policy"]) == ("nosniff", "no-referrer")
    assert "set-cookie" not in headers


async def test_a_known_file_is_not_sent_again(client: httpx.AsyncClient) -> None:
    first = await client.get("/page/main.js")
    etag = first.headers["etag"]
    assert first.headers["cache-control"] == "no-cache"
    for known in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        again = await client.get("/page/main.js", headers={"If-None-Match": known})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
        assert "content-security-policy" in again.headers
    changed = await client.get("/page/main.js", headers={"If-None-Match": '"other"'})
    assert (changed.status_code, changed.content) == (200, first.content)
    head = await client.head("/page/main.js")
    assert (head.status_code, head.content, head.headers["etag"]) == (200, b"", etag)


@pytest.mark.parametrize("path", ["/page/", "/page/index.html", "/page/..%2f__init__.py", "/page/%2e%2e/files.py"])
async def test_nothing_else_is_served(client: httpx.AsyncClient, path: str) -> None:
    found = await client.get(path)
    assert (found.status_code, found.headers["content-type"]) == (404, "application/problem+json")


def test_the_document_of_the_api_describes_the_sizes_and_not_the_page() -> None:
    with AgentMemory.from_url("sqlite:///:memory:") as memory:
        paths = create_app(memory).openapi()["paths"]
    assert "/v1/thread/sizes" in paths
    assert [one for one in paths if one == "/" or one.startswith("/page")] == []


async def test_the_document_links_the_description_of_the_api(client: httpx.AsyncClient) -> None:
    (link,) = [one["href"] for tag, one in DOCUMENT.elements if tag == "a" and not one["href"].startswith("#")]
    assert "/v1/sessions" in (await client.get(f"/{link}")).json()["paths"]


def test_the_document_holds_no_script_no_style_and_no_foreign_address() -> None:
    for tag, attributes in DOCUMENT.elements:
        assert tag != "style"
        assert "style" not in attributes
        assert not any(name.startswith("on") for name in attributes)
        for name in ("src", "href"):
            value = attributes.get(name)
            assert value is None or value.startswith(("page/", "#")) or value == "openapi.json", value
    assert DOCUMENT.texts.get("script", "") == ""
    assert [one for tag, one in DOCUMENT.elements if tag == "html"] == [{"lang": "en"}]


def test_every_control_of_the_document_has_a_name() -> None:
    labelled = {one["for"] for tag, one in DOCUMENT.elements if tag == "label"}
    controls = [one for tag, one in DOCUMENT.elements if tag in {"input", "select"}]
    assert controls
    assert {one["id"] for one in controls} <= labelled
    dialogs = [one for tag, one in DOCUMENT.elements if tag == "dialog"]
    ids: set[Any] = {one.get("id") for _, one in DOCUMENT.elements}
    assert all(one["aria-labelledby"] in ids and one["aria-describedby"] in ids for one in dialogs)


@pytest.mark.parametrize("name", SCRIPTS)
def test_no_script_turns_text_into_markup_or_code(name: str) -> None:
    text = _text(name)
    forbidden = (
        "innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "DOMParser", "createContextualFragment",
        "setHTML", "parseFromString", "srcdoc", "eval(", "new Function", "import(", "javascript:", "document.cookie",
    )  # fmt: skip
    assert [one for one in forbidden if one in text] == []
    assert not re.search(r"set(?:Timeout|Interval)\(\s*[\"'`]", text)
    assert [one for one in re.findall(r"https?://[^\s\"'`]+", text) if one != "http://www.w3.org/2000/svg"] == []


def test_only_one_function_sets_addresses_and_attributes() -> None:
    setters = {name: len(re.findall(r"\.setAttribute\(|\.href\s*=", _text(name))) for name in SCRIPTS}
    fixed = r'\.setAttribute\("(?:aria-[a-z]+|tabindex)"'
    others = {name: setters[name] - len(re.findall(fixed, _text(name))) for name in SCRIPTS}
    # dom.js checks the names of attributes; operation.js sets the address of the receipt, an object of the page itself.
    assert {name: number for name, number in others.items() if number} == {"dom.js": 3, "operation.js": 1}


def test_the_style_loads_nothing() -> None:
    text = FILES["page.css"].content.decode()
    assert not re.search(r"@import|url\(", text)


def test_the_key_is_stored_nowhere_but_in_the_session_storage() -> None:
    assert [name for name in SCRIPTS if "sessionStorage" in _text(name)] == ["api.js"]
    assert [name for name in SCRIPTS if "localStorage" in _text(name)] == ["theme.js"]


def _text(name: str) -> str:
    return FILES[name].content.decode()
