"""The page in Chromium: all views, without violations of accessibility rules, by keyboard, and with hostile texts."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import page_data
import pytest
from axe_playwright_python.sync_playwright import Axe
from browsers import go, opened, served, shown
from everything import chat_graph, config
from langchain_core.messages import HumanMessage
from page_data import HOSTILE, MAYA
from patience import PATIENCE
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect
from starlette.applications import Starlette
from starlette.routing import Mount

from langchain_agentmem import AgentMemory, Fact
from langchain_agentmem.serving import Access, create_app

pytestmark = pytest.mark.browser

OF_USER = ("sessions", "profile", "memories", "entities", "threads", "variables", "records", "forget")


def view(name: str, **parameters: str) -> str:
    """Return the address of a view, after `#/`."""
    return f"{name}?{urlencode(parameters)}" if parameters else name


VIEWS = {
    "statistics": view("statistics"),
    "users": view("users"),
    "sessions": view("sessions"),
    "sessions of nobody": view("sessions", nobody="1", query="weather"),
    "sessions of a user": view("sessions", user=MAYA, query="Malta"),
    "conversation": view("conversation", session="malta-trip", user=MAYA, query="peanuts", position="2"),
    "profile": view("profile", user=MAYA),
    "earlier profile": view("profile", user=MAYA, as_of="2025-01-01T12:00"),
    "entities": view("entities", user=MAYA),
    "threads": view("threads"),
    "threads of a user": view("threads", user=MAYA),
    "thread": view("thread", thread="malta-plan", user=MAYA),
    "memories": view("memories", user=MAYA),
    "found memories": view("memories", user=MAYA, query="itinerary"),
    "variables": view("variables"),
    "variables of a user": view("variables", user=MAYA, agent="travel"),
    "records": view("records"),
    "records of a user": view("records", user=MAYA, agent="travel", status="success"),
    "forget": view("forget", user=MAYA),
    "unknown user": view("profile", user="unknown@example.com"),
    "unknown thread": view("thread", thread="unknown"),
    "error": view("conversation", session="unknown", user=MAYA),
}


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    opened_context = browser.new_context()
    yield opened_context
    opened_context.close()


def violations(page: Page) -> list[str]:
    """Return the violations of axe-core's rules, best practices among them."""
    found = Axe().run(page, options={"resultTypes": ["violations"]}).response
    return [f"{one['id']}: {[node['html'] for node in one['nodes']]}" for one in found["violations"]]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_view_violates_a_rule_of_axe(browser: Browser, page_url: str, scheme: Any) -> None:
    context = browser.new_context(color_scheme=scheme)
    page = context.new_page()
    for name, address in VIEWS.items():
        go(page, page_url, address)
        page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        assert violations(page) == [], f"{name}, {scheme}"
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_dialog_violates_a_rule_of_axe(browser: Browser, page_url: str, scheme: Any) -> None:
    context = browser.new_context(color_scheme=scheme)
    page = opened(context, page_url, VIEWS["forget"])
    page.get_by_role("button", name="Forget this user…").click()
    assert violations(page) == []
    page.keyboard.press("Escape")
    page.get_by_role("button", name="API key").click()
    assert violations(page) == []
    context.close()


def test_every_view_shows_what_it_is_about(context: BrowserContext, page_url: str) -> None:
    texts = {
        "statistics": "When entries expire",
        "users": MAYA,
        "sessions of a user": "Show it in its conversation",
        "conversation": "21 to 25 degrees, mostly dry",
        "profile": "Lives in Bergen",
        "earlier profile": "Lives in Oslo",
        "entities": "Nordlys Travel",
        "threads": "malta-plan",
        "thread": "Bytes that each checkpoint added",
        "memories": "Send the itinerary as a PDF",
        "found memories": "Score",
        "variables of a user": "short and friendly",
        "records": "support",
        "records of a user": "Itinerary",
        "unknown thread": "The thread does not exist.",
        "error": "The session does not exist.",
    }
    page = context.new_page()
    for name, text in texts.items():
        go(page, page_url, VIEWS[name])
        expect(page.locator("main")).to_contain_text(text)
        expect(page.locator("h1")).to_have_count(1)
    expect(page.locator("main").get_by_role("alert")).to_have_text("The session does not exist.")


