"""`memory.recall`: what is stored that answers a message, as objects and as one quoted text."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from counting import Costs
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langgraph.store.base import PutOp, SearchOp
from profiles import ALICE

from langchain_agentmem import AgentMemory, InvalidInputError, InvalidTypeError, UnknownCollectionError
from langchain_agentmem.prompting.recall import engine
from langchain_agentmem.store.engine import StoreEngine
from langchain_agentmem.text.quoting import ABOUT_QUOTED


def said(message: Any, day: str = "2026-03-02") -> Any:
    return message.model_copy(update={"additional_kwargs": {"created_at": f"{day}T12:00:00+00:00"}})


async def filled(memory: AgentMemory, call: Any) -> None:
    await call(memory.profiles.add_fact, ALICE, "Sails a boat", sources=["m1"], metadata={"rating": 5}, agent="travel")
    await call(memory.memories.save, ALICE, "The boat is called Argo", metadata={"channel": "mail"}, agent="support")
    await call(
        memory.entities.upsert, ALICE, "Argo", kind="boat", aliases=["the old lady"], attributes={"length": "9 m"}
    )
    await call(memory.entities.relate, ALICE, "Argo", "is moored in", "Patras", valid_from="2024-05-01")
    await call(memory.knowledge.add, "guidelines", ["Boats pay a fee of 5 euros."], {"page": 3})
    turn = [said(HumanMessage("Where can I paint my boat?")), said(AIMessage("In the yard."))]
    await call(memory.history("monday", user_id=ALICE).add_messages, turn)


def data(text: str) -> Any:
    about, _, rest = text.rpartition("<data>")
    assert about == f"What is known, and may help. {ABOUT_QUOTED}\n"
    return json.loads(rest.removesuffix("</data>"))


async def test_every_kind_is_recalled_with_its_source(memory, call):
    await filled(memory, call)
    found = await call(memory.recall, "boat Argo", user_id=ALICE, knowledge=["guidelines"])
    by_kind = {item.kind: item for item in found}
    assert sorted(item.kind for item in found) == ["entity", "fact", "knowledge", "memory", "turn"]
    assert [item.score for item in found] == sorted((item.score for item in found), reverse=True)
    assert all(0 < item.score <= 1 for item in found)
    (fact,) = (await call(memory.profiles.get, ALICE)).facts
    (saved,) = await call(memory.memories.list, ALICE)
    (entry,) = await call(memory.knowledge.list, "guidelines")
    assert by_kind["fact"].text == "Sails a boat"
    assert by_kind["fact"].source == {"fact_id": fact.id, "message_ids": ["m1"], "agent": "travel"}
    assert (by_kind["fact"].metadata, by_kind["fact"].time) == ({"rating": 5}, fact.last_seen)
    assert by_kind["memory"].source == {"memory_id": saved.id, "agent": "support"}
    assert (by_kind["memory"].metadata, by_kind["memory"].time) == ({"channel": "mail"}, saved.updated_at)
    argo = "Argo (boat), also called the old lady: length: 9 m; Argo is moored in Patras (since 2024-05-01)"
    assert (by_kind["entity"].text, by_kind["entity"].source) == (argo, {"entity": "Argo"})
    assert by_kind["knowledge"].source == {"collection": "guidelines", "key": entry.id}
    assert (by_kind["knowledge"].text, by_kind["knowledge"].metadata) == (entry.text, {"page": 3})
    turn = by_kind["turn"]
    assert turn.text == "user: Where can I paint my boat?\nassistant: In the yard."
    assert turn.source.items() >= {"session_id": "monday", "position": 0}.items()
    assert turn.time == datetime(2026, 3, 2, 12, tzinfo=UTC)
    assert data(found.text) == {
        "facts": ["Sails a boat"],
        "memories": ["The boat is called Argo"],
        "entities": [argo],
        "knowledge: guidelines": [entry.text],
        "earlier conversations": [{"date": "2026-03-02", "text": turn.text}],
    }


async def test_a_recall_is_a_sequence_that_shows_itself(memory, call):
    await filled(memory, call)
    found = await call(memory.recall, "boat", user_id=ALICE)
    assert found
    assert len(found) == len(list(found)) == len(found.items)
    assert found[0] is found.items[0]
    assert "boat" not in repr(found)
    assert f"{len(found)} items" in repr(found)
    assert "Sails a boat" in found._repr_html_()
    nothing = await call(memory.recall, "zebra", user_id=ALICE)
    assert not nothing
    assert (len(nothing), list(nothing), nothing.text) == (0, [], "")


async def test_only_earlier_sessions_of_the_user_are_recalled(memory, call):
    for user, session in ((ALICE, "monday"), (ALICE, "tuesday"), ("bob", "monday"), (None, "monday")):
        await call(
            memory.history(session, user_id=user).add_messages, [HumanMessage(f"The boat of {user} on {session}")]
        )
    await call(memory.profiles.add_fact, "bob", "Sails a boat")
    found = await call(memory.recall, "boat", user_id=ALICE, session_id="tuesday")
    assert [item.text for item in found] == [f"user: The boat of {ALICE} on monday"]
    every = await call(memory.recall, "boat", user_id=ALICE)
    assert sorted(item.source["session_id"] for item in every) == ["monday", "tuesday"]
    assert not await call(memory.recall, "boat", user_id="carol")


async def test_a_turn_is_a_question_with_its_answer_and_appears_once(memory, call):
    history = memory.history("monday", user_id=ALICE)
    calls = [{"name": "find", "args": {"what": "boat"}, "id": "1", "type": "tool_call"}]
    await call(
        history.add_messages,
        [
            SystemMessage("You sell a boat."),
            HumanMessage("Is the boat free?", name="Ann"),
            AIMessage("The boat is free."),
            HumanMessage("Look again"),
            AIMessage("", tool_calls=calls),
            ToolMessage("boat boat boat", tool_call_id="1"),
            AIMessage("A boat it is."),
        ],
    )
    found = await call(memory.recall, "boat", user_id=ALICE)
    assert sorted(item.text for item in found) == [
        "Ann: Is the boat free?\nassistant: The boat is free.",
        "assistant: A boat it is.",
        "user: Look again",  # the words before it find it
    ]


async def test_what_has_ended_or_is_forgotten_is_not_recalled(memory, call):
    old = await call(memory.profiles.add_fact, ALICE, "Has a boat in Athens")
    await call(memory.profiles.add_fact, ALICE, "Has a boat in Patras", replaces=old)
    gone = await call(memory.profiles.add_fact, ALICE, "Painted the boat red")
    await call(memory.profiles.forget_fact, ALICE, gone)
    await call(memory.entities.upsert, ALICE, "Argo", kind="boat")
    await call(memory.entities.relate, ALICE, "Argo", "belonged to", "Jason", valid_to="2020-01-01")
    found = await call(memory.recall, "boat", user_id=ALICE)
    assert sorted(item.text for item in found) == ["Argo (boat)", "Has a boat in Patras"]


async def test_kinds_are_ranked_by_the_words_that_they_share_with_the_message(memory, call):
    await call(memory.profiles.add_fact, ALICE, "Has a boat")
    await call(memory.knowledge.add, "rules", ["A red boat has the right of way.", "Red flags."])
    await call(
        memory.history("monday", user_id=ALICE).add_messages, [HumanMessage("The red boat has the right of way")]
    )
    found = await call(memory.recall, "Which way has a red boat right of?", user_id=ALICE, knowledge=["rules"])
    assert [item.kind for item in list(found)[:2]] in (["knowledge", "turn"], ["turn", "knowledge"])
    assert {item.text for item in list(found)[2:]} == {"Has a boat", "Red flags."}


async def test_k_bounds_the_items(memory, call):
    await call(memory.profiles.add_facts, ALICE, [f"Boat number {number}" for number in range(8)])
    turns = [message for n in range(8) for message in (HumanMessage(f"boat {n}"), AIMessage(f"a boat {n}"))]
    await call(memory.history("monday", user_id=ALICE).add_messages, turns)
    await call(memory.history("tuesday", user_id=ALICE).add_messages, [AIMessage("A boat")] * 3)
    for k in (1, 3, 50, 2**62):
        found = await call(memory.recall, "boat", user_id=ALICE, k=k)
        assert len(found) == min(k, 17)  # equal turns of a session are one
        assert max((sum(map(len, data(found.text).values()))), k) == max(len(found), k)


async def test_the_least_relevant_is_cut_first_from_the_text(memory, call):
    for number in range(12):
        await call(memory.profiles.add_fact, ALICE, " ".join(["boat"] + [f"word{number}x{at}" for at in range(number)]))
    whole = await call(memory.recall, "boat", user_id=ALICE, k=20)
    order = [item.text for item in whole]
    assert data(whole.text)["facts"] == order
    previous = 0
    for max_tokens in (20, 100, 150, 200, 300, 1_000):
        found = await call(
            memory.recall, "boat", user_id=ALICE, k=20, max_tokens=max_tokens, token_counter=len_of_words
        )
        assert len_of_words(found.text) <= max_tokens
        assert [item.text for item in found] == order
        kept = data(found.text)["facts"] if found.text else []
        assert kept == order[: len(kept)]
        assert len(kept) >= previous
        previous = len(kept)
    assert previous == 12


def len_of_words(text: Any) -> int:
    """Count five characters as a token."""
    return -(-len(text if isinstance(text, str) else str(text[0].text)) // 5)


async def test_a_long_text_is_shortened_if_nothing_else_fits(memory, call):
    await call(memory.memories.save, ALICE, "boat " * 350)
    found = await call(memory.recall, "boat", user_id=ALICE, max_tokens=170)
    (shown,) = data(found.text)["memories"]
    assert len(shown) == 125
    assert shown.endswith("…")
    assert len(found[0].text) > 1_700


async def test_an_empty_message_recalls_nothing_and_any_text_may_be_asked(memory, call):
    await filled(memory, call)
    for query in ("", " \n\t", "\u200b"):
        assert not await call(memory.recall, query, user_id=ALICE)
    for query in ("boat \ud83d", "boat\x00", "boat " + "x" * 5_000 + " boat", '{{boat}} %s "*" OR 1=1 boat'):
        assert await call(memory.recall, query, user_id=ALICE)


WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"user_id": ""}, InvalidInputError, "user_id must not be empty"),
    ({"session_id": 5}, InvalidTypeError, "session_id must be a string"),
    ({"k": 0}, InvalidInputError, "k must be at least 1"),
    ({"max_tokens": 0}, InvalidInputError, "max_tokens must be at least 1"),
    ({"knowledge": "guidelines"}, InvalidTypeError, "knowledge must be a list"),
    ({"query": None}, InvalidTypeError, "query must be a string"),
]


@pytest.mark.parametrize(("given", "kind", "message"), WRONG, ids=str)
async def test_wrong_arguments_are_refused(memory, call, given, kind, message):
    with pytest.raises(kind, match=message):
        await call(memory.recall, **{"query": "boat", "user_id": ALICE, **given})


async def test_an_unknown_collection_is_refused_and_an_empty_result_is_none(memory, call):
    with pytest.raises(UnknownCollectionError, match="There is no collection 'rules'"):
        await call(memory.recall, "boat", user_id=ALICE, knowledge=["rules"])
    await call(memory.knowledge.add, "rules", ["No dogs."])
    await call(memory.knowledge.add, "other", ["Boats are welcome."])
    assert not await call(memory.recall, "boat", user_id=ALICE, knowledge=["rules"])
    found = await call(memory.recall, "boat", user_id=ALICE, knowledge=["rules", "other"])
    assert [item.source["collection"] for item in found] == ["other"]


async def test_items_of_the_application_are_not_recalled_and_displace_nothing(memory, call):
    for number in range(5):
        await call(memory.store.put, (f"user:{ALICE}", "notes"), str(number), {"text": "boat"})
        await call(memory.store.put, (f"user:{ALICE}", "facts", "own"), str(number), {"text": "boat"})
    await call(memory.profiles.add_fact, ALICE, "Sails a boat of wood on the sea")
    found = await call(memory.recall, "boat", user_id=ALICE, k=2)
    assert [item.text for item in found] == ["Sails a boat of wood on the sea"]


async def test_few_items_of_the_application_are_read_however_many_there_are(memory, call, monkeypatch):
    monkeypatch.setattr(engine, "MAX_DISPLACED", 20)
    await call(memory.profiles.add_fact, ALICE, "Sails a boat of wood on the sea")
    for part in range(4):
        puts = [
            PutOp((f"user:{ALICE}", "facts", "own"), str(number), {"text": "boat"})
            for number in range(30 * part, 30 * part + 30)
        ]
        await call(memory.store.batch, puts)
    read: list[int] = []
    search = StoreEngine.read_beside

    def counted(self: StoreEngine, ops: Any, programs: Any) -> Any:
        results = yield from search(self, ops, programs)
        read.extend(len(result) for op, result in zip(ops, results[0], strict=True) if isinstance(op, SearchOp))
        return results

    monkeypatch.setattr(StoreEngine, "read_beside", counted)
    await call(memory.recall, "boat", user_id=ALICE, k=2)
    assert max(read) == 20


class Colours(Embeddings):
    """Texts with the same colour have the same vector."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.embed_query(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        return [1.0, 0.0] if "red" in text or "crimson" in text else [0.0, 1.0]


