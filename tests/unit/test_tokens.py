"""Counting tokens: what messages count, by whom, and how near approximate counts are."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from base64 import b64encode
from hashlib import sha256
from typing import Any
from uuid import UUID

import pytest
import tiktoken
from langchain_core.messages import AIMessage, BaseMessage, ChatMessage, HumanMessage, ToolMessage
from langchain_core.messages.utils import count_tokens_approximately
from langchain_core.tools import tool

from langchain_agentmem import AgentMemory, InvalidInputError, InvalidTypeError, MemoryCompressor
from langchain_agentmem.messages.approximation import approximate_tokens
from langchain_agentmem.messages.tokens import TokenCounter
from langchain_agentmem.messages.vocabularies import Vocabulary, vocabulary
from langchain_agentmem.testing import ScriptedChatModel


def turns(number: int) -> list[BaseMessage]:
    return [one for at in range(number) for one in (HumanMessage(f"question {at}"), AIMessage(f"answer {at}"))]


FIGURES = {
    "prose en": (
        "The quick brown fox jumps over the lazy dog. Yesterday we discussed the budget for the spring campaign, and Maria suggested moving the launch to the second week of May because the printers were late again.",
        39,
        39,
    ),
    "prose de": (
        "Gestern besprachen wir das Budget für die Frühjahrskampagne, und Maria schlug vor, den Start auf die zweite Maiwoche zu verschieben, weil die Druckerei sich wieder verspätet hatte.",
        53,
        44,
    ),
    "prose fr": (
        "Hier, nous avons discuté du budget de la campagne de printemps et Maria a proposé de décaler le lancement à la deuxième semaine de mai parce que l'imprimeur était encore en retard.",
        46,
        39,
    ),
    "prose fi": (
        "Eilen keskustelimme kevätkampanjan budjetista, ja Maria ehdotti lanseerauksen siirtämistä toukokuun toiselle viikolle, koska kirjapaino oli jälleen myöhässä.",
        60,
        46,
    ),
    "prose pl": (
        "Wczoraj rozmawialiśmy o budżecie wiosennej kampanii, a Maria zaproponowała przesunięcie premiery na drugi tydzień maja, ponieważ drukarnia znów się spóźniła.",
        63,
        51,
    ),
    "prose ru": (
        "Вчера мы обсуждали бюджет весенней кампании, и Мария предложила перенести запуск на вторую неделю мая, потому что типография снова опоздала.",
        65,
        35,
    ),
    "prose el": (
        "Χθες συζητήσαμε τον προϋπολογισμό για την εαρινή εκστρατεία και η Μαρία πρότεινε να μεταφερθεί η έναρξη στη δεύτερη εβδομάδα του Μαΐου.",
        123,
        50,
    ),
    "prose zh": (
        "昨天我们讨论了春季活动的预算，玛丽亚建议把发布推迟到五月的第二周，因为印刷厂又迟到了。",
        55,
        31,
    ),
    "prose ja": (
        "昨日、春のキャンペーンの予算について話し合い、マリアは印刷所がまた遅れたので、発売を五月の第二週に移すことを提案しました。",
        67,
        45,
    ),
    "prose ko": (
        "어제 우리는 봄 캠페인 예산에 대해 논의했고, 마리아는 인쇄소가 또 늦었기 때문에 출시를 5월 둘째 주로 옮기자고 제안했습니다.",
        77,
        47,
    ),
    "prose ar": (
        "ناقشنا أمس ميزانية حملة الربيع، واقترحت ماريا نقل الإطلاق إلى الأسبوع الثاني من مايو لأن المطبعة تأخرت مرة أخرى.",
        81,
        33,
    ),
    "prose hi": (
        "कल हमने वसंत अभियान के बजट पर चर्चा की, और मारिया ने लॉन्च को मई के दूसरे सप्ताह में स्थानांतरित करने का सुझाव दिया क्योंकि प्रिंटर फिर से देर से आया था।",
        144,
        43,
    ),
    "prose th": (
        "เมื่อวานเราคุยเรื่องงบประมาณสำหรับแคมเปญฤดูใบไม้ผลิ และมาเรียเสนอให้เลื่อนการเปิดตัวไปเป็นสัปดาห์ที่สองของเดือนพฤษภาคม",
        113,
        45,
    ),
    "prose eo": (
        "Hieraŭ ni priparolis la buĝeton por la printempa kampanjo, kaj Maria proponis movi la lanĉon al la dua semajno de majo.",
        45,
        39,
    ),
    "prose vi": (
        "Hôm qua chúng tôi đã thảo luận về ngân sách cho chiến dịch mùa xuân, và Maria đề nghị dời ngày ra mắt sang tuần thứ hai của tháng Năm.",
        61,
        37,
    ),
    "numbers": (
        " ".join(map(str, range(1, 200))),
        397,
        397,
    ),
    "digits": (
        "1 2 3 4 5 6 7 8 9 " * 20,
        360,
        360,
    ),
    "digit a line": (
        "\n".join("3141592653589793238462643383279502884197" * 3),
        239,
        239,
    ),
    "letters": (
        " ".join("qzxwvkjbpgyfhmucldrtnsoiae" * 5),
        130,
        130,
    ),
    "assignments": (
        "x = 1\ny = 2\n" * 50,
        500,
        500,
    ),
    "short list": (
        "- yes\n- no\n" * 50,
        300,
        300,
    ),
    "chat": (
        "ok\nyes\nno\nlol\nbrb\nk\n" * 20,
        260,
        260,
    ),
    "table": (
        "\n".join(f"| {n} | {n * 7919 % 1000:>8} | {n * 104729 % 100000 / 100:>8.2f} |" for n in range(60)),
        840,
        840,
    ),
    "columns": (
        "\n".join("  ".join(f"{n * k * 7919 % 200003 / 100 - 1000:10.3f}" for k in range(1, 7)) for n in range(40)),
        1244,
        1244,
    ),
    "csv": (
        "\n".join(",".join(str(n * k * 7919 % 101) for k in range(1, 9)) for n in range(40)),
        639,
        639,
    ),
    "tabs": (
        "\n".join("\t".join(str(n * k * 7919 % 101) for k in range(1, 9)) for n in range(40)),
        639,
        639,
    ),
    "log": (
        "\n".join(
            f"2026-11-{n % 28 + 1:02}T{n % 24:02}:{n * 7 % 60:02}:{n * 13 % 60:02}.{n * 997 % 1000:03}Z INFO [worker-{n % 8}] "
            f"10.{n % 256}.{n * 31 % 256}.{n * 17 % 256} GET /api/v1/users/{n * 7919 % 99999} 200 {n * 3}ms"
            for n in range(60)
        ),
        2637,
        2637,
    ),
    "addresses": (
        "\n".join(f"{n * 37 % 256}.{n * 101 % 256}.{n * 53 % 256}.{n * 7 % 256}" for n in range(80)),
        639,
        639,
    ),
    "dates": (
        "\n".join(f"{1900 + n}-{n % 12 + 1:02}-{n % 28 + 1:02}" for n in range(100)),
        699,
        699,
    ),
    "no vowels": (
        "Brgd krtn wszl xqv pfjk drst lmnp ghtk vrb zkl mtrx cntr sprk flnk grd hjkl bcdf qwrt " * 4,
        149,
        149,
    ),
    "hexadecimal": (
        "".join(f"{n * 2654435761 % 2**32:08x}" for n in range(1, 100)),
        456,
        455,
    ),
    "base64": (
        b64encode(b"".join(sha256(bytes([n])).digest() for n in range(40))).decode(),
        1230,
        1174,
    ),
    "ids": (
        "\n".join(str(UUID(bytes=sha256(bytes([n])).digest()[:16])) for n in range(40)),
        956,
        958,
    ),
    "json": (
        json.dumps([{"id": n, "name": f"user_{n}", "score": n / 7, "tags": ["a", "b"]} for n in range(30)]),
        1081,
        1081,
    ),
    "code": (
        "def f(x):\n    return {k: [v for v in x if v % 2 == 0] for k in range(10)}\n\nclass A(B):\n    x: int = 0\n"
        * 10,
        430,
        430,
    ),
    "marks": (
        "!?.,;:-()[]{}<>/\\|@#$%^&*~`+='\"" * 10,
        200,
        190,
    ),
    "emoji": (
        "😀🎉🚀👩\u200d👩\u200d👧\u200d👦🇩🇪🔥💯 ok 👍🏽 😀🎉🚀👩\u200d👩\u200d👧\u200d👦🇩🇪🔥💯 ok 👍🏽 😀🎉🚀👩\u200d👩\u200d👧\u200d👦🇩🇪🔥💯 ok 👍🏽 😀🎉🚀👩\u200d👩\u200d👧\u200d👦🇩🇪🔥💯 ok 👍🏽 😀🎉🚀👩\u200d👩\u200d👧\u200d👦🇩🇪🔥💯 ok 👍🏽 ",
        212,
        136,
    ),
}
"""Texts, and the tokens that tiktoken's cl100k_base and o200k_base find in them."""