def test_hostile_texts_are_shown_and_never_interpreted(context: BrowserContext, page_url: str) -> None:
    page = context.new_page()
    messages: list[str] = []
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.on("dialog", lambda dialog: messages.append(dialog.message))
    for text in HOSTILE:
        addresses = [view(name, user=text) for name in OF_USER]
        addresses += [
            view("conversation", session=text, user=text, query=text[:20]),
            view("thread", thread=text, user=text),
        ]
        for address in [*addresses, "users", "sessions", "threads"]:
            go(page, page_url, address)
            assert page.evaluate("window.hacked") is None, (address, text)
            assert page.locator("img, iframe, object, embed, style, base, main script, main link").count() == 0
            handlers = "[...document.querySelectorAll('*')].some((one) => [...one.attributes].some((a) => a.name.startsWith('on')))"
            assert page.evaluate(handlers) is False
            links = page.evaluate("[...document.links].map((one) => one.getAttribute('href'))")
            assert all(link.startswith(("#/", "#main")) for link in links if link != "openapi.json"), links
            if not address.startswith(("statistics", "forget")):
                assert _visible(text) in page.locator("body").inner_text(), (address, text)
    assert messages == []


def _visible(text: str) -> str:
    """Return how the page shows a text: control characters by their numbers, spaces as a browser shows them."""
    for character in "\u202e\u202c\u2066\u2069\x1b":
        text = text.replace(character, f"U+{ord(character):04X}")
    return text


def test_a_text_cannot_reorder_the_text_around_it(context: BrowserContext, page_url: str) -> None:
    text = next(one for one in HOSTILE if "\u202e" in one)
    page = opened(context, page_url, view("conversation", session=text, user=text))
    content = page.locator("main").text_content() or ""
    assert "\u202e" not in content
    assert "U+202E" in content
    isolated = "[...document.querySelectorAll('.stored')].every((one) => getComputedStyle(one).unicodeBidi.startsWith('isolate'))"
    assert page.evaluate(isolated) is True


def test_the_browser_itself_refuses_scripts_and_markup(context: BrowserContext, page_url: str) -> None:
    page = opened(context, page_url)
    refused = page.evaluate(
        """() => {
            const place = document.createElement("div");
            try { place.innerHTML = "<b>markup</b>"; } catch { return true; }
            return false;
        }"""
    )
    assert refused is True
    script = (
        "const one = document.createElement('script'); one.textContent = 'window.ran = 1'; document.body.append(one);"
    )
    page.evaluate(f"() => {{ try {{ {script} }} catch {{ }} }}")
    assert page.evaluate("window.ran") is None


def test_all_requests_go_to_the_service(context: BrowserContext, page_url: str) -> None:
    requests: list[str] = []
    context.on("request", lambda request: requests.append(request.url))
    page = context.new_page()
    for address in VIEWS.values():
        go(page, page_url, address)
    assert len(requests) > len(VIEWS)
    assert [one for one in requests if not one.startswith((f"{page_url}/", "about:"))] == []


def test_the_page_works_by_keyboard(context: BrowserContext, page_url: str) -> None:
    page = opened(context, page_url)
    page.keyboard.press("Tab")
    expect(page.locator("#skip")).to_be_focused()
    expect(page.locator("#skip")).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    page.locator("#skip").focus()
    for _ in range(3):
        page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Users", exact=True)).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Users")
    expect(page.get_by_role("heading", level=1)).to_be_focused()
    expect(page.get_by_role("link", name="Users", exact=True)).to_have_attribute("aria-current", "page")


def test_every_control_can_be_reached_by_keyboard_and_shows_its_focus(context: BrowserContext, page_url: str) -> None:
    page = context.new_page()
    names = (
        "conversation",
        "profile",
        "entities",
        "found memories",
        "variables of a user",
        "records of a user",
        "forget",
    )
    for address in map(VIEWS.__getitem__, names):
        go(page, page_url, address)
        controls = "a[href], button, input, select, summary, [tabindex='0']"
        mark = f"[...document.querySelectorAll({controls!r})].filter((one) => one.checkVisibility()).length"
        total = page.evaluate(mark)
        reached = set()
        for _ in range(total + 12):
            page.keyboard.press("Tab")
            outline = page.evaluate(
                """() => {
                    const one = document.activeElement;
                    if (one === document.body) return null;
                    const all = [...document.querySelectorAll("*")];
                    return [all.indexOf(one), getComputedStyle(one).outlineStyle, one.outerHTML];
                }"""
            )
            if outline is not None:
                reached.add(outline[0])
                assert outline[1] != "none", (address, outline[2])
        radios = 1 if address == VIEWS["forget"] else 0  # one stop for a group of radio buttons
        assert len(reached) >= total - radios, address