async def test_embeddings_find_by_meaning(url, call):
    with AgentMemory.from_url(url, embeddings=Colours()) as memory:
        await call(memory.profiles.add_facts, ALICE, ["Loves crimson", "Hates noise"])
        history = memory.history("monday", user_id=ALICE)
        await call(history.add_messages, [HumanMessage("My car is crimson"), AIMessage("Nice"), HumanMessage("I swim")])
        found = await call(memory.recall, "What is red?", user_id=ALICE, k=2)
        assert {item.text for item in found} == {"Loves crimson", "user: My car is crimson\nassistant: Nice"}


async def test_two_round_trips_read_everything(memory, call, monkeypatch):
    await filled(memory, call)
    for number in range(5):
        await call(memory.history(f"session {number}", user_id=ALICE).add_messages, [HumanMessage("A boat")])
    await call(memory.recall, "boat Argo", user_id=ALICE, knowledge=["guidelines"])  # a server learns its scripts
    costs = Costs(memory, monkeypatch)
    found = await call(memory.recall, "boat Argo", user_id=ALICE, knowledge=["guidelines"], session_id="session 0")
    assert {item.kind for item in found} == {"entity", "fact", "knowledge", "memory", "turn"}
    # Candidates, then their items; on Redis the list of sessions, then their messages. At last turns and relations.
    taken = costs.reset()
    assert [kind for kind, _ in taken] == ["read", "read"]
    if memory.backend.name != "sqlite":  # which has no round trips
        assert taken == [("read", 2), ("read", 1)]