@pytest.mark.parametrize("name", FIGURES)
def test_approximate_counts_are_seldom_less_than_the_real_ones(name):
    text, *real = FIGURES[name]
    assert approximate_tokens(text) >= max(real)


def test_approximate_counts_of_plain_english_are_not_much_more():
    text, *real = FIGURES["prose en"]
    assert approximate_tokens(text) <= 1.6 * min(real)
    terms = (
        "This license lets you use, copy and change the program, if you give the same rights to those who get it from you. "
        "Nobody says that it works: if something goes wrong, you pay for what has to be repaired."
    )
    assert approximate_tokens(terms) <= 1.6 * 46  # as both vocabularies count


def test_chinese_and_images_are_not_taken_for_cheap():
    counter = TokenCounter()
    assert counter.message(HumanMessage("我" * 1_000)) >= 1_000
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 40_000}}
    assert counter.message(HumanMessage([image])) >= 765
    small = {"type": "image_url", "image_url": {"url": "https://example.com/a.png", "detail": "low"}}
    assert 85 <= counter.message(HumanMessage([small])) < 120


def test_an_encoding_counts_exactly():
    encoding = tiktoken.Encoding(
        "bytes", pat_str=r"\S+|\s+", mergeable_ranks={bytes([at]): at for at in range(256)}, special_tokens={}
    )
    counter = TokenCounter.of(encoding)
    assert counter.text("hello") == 5
    assert counter.message(HumanMessage("hello")) == 5 + 4


