"""Conversations that are to be read later are read when the interpreter exits, or their number is logged."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time

from patience import PATIENCE
from profiles import texts

from langchain_agentmem import AgentMemory

BEGIN = """
    import asyncio, multiprocessing, os, sys, threading, time, warnings
    sys.path[:0] = {path!r}
    warnings.simplefilter("ignore")
    from langchain_core.messages import AIMessage
    from langchain_core.runnables import RunnableLambda
    from langchain_agentmem import AgentMemory
    from langchain_agentmem.knowledge.extraction.shutdown import shutdown
    from profiles import add, answer, config, human

    def read(messages):
        time.sleep(0.3)  # the turn is over before the model has answered
        return AIMessage(answer(add("Has two dogs")))

    async def aread(messages):
        await asyncio.sleep(0.3)
        return read(messages)

    MODEL = RunnableLambda(read, aread)
    URL = {url!r}

    def turn(user, model=MODEL, **options):
        memory = AgentMemory.from_url(URL)
        node = memory.profile_node(model, **{{"when": "background", **options}})
        node.invoke([human("I have two dogs", "a")], config(user, user))
        return memory
"""


def exited(url: str, script: str) -> subprocess.CompletedProcess[str]:
    """A process that did what a script says and ended by itself."""
    program = textwrap.dedent(BEGIN).format(path=sys.path, url=url) + textwrap.dedent(script)
    return subprocess.run(
        [sys.executable, "-c", program], timeout=PATIENCE, capture_output=True, text=True, check=False
    )


def learned(url: str, *users: str) -> bool:
    with AgentMemory.from_url(url) as memory:
        return all(texts(memory.profiles.get(user).facts) == ["Has two dogs"] for user in users)


def test_pending_conversations_are_read_at_exit(lasting_url: str) -> None:
    done = exited(
        lasting_url,
        """
        async def main():
            memory = AgentMemory.from_url(URL)
            for user, options in (("task", {"when": "background"}), ("quiet task", {"when": "debounce", "delay": 1000})):
                node = memory.profile_node(MODEL, **options)
                await node.ainvoke([human("I have two dogs", "a")], config(user, user))
            await asyncio.sleep(0)  # one task is in the model

        def serve():
            threading.main_thread().join()
            turn("a thread that outlives the main thread")

        memory = turn("thread")
        turn("quiet", when="debounce", delay=1000)  # nobody refers to this memory
        asyncio.run(main())
        threading.Thread(target=serve).start()
        sys.exit(3)
        """,
    )
    for user in ("thread", "quiet", "task", "quiet task"):
        assert learned(lasting_url, user), (user, done.stderr)
    assert learned(lasting_url, "a thread that outlives the main thread"), done.stderr
    assert (done.returncode, done.stderr) == (3, "")


def test_a_model_may_start_threads_at_exit(sqlite_url: str) -> None:
    done = exited(
        sqlite_url,
        """
        from concurrent.futures import ThreadPoolExecutor

        def read_apart(messages):
            time.sleep(0.3)
            with ThreadPoolExecutor() as pool:
                return pool.submit(read, messages).result()

        turn("alice", RunnableLambda(read_apart))
        """,
    )
    if (3, 12, 0) <= sys.version_info < (3, 12, 3):  # no code may start threads from the end of the script on
        assert "can't create new thread at interpreter shutdown" in done.stderr
        assert "1 conversations were not read: the next runs of their threads read them." in done.stderr
    else:
        assert learned(sqlite_url, "alice"), done.stderr
        assert (done.returncode, done.stderr) == (0, "")


def test_children_read_their_own_conversations_and_no_process_hangs(sqlite_url: str) -> None:
    done = exited(
        sqlite_url,
        """
        def work(user):
            memory = turn(user)
        turn("alice").close()  # imports all that a turn needs, which a fork amid an import would break
        memory = turn("alice")
        context = multiprocessing.get_context("fork")
        children = [context.Process(target=work, args=(f"child {number}",)) for number in range(2)]
        for child in children:
            child.start()
        for child in children:
            child.join()
        print([child.exitcode for child in children])
        """,
    )
    assert done.stdout == "[0, 0]\n", done.stderr
    assert learned(sqlite_url, "alice", "child 0", "child 1"), done.stderr


def test_a_model_that_does_not_answer_is_given_up_with_a_warning(sqlite_url: str) -> None:
    done = exited(
        sqlite_url,
        """
        shutdown.time_left = 0.2
        blocked = RunnableLambda(lambda messages: threading.Event().wait())
        memories = [turn("alice", blocked), turn("bob", blocked)]
        print(time.monotonic())
        """,
    )
    assert time.monotonic() - float(done.stdout) < 20
    assert done.returncode == 0
    assert done.stderr.count("1 conversations were not read: the next runs of their threads read them.") == 2
    assert not learned(sqlite_url, "alice")


def test_nothing_is_waited_for_after_close(sqlite_url: str) -> None:
    done = exited(
        sqlite_url,
        """
        memory = turn("alice")
        memory.close()
        blocked = RunnableLambda(lambda messages: threading.Event().wait())
        memory = turn("bob", blocked)
        memory.close(time_limit=0.01)
        began = time.monotonic()
        import atexit
        atexit._run_exitfuncs()
        print(time.monotonic() - began < 20)
        """,
    )
    assert done.stdout == "True\n", done.stderr
    assert learned(sqlite_url, "alice")
    assert done.stderr.count("not read") == 1