def test_landmarks_and_names_for_screen_readers(context: BrowserContext, page_url: str) -> None:
    page = opened(context, page_url, VIEWS["entities"])
    for role, name in (("navigation", "Main"), ("navigation", "User"), ("img", "Entity graph"), ("table", "Entities")):
        expect(page.get_by_role(role, name=name).first).to_be_visible()
    for role in ("banner", "main", "status"):
        expect(page.get_by_role(role)).to_have_count(1)
    page.get_by_label("Show relations that have ended").uncheck()
    expect(page.get_by_role("status")).to_have_text("5 relations are shown.")
    assert "worked at" not in page.locator("main").inner_text()


def test_charts_have_a_description_and_their_numbers_as_a_table(
    context: BrowserContext, page_url: str, filled: AgentMemory
) -> None:
    page = opened(context, page_url, "statistics")
    stats = filled.stats()
    picture = page.get_by_role("img", name=re.compile("^Entries"))
    assert "The longest is" in (picture.get_attribute("aria-label") or "")
    page.get_by_text("Numbers as a table").first.click()
    table = page.get_by_role("table", name="Entries")
    for name, number in stats.entries.items():
        row = table.get_by_role("row", name=f"{name.replace('_', ' ')} {number:,}", exact=True)
        expect(row).to_have_count(1)


def test_a_search_finds_a_message_and_leads_to_its_place(context: BrowserContext, page_url: str) -> None:
    page = opened(context, page_url, view("sessions", user=MAYA))
    page.get_by_label("Search these conversations").fill("allergic peanuts")
    page.keyboard.press("Enter")
    expect(page.get_by_role("list", name="Found messages")).to_be_visible()
    expect(page.get_by_role("status")).to_contain_text("messages found")
    page.get_by_role("list", name="Found messages").get_by_role("link").first.click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Conversation malta-trip")
    expect(page.locator(".message.found")).to_contain_text("allergic")


def test_a_long_conversation_is_shown_page_by_page(browser: Browser) -> None:
    with AgentMemory.from_url("sqlite:///:memory:") as memory:
        memory.history("long", user_id=MAYA).add_messages([("user", f"message {number}") for number in range(120)])
        with served(create_app(memory)) as url:
            page = opened(browser.new_context(), url, view("conversation", session="long", user=MAYA))
            expect(page.locator(".message")).to_have_count(50)
            for total in (100, 120):
                page.get_by_role("button", name="Show more messages").click()
                expect(page.locator(".message")).to_have_count(total)
            expect(page.get_by_role("button", name="Show more messages")).to_have_count(0)
            expect(page.locator(".message").last).to_contain_text("message 119")
            expect(page.locator(".message").nth(100)).to_be_focused()
            page.context.close()


def test_memories_variables_and_records_are_searched_and_filtered(context: BrowserContext, page_url: str) -> None:
    page = opened(context, page_url, view("memories", user=MAYA))
    page.get_by_label("Search these memories").fill("itinerary PDF")
    page.keyboard.press("Enter")
    shown(page)
    expect(page.get_by_role("heading", level=1)).to_be_focused()
    expect(page.get_by_role("table").get_by_role("row").nth(1)).to_contain_text("Send the itinerary as a PDF")
    page.get_by_role("link", name="Clear").click()
    expect(page.get_by_role("table")).to_contain_text("Prefers window seats")
    page.get_by_role("navigation", name="User").get_by_role("link", name="Variables").click()
    expect(page.get_by_role("table")).to_contain_text("short and friendly")
    expect(page.get_by_role("table")).not_to_contain_text("Malta")
    page.get_by_role("textbox", name="Agent").fill("travel")
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_role("table")).to_contain_text("Malta")
    page.get_by_role("navigation", name="User").get_by_role("link", name="Records").click()
    expect(page.get_by_role("table").get_by_role("row")).to_have_count(3)
    page.get_by_role("textbox", name="Agent").fill("support")
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_role("table").get_by_role("row")).to_have_count(2)
    page.get_by_role("link", name="malta-trip").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Conversation malta-trip")