def test_tool_calls_and_schemas_count():
    @tool
    def look(query: str) -> str:
        """Look something up."""
        return query

    counter = TokenCounter()
    plain, calling = (
        AIMessage("a"),
        AIMessage("a", tool_calls=[{"name": "look", "args": {"query": "x" * 100}, "id": "1"}]),
    )
    assert counter.message(calling) > counter.message(plain) + 20
    assert counter.tools([look]) > 20
    compressor = MemoryCompressor(max_tokens=200, tools=[look], token_counter=count_tokens_approximately)
    bare = MemoryCompressor(max_tokens=200, token_counter=count_tokens_approximately)
    assert len(compressor.invoke(turns(100))) < len(bare.invoke(turns(100)))


def test_a_message_is_counted_once():
    counted: list[int] = []

    def count(messages: list[BaseMessage]) -> int:
        counted.append(len(messages))
        return len(messages)

    counter = TokenCounter.of(count)
    messages = turns(50)
    first = counter.messages(messages)
    before = len(counted)
    assert counter.messages([message.model_copy(deep=True) for message in messages]) == first
    assert len(counted) == before


LONG = "word " * 2_000
FILE = "QUJD" * 5_000


@pytest.mark.parametrize(
    "block",
    [
        {"text": LONG},
        {"type": "input_text", "text": LONG},
        {"type": "text-plain", "text": LONG, "mime_type": "text/plain"},
        {"type": "tool_result", "tool_use_id": "1", "content": LONG},
        {"type": "tool_result", "tool_use_id": "1", "content": [{"type": "text", "text": LONG}]},
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": LONG}},
        {"type": "tool_use", "id": "1", "name": "look", "input": {"q": LONG}},
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": LONG}]},
        {"type": "thinking", "thinking": LONG, "signature": "abc"},
        {"type": "anything", "inner": {"url": LONG}},
    ],
    ids=lambda block: f"{block.get('type')}-{list(block)[-1]}",
)
def test_the_text_of_every_block_counts_and_is_counted_once(block):
    assert 2_000 <= TokenCounter().message(AIMessage([block])) <= 2_200


def test_a_call_counts_once_wherever_it_stands():
    counter = TokenCounter()
    call = {"name": "look", "args": {"q": LONG}, "id": "1"}
    block = {"type": "tool_use", "name": "look", "input": {"q": LONG}, "id": "1"}
    function = {"name": "look", "arguments": json.dumps({"q": LONG})}
    for message in (
        AIMessage("", tool_calls=[call]),
        AIMessage([block]),
        AIMessage([block], tool_calls=[call]),
        AIMessage("", additional_kwargs={"function_call": function}),
    ):
        assert 2_000 <= counter.message(message) <= 2_200


