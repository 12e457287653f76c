"""The list of sessions: newest first, with titles, counts and times; rename, end, delete."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage

from langchain_agentmem import AgentMemory, InvalidInputError, InvalidTypeError, Retention


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 1_800_000_000.0

    monkeypatch.setattr("time.time", lambda: Clock.now)
    return Clock


def at(seconds: float) -> datetime:
    return datetime.fromtimestamp(1_800_000_000 + seconds, UTC)


async def test_sessions_are_listed_by_their_newest_message(memory, call, clock):
    for session_id in ("a", "b", "c", "a"):
        await call(memory.history(session_id, user_id="u").add_messages, [HumanMessage(session_id)])
        clock.now += 10
    assert [info.session_id for info in await call(memory.sessions.list, user_id="u")] == ["a", "c", "b"]


async def fill_sessions_of_several_users(memory, call, clock) -> list[tuple[str, str | None]]:
    """Add sessions of two users and of nobody in turn; return them, the newest first."""
    sessions = [(f"s{number}", ("alice", "bob", None)[number % 3]) for number in range(9)]
    for session_id, user_id in sessions:
        await call(memory.history(session_id, user_id=user_id).add_messages, [HumanMessage("a")])
        clock.now += 10
    return sessions[::-1]


async def test_the_list_without_a_user_id_covers_all_users_and_nobody(memory, call, clock):
    expected = await fill_sessions_of_several_users(memory, call, clock)
    listed = await call(memory.sessions.list)
    assert [(info.session_id, info.user_id) for info in listed] == expected
    pages = [await call(memory.sessions.list, limit=2, offset=offset) for offset in range(0, 10, 2)]
    assert [(info.session_id, info.user_id) for page in pages for info in page] == expected


async def test_the_list_of_user_none_covers_nobodys_sessions_only(memory, call, clock):
    expected = await fill_sessions_of_several_users(memory, call, clock)
    listed = await call(memory.sessions.list, user_id=None)
    assert [(info.session_id, info.user_id) for info in listed] == [one for one in expected if one[1] is None]


async def test_the_list_of_all_users_leaves_out_expired_and_deleted_sessions_and_other_tenants(memory, call, clock):
    expected = await fill_sessions_of_several_users(memory, call, clock)
    await call(memory.history("short", user_id="carol", retention=Retention(ttl=5)).add_messages, [HumanMessage("a")])
    other = AgentMemory(memory.backend, tenant="other")
    await call(other.history("s0", user_id="alice").add_messages, [HumanMessage("a")])
    await call(memory.sessions.delete, "s8", user_id=None)
    clock.now += 10
    listed = await call(memory.sessions.list, limit=100)
    assert [(info.session_id, info.user_id) for info in listed] == expected[1:]


async def test_sessions_of_the_same_moment_are_listed_once_each_in_a_fixed_order(memory, call, clock):
    for n in range(9):
        await call(memory.history(f"s{n}").add_messages, [HumanMessage("a")])
    everything = [info.session_id for info in await call(memory.sessions.list)]
    assert sorted(everything) == [f"s{n}" for n in range(9)]
    pages = [[info.session_id for info in await call(memory.sessions.list, limit=2, offset=n)] for n in range(0, 10, 2)]
    assert [one for page in pages for one in page] == everything


async def test_a_session_is_listed_with_counts_and_times(memory, call, clock):
    history = memory.history("s", user_id="u")
    await call(history.add_messages, [HumanMessage("Where shall we go?"), AIMessage("Rome")])
    clock.now += 100
    await call(history.add_messages, [HumanMessage("Why?")])
    (info,) = await call(memory.sessions.list, user_id="u")
    assert (info.session_id, info.user_id, info.title, info.message_count) == ("s", "u", "Where shall we go?", 3)
    assert (info.created_at, info.updated_at, info.expires_at) == (at(0), at(100), None)


async def test_a_session_says_when_it_expires(memory, call, clock):
    await call(memory.history("s", retention=Retention(ttl=60)).add_messages, [HumanMessage("a")])
    (info,) = await call(memory.sessions.list)
    assert info.expires_at == at(60)


async def test_limit_and_offset_page_through_the_list(memory, call, clock):
    for n in range(7):
        await call(memory.history(f"s{n}", user_id="u").add_messages, [HumanMessage("a")])
        clock.now += 1
    names = [f"s{n}" for n in reversed(range(7))]

    async def listed(**page: int) -> list[str]:
        return [info.session_id for info in await call(memory.sessions.list, user_id="u", **page)]

    assert await listed() == names
    assert await listed(limit=3) == names[:3]
    assert await listed(limit=3, offset=3) == names[3:6]
    assert await listed(limit=3, offset=6) == names[6:]
    assert await listed(offset=5) == names[5:]
    assert await listed(limit=3, offset=7) == []
    assert await listed(limit=1000) == names


@pytest.mark.parametrize(
    "page", [{"limit": 0}, {"limit": -1}, {"limit": "3"}, {"offset": -1}, {"offset": 1.5}], ids=repr
)
async def test_a_page_that_makes_no_sense_is_refused(memory, call, page):
    with pytest.raises((InvalidInputError, InvalidTypeError), match=next(iter(page))):
        await call(memory.sessions.list, **page)


async def test_only_the_users_own_sessions_are_listed(memory, call):
    for user_id in ("a", "b", None):
        for n in range(2):
            await call(memory.history(f"s{n}", user_id=user_id).add_messages, [HumanMessage(f"{user_id} {n}")])
    for user_id in ("a", "b", None):
        listed = await call(memory.sessions.list, user_id=user_id)
        assert {(info.session_id, info.user_id, info.title) for info in listed} == {
            ("s0", user_id, f"{user_id} 0"),
            ("s1", user_id, f"{user_id} 1"),
        }
    assert await call(memory.sessions.list, user_id="nobody") == []


@pytest.mark.parametrize(
    ("messages", "title"),
    [
        ([AIMessage("hello"), SystemMessage("rules")], None),
        ([SystemMessage("rules"), HumanMessage("first"), HumanMessage("second")], "first"),
        ([HumanMessage("  many\n\n lines\tand   spaces ")], "many lines and spaces"),
        ([HumanMessage("x" * 80)], "x" * 80),
        ([HumanMessage("x" * 81)], "x" * 79 + "…"),
        ([HumanMessage([{"type": "text", "text": "from a block"}])], "from a block"),
        ([HumanMessage("a\x00b")], "a b"),
        ([HumanMessage("ü€😀")], "ü€😀"),
        ([HumanMessage("<script>")], "<script>"),
    ],
    ids=repr,
)
async def test_a_title_is_the_beginning_of_the_first_human_message(memory, call, messages, title):
    await call(memory.history("s").add_messages, messages)
    (info,) = await call(memory.sessions.list)
    assert info.title == title


async def test_a_session_that_began_without_a_human_message_gets_its_title_later(memory, call):
    history = memory.history("s")
    await call(history.add_messages, [AIMessage("hello")])
    await call(history.add_messages, [HumanMessage("hi")])
    await call(history.add_messages, [HumanMessage("later")])
    (info,) = await call(memory.sessions.list)
    assert info.title == "hi"


async def test_a_session_that_began_with_an_empty_human_message_gets_its_title_later(memory, call):
    history = memory.history("s")
    picture = {"type": "image_url", "image_url": {"url": "https://a.b/c.png"}}
    await call(history.add_messages, [HumanMessage([picture]), HumanMessage("What is this?")])
    (info,) = await call(memory.sessions.list)
    assert info.title == "What is this?"


@pytest.mark.parametrize(
    "title", ["Trip to Rome", "ü€😀", "a\x00b", "", "x" * 10_000, "'; DROP TABLE x; --", "<b>"], ids=ascii
)
async def test_a_new_title_stays(memory, call, title):
    history = memory.history("s", user_id="u")
    await call(history.add_messages, [HumanMessage("first")])
    assert await call(memory.sessions.rename, "s", title, user_id="u") is True
    await call(history.add_messages, [HumanMessage("second")])
    (info,) = await call(memory.sessions.list, user_id="u")
    assert (info.title, info.message_count) == (title, 2)


async def test_renaming_does_not_make_a_session_newer(memory, call, clock):
    for session_id in ("a", "b"):
        await call(memory.history(session_id).add_messages, [HumanMessage("x")])
        clock.now += 1
    await call(memory.sessions.rename, "a", "title")
    assert [info.session_id for info in await call(memory.sessions.list)] == ["b", "a"]


async def test_only_the_users_own_session_is_renamed(memory, call):
    for user_id in ("a", "b", None):
        await call(memory.history("s", user_id=user_id).add_messages, [HumanMessage("x")])
    assert await call(memory.sessions.rename, "s", "new", user_id="a")
    titles = {user_id: (await call(memory.sessions.list, user_id=user_id))[0].title for user_id in ("a", "b", None)}
    assert titles == {"a": "new", "b": "x", None: "x"}


async def test_what_does_not_exist_cannot_be_renamed_or_deleted(memory, call):
    await call(memory.history("s", user_id="u").add_messages, [HumanMessage("x")])
    for session_id, user_id in (("s", None), ("s", "v"), ("t", "u")):
        assert await call(memory.sessions.rename, session_id, "t", user_id=user_id) is False
        assert await call(memory.sessions.delete, session_id, user_id=user_id) is False
        assert await call(memory.sessions.end, session_id, user_id=user_id) == 0
    (info,) = await call(memory.sessions.list, user_id="u")
    assert info.title == "x"


@pytest.mark.parametrize(
    ("title", "error"), [(None, InvalidTypeError), (7, InvalidTypeError), ("\ud800", InvalidInputError)]
)
async def test_what_is_no_title_is_refused(memory, call, title, error):
    await call(memory.history("s").add_messages, [HumanMessage("x")])
    with pytest.raises(error, match="title"):
        await call(memory.sessions.rename, "s", title)
    assert (await call(memory.sessions.list))[0].title == "x"


async def test_a_deleted_session_is_gone_with_its_messages(memory, call):
    for session_id, user_id in (("s", "u"), ("s", None), ("t", "u")):
        await call(memory.history(session_id, user_id=user_id).add_messages, [HumanMessage("x")] * 3)
    assert await call(memory.sessions.delete, "s", user_id="u") is True
    assert await call(memory.sessions.delete, "s", user_id="u") is False
    assert await call(memory.history("s", user_id="u").get_recent) == []
    assert await call(memory.history("s", user_id="u").count) == 0
    assert [info.session_id for info in await call(memory.sessions.list, user_id="u")] == ["t"]
    assert await call(memory.history("s").count) == 3


async def test_a_deleted_session_can_be_used_again_from_position_zero(memory, call):
    history = memory.history("s")
    await call(history.add_messages, [HumanMessage("old")] * 3)
    await call(memory.sessions.delete, "s")
    await call(history.add_messages, [HumanMessage("new")])
    (entry,) = await call(history.stored)
    assert (entry.position, entry.message.content) == (0, "new")
    assert (await call(memory.sessions.list))[0].title == "new"


async def test_a_cleared_session_stays_listed_with_no_messages(memory, call):
    await call(memory.history("s").add_messages, [HumanMessage("x")] * 3)
    await call(memory.history("s").clear)
    (info,) = await call(memory.sessions.list)
    assert (info.session_id, info.title, info.message_count) == ("s", None, 0)


async def test_the_count_includes_the_messages_of_all_agents(memory, call):
    for agent in ("writer", "critic", None):
        await call(memory.history("s", agent=agent).add_messages, [HumanMessage("x")] * 2)
    assert (await call(memory.sessions.list))[0].message_count == 6
    await call(memory.history("s", agent="writer").clear)
    assert (await call(memory.sessions.list))[0].message_count == 4


async def test_a_list_of_sessions_shows_itself_without_running_what_is_in_it(memory, call):
    await call(memory.history("<i>s</i>").add_messages, [HumanMessage("<script>alert(1)</script>")])
    shown = (await call(memory.sessions.list))._repr_html_()
    assert "<script>" not in shown
    assert "<i>" not in shown
    assert "&lt;script&gt;" in shown


async def test_a_notebook_shows_sessions_as_a_table_with_users_where_there_are_several(memory, call, clock):
    await call(memory.history("a<b", user_id="alice").add_messages, [HumanMessage("Where to?")])
    mine = (await call(memory.sessions.list, user_id="alice"))._repr_html_()
    assert "a&lt;b" in mine
    assert "alice" not in mine
    await call(memory.history("other", user_id="bob").add_messages, [HumanMessage("Hello")])
    everyone = (await call(memory.sessions.list))._repr_html_()
    assert all(text in everyone for text in ("alice", "bob", "Where to?", "<th>user</th>"))
    assert memory.sessions._repr_html_() == everyone
    assert repr(memory.sessions) == f"Sessions({memory.backend!r}, tenant='default')"
    await call(memory.close)
    assert "This memory is closed" in memory.sessions._repr_html_()