def test_records_and_facts_are_shown_page_by_page(browser: Browser) -> None:
    with AgentMemory.from_url("sqlite:///:memory:") as memory:
        for number in range(101):
            memory.records.save("writer", {"number": f"record {number}"}, user_id=MAYA)
        memory.profiles.add_facts(MAYA, [Fact(text=f"Fact number {number}") for number in range(101)])
        with served(create_app(memory)) as url:
            page = opened(browser.new_context(), url, view("records", user=MAYA))
            expect(page.get_by_role("row")).to_have_count(101)
            page.get_by_role("link", name="Next page").click()
            expect(page.get_by_role("row")).to_have_count(2)
            expect(page.get_by_role("table")).to_contain_text("record 0")
            page.get_by_role("link", name="First page").click()
            expect(page.get_by_role("row")).to_have_count(101)
            go(page, url, view("profile", user=MAYA))
            expect(page.get_by_text("The table shows the newest 100 of 101 facts.")).to_be_visible()
            page.get_by_role("link", name="Next page").click()
            expect(page.get_by_role("img", name=re.compile("^Facts over time. 1 periods"))).to_be_visible()


def test_the_messages_of_a_long_thread_are_shown_page_by_page(browser: Browser) -> None:
    with AgentMemory.from_url("sqlite:///:memory:") as memory:
        messages = [HumanMessage(f"Message {number}") for number in range(60)]
        chat_graph(memory.checkpointer).invoke({"messages": messages}, config("long", MAYA))
        with served(create_app(memory)) as url:
            page = opened(browser.new_context(), url, view("thread", thread="long", user=MAYA))
            listed = page.get_by_role("list", name="Messages of the latest state").get_by_role("listitem")
            expect(listed).to_have_count(50)
            page.get_by_role("button", name="Show more messages").click()
            expect(listed).to_have_count(61)
            expect(page.get_by_role("button", name="Show more messages")).to_have_count(0)


def test_a_profile_can_be_shown_as_it_was(context: BrowserContext, page_url: str) -> None:
    page = opened(context, page_url, view("profile", user=MAYA))
    facts = page.get_by_role("table", name="Facts that are true")
    expect(facts).to_contain_text("Lives in Bergen")
    expect(facts).not_to_contain_text("Lives in Oslo")
    expect(page.get_by_role("img", name="Facts over time")).to_be_visible()
    page.get_by_label("As of (UTC)").fill("2025-01-01T12:00")
    page.get_by_role("button", name="Show", exact=True).click()
    expect(page.get_by_role("heading", name="Facts as it was at 2025-01-01 12:00 UTC")).to_be_visible()
    expect(facts).to_contain_text("Lives in Oslo")
    expect(facts).not_to_contain_text("Lives in Bergen")


def test_a_thread_shows_the_sizes_of_its_checkpoints(
    context: BrowserContext, page_url: str, filled: AgentMemory
) -> None:
    page = opened(context, page_url, VIEWS["thread"])
    sizes = filled.checkpointer.sizes("malta-plan")
    table = page.get_by_role("table", name="Checkpoints, the newest first.")
    expect(table.locator("tbody tr")).to_have_count(len(sizes))
    newest = f"{sizes[0].bytes / 1000:.1f} kB"
    expect(table.locator("tbody tr").first).to_contain_text(newest)


@pytest.fixture
def own() -> Iterator[AgentMemory]:
    """A memory that a test may change."""
    with AgentMemory.from_url("sqlite:///:memory:") as memory:
        page_data.fill_maya(memory)
        yield memory


def test_forgetting_asks_first_and_shows_the_receipt(browser: Browser, own: AgentMemory) -> None:
    with served(create_app(own)) as url:
        page = opened(browser.new_context(accept_downloads=True), url, VIEWS["forget"])
        page.get_by_role("button", name="Forget this user…").click()
        dialog = page.get_by_role("alertdialog", name="Forget the user?")
        expect(dialog).to_contain_text(MAYA)
        expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()
        page.keyboard.press("Escape")
        expect(dialog).to_be_hidden()
        expect(page.get_by_role("button", name="Forget this user…")).to_be_focused()
        assert own.users() == [MAYA]
        page.get_by_role("button", name="Forget this user…").click()
        dialog.get_by_role("button", name="Forget the user").click()
        expect(page.get_by_role("heading", name="Receipt")).to_be_focused()
        expect(page.get_by_role("row", name="messages 14", exact=True)).to_be_visible()
        expect(page.get_by_text("Nothing was kept.")).to_be_visible()
        expect(page.get_by_role("status")).to_have_text("The user was forgotten. The receipt is shown.")
        assert violations(page) == []
        assert own.users() == []
        with page.expect_download() as download:
            page.get_by_role("link", name="Download the receipt as JSON").click()
        assert f'"user_id": "{MAYA}"' in download.value.path().read_text(encoding="utf-8")
        page.context.close()