@pytest.mark.parametrize(
    ("block", "least", "most"),
    [
        ({"type": "file", "base64": FILE, "mime_type": "application/pdf"}, 600, 800),
        ({"type": "file", "file": {"file_data": f"data:application/pdf;base64,{FILE}"}}, 600, 800),
        ({"type": "input_audio", "input_audio": {"data": FILE, "format": "wav"}}, 40, 90),
        ({"type": "file", "base64": FILE, "mime_type": "text/plain"}, 5_000, 5_100),
        ({"type": "redacted_thinking", "data": FILE}, 5_000, 5_100),
        ({"image": {"format": "png", "source": {"bytes": b"123"}}}, 1_445, 1_460),
        (
            {"type": "tool_result", "content": [{"type": "image", "source": {"type": "base64", "data": FILE}}]},
            1_445,
            1_480,
        ),
        ({"type": "text", "text": f"data:image/png;base64,{FILE}"}, 5_000, 40_000),
    ],
    ids=["file", "file_data", "audio", "text", "sealed", "bytes", "nested", "pasted"],
)
def test_files_and_images_count_by_what_they_are(block, least, most):
    assert least <= TokenCounter().message(HumanMessage([block])) <= most


def test_what_an_image_counts_is_an_option():
    image = HumanMessage([{"type": "image", "base64": FILE, "mime_type": "image/png"}])
    assert TokenCounter.of(tokens_per_image=258).message(image) == TokenCounter().message(image) - 1_445 + 258
    with pytest.raises(InvalidInputError, match="tokens_per_image"):
        TokenCounter.of(tokens_per_image=-1)


def test_images_are_not_kept():
    counter = TokenCounter()
    for at in range(20):
        counter.message(HumanMessage([{"type": "image", "base64": FILE + str(at), "mime_type": "image/png"}]))
    assert len(counter._counts) == 20
    assert sum(len(repr(key)) for key in counter._counts._values) < 20 * 300


def test_a_text_and_blocks_that_read_the_same_are_told_apart():
    counter = TokenCounter()
    counter.message(HumanMessage('["a"]'))
    assert counter.message(HumanMessage(["a"])) == TokenCounter().message(HumanMessage(["a"]))


def test_a_message_that_a_counter_refuses_is_counted_approximately_and_no_other(caplog):
    def picky(messages: list[BaseMessage]) -> int:
        if any(not message.content or isinstance(message, ToolMessage) for message in messages):
            raise ValueError("no content")
        return 3 + sum(4 + len(str(message.content)) for message in messages)

    counter = TokenCounter.of(picky)
    with caplog.at_level(logging.WARNING):
        assert counter.text("") == 0
        assert counter.text("hello") == 5
        result = ToolMessage("hello there", tool_call_id="1")
        assert counter.message(result) == TokenCounter().message(result)
        assert counter.message(AIMessage("")) == TokenCounter().message(AIMessage(""))
        assert counter.message(HumanMessage("hello")) == 9
    assert caplog.text.count("token counter failed") == 1


def test_a_counter_that_always_fails_is_replaced_with_one_warning(caplog):
    def broken(messages: list[BaseMessage]) -> int:
        raise RuntimeError("no network")

    counter = TokenCounter.of(broken)
    with caplog.at_level(logging.WARNING):
        assert counter.message(HumanMessage("hello there")) == TokenCounter().message(HumanMessage("hello there"))
        assert counter.text("and again") == approximate_tokens("and again")
    assert caplog.text.count("token counter failed") == 1


