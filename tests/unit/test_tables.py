"""HTML tables for notebooks: every text is escaped, whatever its column."""

from __future__ import annotations

from datetime import UTC, datetime
from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import HumanMessage

from langchain_agentmem import FoundMessage
from langchain_agentmem.messages.models import FoundMessages
from langchain_agentmem.text.tables import LONGEST_CELL, Struck, html_table

TAGS = {"table", "caption", "tr", "th", "td", "s", "br", "small"}


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.found.append(tag)


def tags_in(table: str) -> list[str]:
    parser = Tags()
    parser.feed(table)
    return parser.found


@given(st.text() | st.just("<script>alert(1)</script>"))
def test_no_text_adds_a_tag(text):
    table = html_table([(text, Struck(text, text))], header=(text,), caption=text, row_headers=True)
    assert set(tags_in(table)) <= TAGS
    assert tags_in(table).count("td") == 1
    assert tags_in(table).count("th") == 2


def test_cells_are_formatted_by_their_type():
    moment = datetime(2026, 5, 8, 9, 30, tzinfo=UTC)
    table = html_table([(7, 0.125, None, moment, "a & b", True, Struck("old", "then: new"))])
    assert "<td>7</td><td>0.12</td><td></td><td>2026-05-08 09:30</td>" in table
    assert "<td style='text-align:left'>a &amp; b</td><td>True</td>" in table
    assert "<s>old</s><br><small>then: new</small>" in table


def test_long_texts_are_shortened():
    assert f">{'x' * (LONGEST_CELL - 1)}…<" in html_table([("x" * 10_000,)])


def test_found_messages_are_a_table_that_escapes_ids_and_texts():
    found = FoundMessage(HumanMessage("<b>Hi</b>"), "<s>", 0, datetime(2026, 5, 8, tzinfo=UTC), score=0.5)
    table = FoundMessages([found])._repr_html_()
    assert "&lt;b&gt;Hi&lt;/b&gt;" in table
    assert "&lt;s&gt;" in table
    assert "<td>0.50</td>" in table
    assert "<th>text</th><td style='text-align:left'>&lt;b&gt;Hi&lt;/b&gt;</td>" in found._repr_html_()
