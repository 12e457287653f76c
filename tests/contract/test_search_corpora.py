"""Searches with a corpus that is kept find the same as searches that read every message."""

from __future__ import annotations

import itertools
import threading

import exhaustive
import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test
from langchain_core.embeddings import Embeddings
from langchain_core.messages import AIMessage, HumanMessage
from patience import PATIENCE

from langchain_agentmem import AgentMemory
from langchain_agentmem.programs import run
from langchain_agentmem.search import messages
from langchain_agentmem.search.corpora import Corpora, Load
from langchain_agentmem.search.queries import Query
from langchain_agentmem.search.ranker import Ranker

WORDS = ["tea", "coffee", "cats", "dogs", "paris", "rain", "music", "when?"]
_numbers = itertools.count()
SETTINGS = settings(max_examples=12, stateful_step_count=30, deadline=None, phases=[Phase.generate])


class Letters(Embeddings):
    """Vectors that count some letters."""

    def embed_documents(self, texts):
        return [[1.0 + text.count(letter) for letter in "aeiou"] for text in texts]

    def embed_query(self, text):
        return self.embed_documents([text])[0]


def check(memory, found, user_id, text, session_id=None, agent=None):
    """Compare results with the ranking of a corpus that is built from all messages."""
    expected = ranked(memory, user_id, text, session_id, agent)
    best = sorted(expected.values(), reverse=True)
    assert [one.score for one in found] == pytest.approx(best[: len(found)], abs=2e-3)
    assert len(found) == min(5, len(expected))
    for one in found:
        assert one.score == pytest.approx(expected[one.session_id, one.position], abs=2e-3)


def ranked(memory, user_id, text, session_id, agent):
    engine = memory.sessions._engine
    corpus = exhaustive.corpus_of(memory.backend, user_id, session_id, agent)
    query = Query.of(text, memory.backend.language)
    wanted = Ranker(corpus, query).text_to_embed()
    vector = None if corpus.vectors is None else run(engine.indexer.query(wanted))
    found = exhaustive.best(corpus, query, vector, 1000)
    return {(corpus.session_ids[corpus.session[row]], int(corpus.position[row])): score for row, score in found}


class TwoProcesses(RuleBasedStateMachine):
    """Two memories, as in two processes, change the sessions of a user; each searches with what it kept."""

    memories: list[AgentMemory]

    who = st.integers(0, 1)
    session = st.integers(0, 2)
    agent = st.sampled_from([None, "writer"])
    text = st.lists(st.sampled_from(WORDS), min_size=1, max_size=4).map(" ".join)

    def __init__(self):
        super().__init__()
        self.user = f"user-{next(_numbers)}"

    def history(self, who, session, **options):
        return self.memories[who].history(f"s-{session}", user_id=self.user, **options)

    @rule(who=who, session=session, agent=agent, texts=st.lists(text, min_size=1, max_size=3))
    def add(self, who, session, agent, texts):
        self.history(who, session, agent=agent).add_messages([HumanMessage(text) for text in texts])

    @rule(who=who, session=session, data=st.data())
    def delete_message(self, who, session, data):
        known = self.history(who, session).messages
        if known:
            self.history(who, session).delete(data.draw(st.sampled_from(known)).id)

    @rule(who=who, session=session, text=text, data=st.data())
    def replace(self, who, session, text, data):
        known = self.history(who, session).messages
        if known:
            self.history(who, session).replace(data.draw(st.sampled_from(known)).id, HumanMessage(text))

    @rule(who=who, session=session)
    def clear(self, who, session):
        self.history(who, session).clear()

    @rule(who=who, session=session)
    def delete(self, who, session):
        self.memories[who].sessions.delete(f"s-{session}", user_id=self.user)

    @rule(who=who)
    def forget(self, who):
        self.memories[who].forget(self.user)

    @rule(who=who, text=text, session=st.none() | session, agent=agent)
    def search(self, who, text, session, agent):
        session_id = None if session is None else f"s-{session}"
        found = self.memories[who].search_history(text, user_id=self.user, session_id=session_id, agent=agent, k=5)
        check(self.memories[0], found, self.user, text, session_id, agent)

    @rule(who=who)
    def search_all(self, who):
        self.search(who, "tea with cats in paris", None, None)


@pytest.fixture
def memories(url):
    opened = [AgentMemory.from_url(url, embeddings=Letters()) for _ in range(2)]
    yield opened
    for memory in opened:
        memory.close()


def test_a_kept_corpus_ranks_as_one_that_is_built(memories):
    machine = type("Machine", (TwoProcesses,), {"memories": memories})
    run_state_machine_as_test(machine, settings=SETTINGS)


def test_a_replaced_message_after_other_additions(memories):
    here, there = memories
    here.history("s-1", user_id="alice").add_messages([HumanMessage("tea"), HumanMessage("tea")])
    there.search_history("tea", user_id="alice")
    here.history("s-0", user_id="alice").add_messages([HumanMessage("tea")])
    message = here.history("s-1", user_id="alice").messages[0]
    here.history("s-1", user_id="alice").replace(message.id, HumanMessage("tea"))
    found = there.search_history("tea cats music", user_id="alice", k=5)
    check(there, found, "alice", "tea cats music")


def test_what_another_process_writes_is_found_by_the_next_search(memories):
    here, there = memories
    history = there.history("s-1", user_id="alice")
    history.add_messages([HumanMessage("I drink tea")])
    assert [one.message.text for one in here.search_history("tea", user_id="alice")] == ["I drink tea"]
    history.add_messages([HumanMessage("Tea with milk"), HumanMessage("no more")])
    assert {one.message.text for one in here.search_history("tea", user_id="alice")} >= {"I drink tea", "Tea with milk"}
    there.history("s-1", user_id="alice").clear()
    assert here.search_history("tea", user_id="alice") == []