def test_a_receipt_is_shown_even_if_another_view_was_opened(browser: Browser, own: AgentMemory) -> None:
    with served(create_app(own)) as url:
        page = opened(browser.new_context(), url, VIEWS["forget"])
        held: list[Route] = []
        page.route("**/v1/forget", lambda route: held.append(route))
        page.get_by_role("button", name="Forget this user…").click()
        page.get_by_role("button", name="Forget the user", exact=True).click()
        expect(page.get_by_role("status")).to_have_text("Deleting.")
        page.get_by_role("link", name="Users", exact=True).click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Users")
        shown(page)
        held[0].continue_()
        expect(page.get_by_role("heading", name="Receipt")).to_be_focused()
        page.context.close()


def test_a_question_about_a_former_view_is_withdrawn(browser: Browser, own: AgentMemory) -> None:
    with served(create_app(own)) as url:
        page = opened(browser.new_context(), url, "users")
        page.get_by_role("link", name=MAYA, exact=True).click()
        page.get_by_role("navigation", name="User").get_by_role("link", name="Forget").click()
        page.get_by_role("button", name="Forget this user…").click()
        expect(page.get_by_role("alertdialog")).to_be_visible()
        page.go_back()
        expect(page.get_by_role("heading", level=1)).to_have_text(f"Profile of {MAYA}")
        expect(page.get_by_role("alertdialog")).to_be_hidden()
        assert own.users() == [MAYA]
        page.context.close()


def test_the_memory_of_the_demo_is_shown(browser: Browser, tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path / 'demo.db'}"
    demo = [sys.executable, "-m", "langchain_agentmem", "demo", "--turns", "6", "--url", database]
    subprocess.run(demo, check=True, capture_output=True, timeout=PATIENCE)
    with AgentMemory.from_url(database) as memory, served(create_app(memory)) as url:
        (user,) = memory.users()
        page = browser.new_context().new_page()
        for info in memory.sessions.list():
            go(page, url, view("conversation", session=info.session_id, user=user))
            assert page.locator(".message").count() == min(50, info.message_count) > 0
            assert violations(page) == []
        for info in memory.checkpointer.threads():
            go(page, url, view("thread", thread=info.thread_id, user=user))
            expect(page.get_by_role("table", name="Checkpoints, the newest first.")).to_be_visible()
        for name in OF_USER:
            go(page, url, view(name, user=user))
            assert violations(page) == [], name
        page.context.close()


@pytest.mark.parametrize(
    ("address", "button", "agree"),
    [
        (view("conversation", session="malta-trip", user=MAYA), "Delete this session…", "Delete the session"),
        (view("thread", thread="malta-plan", user=MAYA), "Delete this thread…", "Delete the thread"),
    ],
)
def test_deleting_asks_first(browser: Browser, own: AgentMemory, address: str, button: str, agree: str) -> None:
    def stored() -> tuple[bool, int]:
        return own.sessions.get("malta-trip", user_id=MAYA) is not None, len(own.checkpointer.threads())

    with served(create_app(own)) as url:
        page = opened(browser.new_context(), url, address)
        before = stored()
        page.get_by_role("button", name=button).click()
        page.get_by_role("button", name="Cancel").click()
        expect(page.get_by_role("alertdialog")).to_be_hidden()
        assert stored() == before
        page.get_by_role("button", name=button).click()
        page.get_by_role("button", name=agree, exact=True).click()
        expect(page.get_by_role("heading", name="Receipt")).to_be_focused()
        expect(page.get_by_role("status")).to_contain_text("was deleted")
        assert stored() != before
        page.context.close()