def test_without_the_vocabulary_counts_are_approximate_with_one_warning(caplog, monkeypatch):
    def unreachable(name: str) -> tiktoken.Encoding:
        raise ConnectionError("no network")

    monkeypatch.setattr(tiktoken, "get_encoding", unreachable)
    count = Vocabulary("o200k_base")
    with caplog.at_level(logging.WARNING):
        threads = [threading.Thread(target=count, args=("hello there",)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert count("hello there") == approximate_tokens("hello there")
    assert caplog.text.count("Could not load the vocabulary o200k_base") == 1
    assert vocabulary("o200k_base") is vocabulary("o200k_base")


async def test_an_event_loop_does_not_wait_for_a_vocabulary(monkeypatch):
    from langchain_agentmem.messages import vocabularies

    come = threading.Event()
    encoding = tiktoken.Encoding(
        "bytes", pat_str=r"\S+|\s+", mergeable_ranks={bytes([at]): at for at in range(256)}, special_tokens={}
    )

    def slow(name: str) -> tiktoken.Encoding:
        come.wait()
        return encoding

    monkeypatch.setattr(tiktoken, "get_encoding", slow)
    monkeypatch.setattr(vocabularies, "_EVENT_LOOP_SECONDS", 0.01)
    count = Vocabulary("o200k_base")
    assert count("hello") == approximate_tokens("hello")
    come.set()
    assert await asyncio.to_thread(count, "hello") == 5
    assert count("hello") == 5


async def test_asynchronous_methods_load_the_vocabulary_off_the_event_loop(monkeypatch):
    from langchain_agentmem.messages import vocabularies

    asked, come = threading.Event(), threading.Event()
    encoding = tiktoken.Encoding(
        "bytes", pat_str=r"\S+|\s+", mergeable_ranks={bytes([at]): at for at in range(256)}, special_tokens={}
    )

    def slow(name: str) -> tiktoken.Encoding:
        asked.set()
        come.wait()
        return encoding

    monkeypatch.setattr(tiktoken, "get_encoding", slow)
    with AgentMemory.from_url("sqlite:///:memory:") as memory:
        await memory.history("s").aadd_messages([HumanMessage("word " * 30), HumanMessage("hello")])
        windows = {
            "history": lambda: memory.history("s", max_tokens=100, token_counter="o200k_base").aget_messages(),
            "compressor": lambda: memory.compressor(max_tokens=100, token_counter="o200k_base").ainvoke(
                [HumanMessage("word " * 30), HumanMessage("hello")]
            ),
        }
        for window in windows.values():
            asked.clear()
            come.clear()
            monkeypatch.setattr(vocabularies, "_vocabularies", {})
            reading = asyncio.create_task(window())
            await asyncio.to_thread(asked.wait)
            come.set()  # only a free event loop gets here before the vocabulary is loaded
            assert [message.content for message in await reading][-1:] == ["hello"]
            assert len(await reading) == 1
            await asyncio.to_thread(lambda: None)


def test_tools_are_counted_once_until_another_takes_their_place(monkeypatch):
    from langchain_agentmem.messages import tokens

    made: list[Any] = []
    schema_of = tokens._schema_of
    monkeypatch.setattr(tokens, "_schema_of", lambda one: made.append(one) or schema_of(one))

    def tool_saying(text: str) -> Any:
        @tool(description=text)
        def look(query: str) -> str:
            return query

        return look

    counter = TokenCounter()
    short, schema = tool_saying("Look."), {"type": "function", "function": {"name": "f", "description": "d"}}
    before = counter.tools([short, schema])
    assert counter.tools([short, dict(schema)]) == before
    assert len(made) == 2
    assert counter.tools([tool_saying("Look something up, and look again. " * 10), schema]) > before + 50
    short.description = "Look something up, and look again. " * 10
    schema["function"] = {"name": "f", "description": "Look something up. " * 20}
    assert counter.tools([short, schema]) > before + 100


def test_roles_are_told_apart():
    counter = TokenCounter()
    assert counter.message(ChatMessage("hi", role="user")) == counter.message(HumanMessage("hi"))


@pytest.mark.parametrize("given", [None, "12", float("nan")], ids=str)
def test_a_counter_that_gives_no_number_is_refused(given):
    counter = TokenCounter.of(lambda messages: given)
    with pytest.raises(InvalidTypeError, match="must return a number"):
        counter.message(HumanMessage("hi"))


async def counting(messages: list[BaseMessage]) -> int:
    return len(messages)


@pytest.mark.parametrize(
    ("counter", "what"), [(7, "int"), (ScriptedChatModel, "a class"), (counting, "an async function")]
)
def test_counters_that_are_none_are_refused(counter, what):
    with pytest.raises(InvalidTypeError, match=f"token_counter must be .* got {what}"):
        TokenCounter.of(counter)


def test_unknown_names_are_refused():
    with pytest.raises(InvalidInputError, match="knows no model"):
        TokenCounter.of("no-such-model")


def test_a_models_own_counter_is_used():
    class Counting(ScriptedChatModel):
        def get_num_tokens_from_messages(self, messages: Any, tools: Any = None) -> int:
            return 10 * len(messages) + 3

    counter = TokenCounter.of(Counting())
    assert counter.message(HumanMessage("x")) == 10
    assert counter.messages(turns(2)) == 43
