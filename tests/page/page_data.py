"""Data for the page: a memory that looks like one in use, and texts that try to become markup."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from everything import chat_graph, config
from everything import fill as fill_everything
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

from langchain_agentmem import AgentMemory, Fact

MAYA = "maya@example.com"

HOSTILE = (
    "<script>window.hacked = 1</script>",
    "<img src=x onerror=window.hacked=1>",
    '"><svg onload=window.hacked=1>',
    "' onmouseover='window.hacked=1",
    "</textarea></title></style><script>window.hacked=1</script>",
    "javascript:window.hacked=1",
    "{{constructor.constructor('window.hacked=1')()}}",
    "${window.hacked=1} <%= hacked %> {% hacked %}",
    "\u202eevil\u202c \u2066isolate\u2069 \x1b[31m \x00 end".replace("\x00", ""),
    "&lt;script&gt;window.hacked=1&lt;/script&gt; &amp;",
    "#/forget?user=maya@example.com&x=%00%zz",
)
"""Texts that a page must show, and not interpret."""

TALK = (
    ("user", "Hi! We are planning a week in Malta with the kids. Where should we stay?"),
    ("ai", "Sliema is handy for ferries and beaches; Gozo is quieter. How old are the children?"),
    ("user", "Six and nine. Nothing with peanuts, please: the younger one is allergic."),
    ("ai", "Noted: no peanuts. I would take Gozo for the first four nights."),
    ("user", "Great. What will the weather be like in May?"),
)

FACTS = (
    ("Lives in Oslo", 900, 420, "home"),
    ("Lives in Bergen", 420, None, "home"),
    ("Works at Fjord Tours", 800, 200, "work"),
    ("Works at Nordlys Travel", 200, None, "work"),
    ("Has two children, six and nine", 60, None, "family"),
    ("The younger child is allergic to peanuts", 60, None, "health"),
    ("Plans a week in Malta in May", 60, None, "travel"),
)


def fill(memory: AgentMemory) -> None:
    """Store the data of one user as an application does, and every kind of data."""
    fill_everything(memory)
    fill_maya(memory)


def fill_maya(memory: AgentMemory) -> None:
    """Store the conversations, the knowledge and a thread of one user."""
    history = memory.history("malta-trip", user_id=MAYA, agent="travel")
    history.add_messages([*map(_message, TALK), *_weather()])
    for number, topic in enumerate(("Invoice of March", "Change of address", "Newsletter")):
        memory.history(f"support-{number + 1}", user_id=MAYA, agent="support").add_messages(
            [HumanMessage(f"{topic}: can you help me?"), AIMessage("Of course. It is done.")]
        )
    memory.profiles.update_preference(MAYA, "language", "English")
    memory.profiles.update_preference(MAYA, "tone", "short and friendly")
    now = datetime.now(UTC)
    last: dict[str, str] = {}
    for text, start, end, topic in FACTS:
        fact = memory.profiles.add_fact(
            MAYA, text, topics=[topic], valid_from=now - timedelta(days=start), agent="travel", replaces=last.get(topic)
        )
        if end is not None:
            last[topic] = fact.id
    memory.memories.save(MAYA, "Send the itinerary as a PDF", agent="travel")
    memory.memories.save(MAYA, "Prefers window seats", agent="travel", metadata={"channel": "app"})
    memory.variables.set("tone", "short and friendly", user_id=MAYA)
    memory.variables.set("trip", {"place": "Malta", "nights": 7}, user_id=MAYA, agent="travel")
    for agent, record in (("travel", {"output": "Itinerary.pdf", "pages": 3}), ("support", {"answered": True})):
        memory.records.save(agent, record, session_id="malta-trip", user_id=MAYA)
    for name, kind in (("Maya", "person"), ("Jonas", "person"), ("Ella", "person"), ("Nordlys Travel", "organisation")):
        memory.entities.upsert(MAYA, name, kind)
    memory.entities.upsert(MAYA, "Gozo", "place", description="An island of Malta.", aliases=["Għawdex"])
    for subject, predicate, other, start, stop in (
        ("Maya", "works at", "Nordlys Travel", "2026-05-01", None),
        ("Maya", "worked at", "Fjord Tours", "2024-09-01", "2026-05-01"),
        ("Maya", "is a parent of", "Ella", None, None),
        ("Maya", "is a parent of", "Jonas", None, None),
        ("Maya", "travels to", "Gozo", "2026-05-10", None),
        ("Gozo", "belongs to", "Malta", None, None),
    ):
        memory.entities.relate(MAYA, subject, predicate, other, valid_from=start, valid_to=stop)
    for number in range(5):
        chat_graph(memory.checkpointer).invoke(
            {"messages": [HumanMessage(f"Turn {number}")]}, config("malta-plan", MAYA)
        )


def fill_hostile(memory: AgentMemory) -> None:
    """Store the hostile texts in every field that the page shows, also as IDs."""
    for text in HOSTILE:
        user = session = text
        message = HumanMessage(text, name="x", id=None)
        call: Any = {"name": "tool", "args": {text: text}, "id": "c", "type": "tool_call"}
        memory.history(session, user_id=user, agent=text).add_messages(
            [message, AIMessage("", tool_calls=[call]), ToolMessage(text, tool_call_id="c")], metadata={text: text}
        )
        memory.sessions.rename(session, text, user_id=user)
        memory.profiles.update_preference(user, text, text)
        memory.profiles.add_facts(user, [Fact(text=text, topics=[text], agent=text, metadata={"x": text})])
        memory.memories.save(user, text, metadata={"x": text})
        memory.entities.upsert(user, text, text, description=text, aliases=[f"alias {text}"], attributes={text: text})
        memory.entities.relate(user, text, text, f"other {text}")
        memory.variables.set(text, text, user_id=user)
        memory.variables.set(text, {text: text}, user_id=user, agent=text)
        memory.records.save(text, {text: text}, session_id=session, user_id=user)
        chat_graph(memory.checkpointer).invoke({"messages": [HumanMessage(text)]}, config(text, user))


def _message(pair: tuple[str, str]) -> HumanMessage | AIMessage:
    role, text = pair
    return HumanMessage(text) if role == "user" else AIMessage(text)


def _weather() -> list[Any]:
    call: Any = {"name": "weather", "args": {"place": "Gozo", "month": "May"}, "id": "call-1", "type": "tool_call"}
    return [
        AIMessage("", tool_calls=[call]),
        ToolMessage("21 to 25 degrees, mostly dry", tool_call_id="call-1"),
        AIMessage("In May expect 21 to 25 degrees and hardly any rain. ☀️"),
    ]