async def test_damaged_items_and_messages_are_left_out(lasting_url, call, caplog):
    with AgentMemory.from_url(lasting_url) as memory:
        await filled(memory, call)
        await call(memory.store.put, (f"user:{ALICE}", "facts"), "damaged", {"text": "A boat", "valid_to": None})
        await call(memory.store.put, (f"user:{ALICE}", "memories"), "damaged", {"text": "A boat"})
        found = await call(memory.recall, "boat Argo", user_id=ALICE, knowledge=["guidelines"])
        assert {item.kind for item in found} == {"entity", "fact", "knowledge", "memory", "turn"}
        assert caplog.text.count("is damaged and was left out") == 2


async def test_a_retriever_returns_documents(memory, call):
    await filled(memory, call)
    retriever = memory.as_retriever(user_id=ALICE, k=3, knowledge=["guidelines"])
    found = await call(retriever.invoke, "boat Argo")
    recalled = await call(memory.recall, "boat Argo", user_id=ALICE, k=3, knowledge=["guidelines"])
    assert [one.page_content for one in found] == [item.text for item in recalled]
    for document, item in zip(found, recalled, strict=True):
        assert document.metadata.items() >= {"kind": item.kind, "score": item.score, "source": item.source}.items()
        assert document.metadata.items() >= item.metadata.items()
        assert document.metadata["time"] == item.time.isoformat()
    assert len({document.id for document in found}) == 3
    assert len(await call(retriever.invoke, "boat Argo", k=1)) == 1
    own = memory.as_retriever(user_id=ALICE, session_id="monday")
    assert "turn" not in {one.metadata["kind"] for one in await call(own.invoke, "boat")}
    assert ALICE not in repr(retriever)
    chain = retriever | (lambda documents: [type(one) for one in documents])
    assert await call(chain.invoke, "boat Argo") == [Document] * 3


@pytest.mark.parametrize(("given", "kind", "message"), WRONG[:3] + WRONG[4:5], ids=str)
def test_a_retriever_refuses_wrong_arguments(sqlite_memory, given, kind, message):
    with pytest.raises(kind, match=message):
        sqlite_memory.as_retriever(**{"user_id": ALICE, **given})