def test_a_key_is_asked_for_and_stays_in_the_tab(browser: Browser, filled: AgentMemory) -> None:
    with served(create_app(filled, api_keys={"key-of-all": Access(), "key-of-maya": Access(users=[MAYA])})) as url:
        context = browser.new_context()
        requests: list[Any] = []
        context.on("request", lambda request: requests.append(request))
        page = opened(context, url)
        dialog = page.get_by_role("dialog", name="API key")
        expect(dialog.get_by_role("alert")).to_contain_text("Send an API key")
        expect(page.get_by_label("Key", exact=True)).to_be_focused()
        page.get_by_label("Key", exact=True).fill("wrong")
        page.keyboard.press("Enter")
        expect(dialog.get_by_role("alert")).to_have_text("The API key is unknown.")
        page.get_by_label("Key", exact=True).fill("key-of-all")
        page.get_by_role("button", name="Use the key").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Statistics")
        assert page.evaluate("[sessionStorage.length, localStorage.length, document.cookie]") == [1, 0, ""]
        assert all("key-of-all" not in one.url for one in requests)
        assert requests[-1].headers["x-api-key"] == "key-of-all"
        page.reload()
        shown(page)
        expect(page.get_by_role("heading", level=1)).to_have_text("Statistics")
        other = opened(context, url)
        expect(other.get_by_role("dialog", name="API key")).to_be_visible()
        page.get_by_role("button", name="API key").click()
        page.get_by_role("button", name="Remove the key").click()
        expect(dialog.get_by_role("alert")).to_contain_text("Send an API key")
        assert page.evaluate("sessionStorage.length") == 0
        context.close()


def test_a_key_of_one_user_opens_that_user(browser: Browser, filled: AgentMemory) -> None:
    with served(create_app(filled, api_keys={"key-of-maya": Access(users=[MAYA])})) as url:
        page = opened(browser.new_context(), url)
        page.get_by_label("Key", exact=True).fill("key-of-maya")
        page.keyboard.press("Enter")
        expect(page.locator("main")).to_contain_text("This API key is bound to users.")
        page.get_by_label("User ID").fill(MAYA)
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", level=1)).to_have_text(f"Profile of {MAYA}")
        for name in ("Sessions", "Entities", "Threads"):
            page.get_by_role("navigation", name="User").get_by_role("link", name=name).click()
            expect(page.get_by_role("heading", level=1)).to_have_text(f"{name} of {MAYA}")
        page.context.close()


def test_the_theme_follows_the_system_or_the_choice(browser: Browser, page_url: str) -> None:
    context = browser.new_context(color_scheme="dark")
    page = opened(context, page_url)
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    dark = page.evaluate(ground)
    page.get_by_label("Theme").select_option("light")
    light = page.evaluate(ground)
    assert dark != light
    page.reload()
    shown(page)
    assert page.evaluate(ground) == light
    page.emulate_media(color_scheme="light")
    page.get_by_label("Theme").select_option("dark")
    assert page.evaluate(ground) == dark
    page.get_by_label("Theme").select_option("system")
    assert page.evaluate(ground) == light
    context.close()


def test_nothing_is_wider_than_a_small_screen(browser: Browser, page_url: str) -> None:
    context = browser.new_context(viewport={"width": 320, "height": 640})
    page = context.new_page()
    addresses = [*VIEWS.values(), *(view("conversation", session=text, user=text) for text in HOSTILE)]
    for address in addresses:
        go(page, page_url, address)
        assert page.evaluate("document.documentElement.scrollWidth") <= 320, address
    context.close()


def test_the_page_works_below_a_path(browser: Browser, filled: AgentMemory) -> None:
    app = Starlette(routes=[Mount("/tools/memory", app=create_app(filled))])
    with served(app) as url:
        page = opened(browser.new_context(), f"{url}/tools/memory", view("profile", user=MAYA))
        expect(page.get_by_role("heading", level=1)).to_have_text(f"Profile of {MAYA}")
        page.context.close()


def test_a_service_that_cannot_be_reached_is_an_error_with_a_way_on(browser: Browser, own: AgentMemory) -> None:
    with served(create_app(own)) as url:
        page = opened(browser.new_context(), url)
        page.route("**/v1/**", lambda route: route.abort())
        page.get_by_role("link", name="Users", exact=True).click()
        expect(page.locator("main").get_by_role("alert")).to_contain_text("The service cannot be reached.")
        assert violations(page) == []
        page.unroute("**/v1/**")
        page.get_by_role("button", name="Try again").click()
        expect(page.get_by_role("link", name=MAYA, exact=True)).to_be_visible()
        page.context.close()


def test_a_user_id_in_the_address_is_taken_as_it_is(browser: Browser) -> None:
    user = "a+b & c=d?#/é%20🙂"
    with AgentMemory.from_url("sqlite:///:memory:") as memory:
        memory.profiles.update_preference(user, "language", "Maltese")
        with served(create_app(memory)) as url:
            page = opened(browser.new_context(), url, "users")
            page.get_by_role("link", name=user, exact=True).click()
            expect(page.locator("main")).to_contain_text("Maltese")
            assert quote(user, safe="") not in page.title()
            page.context.close()
