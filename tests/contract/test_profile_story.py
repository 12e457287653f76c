"""A conversation of a hundred turns, with moves, corrections and deletions, ends in exactly the profile that it tells of."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from profiles import ALICE, START, add, answer, assistant, config, human, shown, taking_turns, texts

from langchain_agentmem import AgentMemory
from langchain_agentmem.testing import ScriptedChatModel

TURNS = 100


@pytest.fixture
def call() -> Any:
    return taking_turns()


def update(fact: str, text: str, **more: Any) -> dict[str, Any]:
    return {"action": "update", "fact": fact, "text": text, **more}


def remove(fact: str, reason: str) -> dict[str, Any]:
    return {"action": "remove", "fact": fact, "reason": reason}


def field(name: str, value: Any) -> dict[str, Any]:
    return {"action": "update", "field": name, "value": value}


STORY: dict[int, tuple[str, list[dict[str, Any]]]] = {
    1: ("I'm Al.", [field("name", "Al")]),
    3: ("I live in Athens.", [add("Lives in Athens", topics=["home"])]),
    5: ("Please answer in Greek.", [field("preferences.language", "Greek")]),
    7: ("My dog is called Rex.", [add("Has a dog called Rex", topics=["pets"])]),
    9: ("I have hay fever.", [add("Suffers from hay fever", topics=["health"])]),
    12: ("I drive an old car.", [add("Owns a car")]),
    15: ("Living in Athens is great!", [add("The user lives in Athens.")]),
    20: ("I moved from Athens to Patras.", [update("Lives in Athens", "Lives in Patras", topics=["home"])]),
    25: (
        "Sorry, the dog is called Max, not Rex.",
        [update("Has a dog called Rex", "Has a dog called Max", topics=["pets"])],
    ),
    28: ("Call me Alice. And English is fine too.", [field("name", "Alice"), field("preferences.language", "English")]),
    33: ("My hay fever is bad today.", [add("Suffers from hay fever", fact="Suffers from hay fever")]),
    40: ("I sold the car.", [remove("Owns a car", "ended")]),
    45: ("We left Patras: home is Volos now.", [update("Lives in Patras", "Lives in Volos", topics=["home"])]),
    50: ("Forget that I ever had hay fever.", [remove("Suffers from hay fever", "forget")]),
    55: ("Keep it short.", [field("preferences.tone", "short")]),
    60: ("Max, my dog, died.", [remove("Has a dog called Max", "ended")]),
    65: ("No need to be short any more.", [{"action": "remove", "field": "preferences.tone"}]),
    72: ("I bought a car again.", [add("Owns a car")]),
    80: ("Back from Volos, I live in Athens again.", [update("Lives in Volos", "Lives in Athens", topics=["home"])]),
    90: ("I don't like coffee. I like tea.", [add("Does not like coffee"), add("Likes tea")]),
}
BOOKS = [turn for turn in range(TURNS) if turn % 2 == 0 and turn not in STORY]
STORY |= {
    turn: (f"I have read book {turn} of my list.", [add(f"Has read book {turn}", topics=["books"])]) for turn in BOOKS
}


class Reads(ScriptedChatModel):
    """A model that knows the story, and finds the facts it changes among those that it is shown."""

    def _generate(self, messages: list[BaseMessage], *args: Any, **options: Any) -> ChatResult:
        self._requests.append(list(messages))
        seen = shown(messages)
        numbers = {fact["text"]: fact["number"] for fact in seen["facts"]}
        said = dict(STORY.values())
        changes = [
            {**change, "messages": [message["number"]]}
            for message in seen["messages"]
            for change in said.get(message["text"], [])
        ]
        if len(seen["messages"]) == 2:
            assert {one["fact"] for one in changes if "fact" in one} <= numbers.keys(), (
                "the search found what it is about"
            )
        # What is told once more may be about what is known no longer.
        left = [one for one in changes if one["action"] != "remove" or one.get("fact", "") in {*numbers, ""}]
        resolved = [
            {
                name: numbers[value] if name == "fact" else value
                for name, value in one.items()
                if name != "fact" or value in numbers
            }
            for one in left
        ]
        return ChatResult(generations=[ChatGeneration(message=AIMessage(answer(*resolved)))])


def conversation() -> list[BaseMessage]:
    """A turn each day."""
    told = []
    for turn in range(TURNS):
        text = STORY[turn][0] if turn in STORY else f"What a day, number {turn}!"
        told += [human(text, f"h{turn}", turn), assistant("I see.", f"a{turn}")]
    return told


def books_until(turn: int) -> set[str]:
    return {f"Has read book {one}" for one in BOOKS if one <= turn}


HISTORY: dict[int, tuple[str, dict[str, str], set[str]]] = {
    10: ("Al", {"language": "Greek"}, {"Lives in Athens", "Has a dog called Rex"}),
    30: ("Alice", {"language": "English"}, {"Lives in Patras", "Has a dog called Max", "Owns a car"}),
    48: ("Alice", {"language": "English"}, {"Lives in Volos", "Has a dog called Max"}),
    62: ("Alice", {"language": "English", "tone": "short"}, {"Lives in Volos"}),
    75: ("Alice", {"language": "English"}, {"Lives in Volos", "Owns a car"}),
}
END = ("Alice", {"language": "English"}, {"Lives in Athens", "Owns a car", "Does not like coffee", "Likes tea"})


async def test_a_hundred_turns_end_in_exactly_the_profile_they_tell_of(memory, call):
    model = Reads()
    node = memory.profile_node(model)
    told = conversation()
    for turn in range(TURNS):
        done = await call(node.invoke, told[max(0, 2 * turn - 10) : 2 * turn + 2], config())
        assert (done.error, done.messages, done.calls) == (None, 2, 1)
    await check(memory, call)
    # The whole conversation once more, in another thread: it changes nothing.
    again = config(thread="again")
    portions = [await call(node.invoke, told, again) for _ in range(6)]
    assert [(done.error, done.messages) for done in portions] == [(None, 40)] * 5 + [(None, 0)]
    await check(memory, call)
    assert all(len(shown(request)["facts"]) <= 20 for request in model.requests)


async def check(memory: AgentMemory, call: Any) -> None:
    profile = await call(memory.profiles.get, ALICE)
    assert (profile.name, profile.preferences) == END[:2]
    assert set(texts(profile.facts)) == END[2] | books_until(TURNS)
    assert len(profile.facts) == len({fact.id for fact in profile.facts}) == len(END[2]) + len(BOOKS)
    assert profile.last_interaction == START + timedelta(days=TURNS - 1)
    for day, (name, preferences, facts) in HISTORY.items():
        then = await call(memory.profiles.get, ALICE, as_of=START + timedelta(days=day, hours=12))
        assert (then.name, then.preferences, set(texts(then.facts))) == (name, preferences, facts | books_until(day))
    homes = [
        (fact.text, fact.valid_from, fact.valid_to)
        for fact in await call(memory.profiles.by_topic, ALICE, "home", past=True)
    ]
    days = [START + timedelta(days=day) for day in (3, 20, 45, 80)]
    assert homes == [
        ("Lives in Athens", days[0], days[1]),
        ("Lives in Patras", days[1], days[2]),
        ("Lives in Volos", days[2], days[3]),
        ("Lives in Athens", days[3], None),
    ]
    assert "fever" not in str([item.value for item in await call(memory.store.search, (), limit=1000)])