def test_a_message_without_text_after_a_search_spoils_no_search(memories):
    here, _ = memories
    history = here.history("s-1", user_id="alice")
    history.add_messages([HumanMessage("I drink tea")])
    here.search_history("tea", user_id="alice")
    history.add_messages([AIMessage("", tool_calls=[{"name": "look", "args": {}, "id": "1"}])])
    (found,) = here.search_history("tea", user_id="alice", around=1)
    assert [message.text for message in found.around] == ["I drink tea", ""]


def test_words_of_a_new_reindexing_are_found(memories):
    here, there = memories
    here.history("s-1", user_id="alice").add_messages([HumanMessage("I drink tea")])
    assert here.search_history("tea", user_id="alice")[0].similarity is not None
    there.reindex()
    assert here.search_history("tea", user_id="alice")[0].similarity is not None


def test_corpora_stay_within_their_bound(url):
    with AgentMemory.from_url(url, search_cache=0.05) as memory:
        corpora = Corpora.of(memory.backend)
        for number in range(30):
            memory.history("s", user_id=f"user-{number}").add_messages([HumanMessage(f"tea {at}") for at in range(10)])
            assert len(memory.search_history("tea", user_id=f"user-{number}")) == 10
            assert corpora.nbytes <= 0.05 * 2**20
        assert corpora.nbytes > 0
        memory.history("s", user_id="large").add_messages([HumanMessage(f"tea {at}") for at in range(3000)])
        assert len(memory.search_history("tea", user_id="large")) == 10
        assert 0 < corpora.nbytes <= 0.05 * 2**20


def test_forgetting_a_user_empties_the_memory_of_searches(memories):
    memory = memories[0]
    memory.history("s-1", user_id="alice").add_messages([HumanMessage("I drink tea")])
    memory.search_history("tea", user_id="alice")
    assert Corpora.of(memory.backend).nbytes > 0
    memory.forget("alice")
    assert Corpora.of(memory.backend).nbytes == 0


def test_searches_in_threads_see_their_own_additions(memories):
    memory, errors = memories[0], []

    def work(number):
        try:
            for turn in range(8):
                text = f"word{number}x{turn}"
                memory.history(f"s-{number}", user_id="alice").add_messages([HumanMessage(text)])
                found = memory.search_history(text, user_id="alice", k=1)
                assert [one.message.text for one in found] == [text]
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


async def test_searches_of_tasks_see_their_own_additions(memories):
    import asyncio

    memory = memories[0]

    async def work(number):
        for turn in range(5):
            text = f"word{number}x{turn}"
            await memory.history(f"s-{number}", user_id="alice").aadd_messages([HumanMessage(text)])
            found = await memory.asearch_history(text, user_id="alice", k=1)
            assert [one.message.text for one in found] == [text]

    await asyncio.gather(*(work(number) for number in range(4)))


@pytest.fixture
def cold_reads(memories, monkeypatch):
    """The first reads of all messages, as they happen."""
    log, reads = memories[0].backend.messages, []
    original = log.changes

    def changes(tenant, user_id, session_id, cursor, *, vectors):
        if cursor is None:
            reads.append(user_id)
        return original(tenant, user_id, session_id, cursor, vectors=vectors)

    monkeypatch.setattr(log, "changes", changes)
    return reads


def test_first_searches_in_several_threads_read_the_messages_once(memories, cold_reads, monkeypatch):
    memory, waiting, found = memories[0], threading.Semaphore(0), []
    memory.history("s", user_id="alice").add_messages([HumanMessage("I drink tea")])
    wait, complete = Load.wait, messages.with_words

    def waits(load):
        waiting.release()
        wait(load)

    def when_all_others_wait(*arguments):
        for _ in range(3):
            assert waiting.acquire(timeout=PATIENCE)
        monkeypatch.setattr(messages, "with_words", complete)
        return complete(*arguments)

    monkeypatch.setattr(Load, "wait", waits)
    monkeypatch.setattr(messages, "with_words", when_all_others_wait)
    threads = [
        threading.Thread(target=lambda: found.extend(memory.search_history("tea", user_id="alice"))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one.message.text for one in found] == ["I drink tea"] * 4
    assert cold_reads == ["alice"]


async def test_first_searches_in_several_tasks_read_the_messages_once(memories, cold_reads):
    import asyncio

    memory = memories[0]
    await memory.history("s", user_id="alice").aadd_messages([HumanMessage("I drink tea")])
    found = await asyncio.gather(*(memory.asearch_history("tea", user_id="alice") for _ in range(4)))
    assert [[one.message.text for one in some] for some in found] == [["I drink tea"]] * 4
    assert cold_reads == ["alice"]


@pytest.mark.parametrize("search", ["search_history", "recall"])
def test_a_first_search_that_fails_stops_no_later_one(memories, cold_reads, monkeypatch, search):
    memory = memories[0]
    memory.history("s", user_id="alice").add_messages([HumanMessage("I drink tea")])

    def fail(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(messages, "with_words", fail)
        with pytest.raises(KeyboardInterrupt) as kept:
            getattr(memory, search)("tea", user_id="alice")
    monkeypatch.setattr(Load, "wait", lambda load: pytest.fail("there is nothing to wait for"))
    assert len(memory.search_history("tea", user_id="alice")) == 1
    assert cold_reads == ["alice"] * 2
    assert kept.value is not None  # its traceback refers to the search that failed
