"""Texts in other languages than English, in the store and in histories, on every backend."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from langchain_core.messages import AIMessage, HumanMessage

from langchain_agentmem import AgentMemory, ConfigurationError
from langchain_agentmem.text.words import words_of

NS = ("facts",)


numbers = itertools.count()


@pytest.fixture
def speaking(lasting_url: str) -> Iterator[Callable[[str], str]]:
    """What makes the URL of a new database, each time the same, with a language: the tables of other tests are in English."""
    base, _, schema = lasting_url.partition("?schema=")
    fresh = f"{base}?schema={schema}_{next(numbers)}" if schema else base
    if base.startswith("sqlite"):
        Path(base.removeprefix("sqlite:///")).unlink()
    yield lambda language: f"{fresh}{'&' if schema else '?'}language={language}"
    if schema:
        with psycopg.connect(base, autocommit=True) as connection:
            connection.execute(f'DROP SCHEMA IF EXISTS "{fresh.rpartition("=")[2]}" CASCADE')


SAYINGS = {
    "german": ("Ich liebe Katzen", "Katze", "Der Zug kommt"),
    "french": ("Elle mangeait des pommes", "manger une pomme", "Il dort"),
    "spanish": ("Los niños cantaban", "cantar", "Llueve mucho"),
    "russian": ("Мы читали книги", "книга", "Идёт дождь"),
}


@pytest.mark.parametrize("language", SAYINGS)
async def test_words_are_found_in_any_form_of_the_language(speaking, call, language):
    text, query, other = SAYINGS[language]
    with AgentMemory.from_url(speaking(language)) as memory:
        await call(memory.store.put, NS, "it", {"text": text})
        await call(memory.store.put, NS, "other", {"text": other})
        assert [item.key for item in await call(memory.store.search, NS, query=query)] == ["it"]
        await call(memory.history("s").add_messages, [AIMessage(other)])
        await call(memory.history("t").add_messages, [HumanMessage(text)])
        assert [one.session_id for one in await call(memory.search_history, query)] == ["t"]
        await call(memory.close)


ASKED = {
    "german": (
        "Die Katze schläft",
        "Was ist mit der Katze?",
        "Der Zug ist mit dem Wagen da, was die freut",
        "ist mit was",
    ),
    "french": (
        "L'homme mange des pommes",
        "Qu'est-ce que l'homme ?",
        "Qu'il est là, c'est que l'on a ce qui est",
        "qu'est-ce que",
    ),
    "spanish": ("Los niños cantaban", "¿Qué hacen los niños?", "Los que están con las de ella", "que con las de"),
    "russian": ("Мы читали книги", "Что же была за книга?", "Он что же был с ним", "что он"),
}


@pytest.mark.parametrize("language", ASKED)
async def test_words_that_say_nothing_find_nothing_unless_there_are_no_others(speaking, call, language):
    text, query, other, idle = ASKED[language]
    with AgentMemory.from_url(speaking(language)) as memory:
        await call(memory.store.put, NS, "it", {"text": text}, ["text"])
        await call(memory.store.put, NS, "other", {"text": other}, ["text"])
        assert [item.key for item in await call(memory.store.search, NS, query=query)] == ["it"]
        # A query that has no other words is looked for as it is.
        assert (await call(memory.store.search, NS, query=idle))[0].key == "other"
        await call(memory.history("s").add_messages, [AIMessage(other)])
        await call(memory.history("t").add_messages, [HumanMessage(text)])
        assert [one.session_id for one in await call(memory.search_history, query)] == ["t"]
        await call(memory.close)


async def test_the_language_is_settled_by_the_first_use(speaking, call):
    with AgentMemory.from_url(speaking("german")) as memory:
        await call(memory.store.put, NS, "it", {"text": "Katzen"})
        await call(memory.close)
    with AgentMemory.from_url(speaking("english")) as memory:
        with pytest.raises(ConfigurationError, match=r"in 'german', not 'english'.*language=german"):
            await call(memory.store.search, NS, query="Katze")
        await call(memory.close)


async def test_a_language_that_is_not_known_is_refused(speaking, call):
    with pytest.raises(ConfigurationError, match="klingon"):
        async with AgentMemory.from_url(speaking("klingon")) as memory:
            await call(memory.store.search, NS, query="a")


def test_what_is_no_language_leaves_words_as_they_are():
    assert words_of("The dogs ran", "simple") == ["the", "dogs", "ran"]
    assert words_of("The dogs ran", "english") == ["the", "dog", "ran"]


SCRIPTS = {
    "Hindi": ("मुझे हिन्दी में किताबें पढ़ना पसंद है", "किताबें", "हिन्दी", "पसंद"),
    "Bengali": ("আমি বাংলা গান শুনতে ভালোবাসি", "বাংলা", "গান", "ভালোবাসি"),
    "Tamil": ("எனக்கு தமிழ் மொழி பிடிக்கும்", "தமிழ்", "மொழி", "பிடிக்கும்"),
    "Telugu": ("నాకు తెలుగు సినిమాలు ఇష్టం", "తెలుగు", "సినిమాలు", "ఇష్టం"),
    "Marathi": ("मला क्रिकेट खेळायला आवडते", "क्रिकेट", "खेळायला", "आवडते"),
    "Gujarati": ("મને ગુજરાતી ખોરાક ગમે છે", "ગુજરાતી", "ખોરાક", "ગમે"),
    "Malayalam": ("എനിക്ക് മലയാളം പാട്ടുകൾ ഇഷ്ടമാണ്", "മലയാളം", "പാട്ടുകൾ", "ഇഷ്ടമാണ്"),
    "Sinhala": ("මම සිංහල පොත් කියවනවා", "සිංහල", "පොත්", "කියවනවා"),
    "Tibetan": ("བོད་སྐད་ཡིག", "སྐད", "ཡིག"),
    "Korean": ("저는 서울에서 김치찌개를 먹었어요", "서울", "김치찌개", "김치", "서울은"),
    "Arabic": ("مُحَمَّدٌ يَدْرُسُ اللُّغَةَ العَرَبِيَّة", "محمد", "يدرس", "العربية", "محـمد"),
    "Hebrew": ("שָׁלוֹם לַמּוֹרָה", "שלום", "למורה"),
    "Persian": ("من می\u200cخواهم کتاب بخوانم", "میخواهم", "می\u200cخواهم", "کتاب"),
    "German": ("Wir wohnen in der Lange Straße", "strasse", "STRASSE", "straße"),
    "Greek": ("Ζω στην Αθήνα, ΟΔΌΣ Ερμού", "αθηνα", "ΑΘΉΝΑ", "οδός"),
    "Turkish": ("İstanbul güzel", "istanbul", "guzel"),
    "Russian": ("Ещё один ЧАЙ", "еще", "чай"),
    "Vietnamese": ("Tôi sống ở Hà Nội", "ha noi", "sống"),
    "Georgian": ("მიყვარს თბილისი", "თბილისი"),
    "Armenian": ("Ես ապրում եմ ԵՐԵՎԱՆՈՒՄ", "երեվանում"),
    "Thai": ("ฉันรักสุนัขของฉัน", "สุนัข", "รัก"),
    "Khmer": ("ខ្ញុំចូលចិត្តសៀវភៅ", "សៀវភៅ"),
    "Japanese": ("私は毎日ガスと電気を使う人々です", "ガス", "ｶﾞｽ", "電気", "人々", "使"),
    "Chinese": ("我昨天在北京吃了烤鸭", "北京", "烤鸭", "鸭"),
    "emoji": ("Great party 🎉👍🏽 in 🇩🇪 ❤️!", "🎉", "👍", "👍🏿", "🇩🇪", "❤"),
    "styles": ("Ｆｕｌｌ 𝐛𝐨𝐥𝐝 cafe\u0301 ﬁsh", "full", "BOLD", "café", "fish"),
}
OTHER = "Nothing of it 中 ガラス カス तम বই 🎈🇫🇷 דבר قلم 부산"


@pytest.mark.parametrize("script", SCRIPTS)
async def test_words_of_every_script_are_found(url, call, script):
    text, *queries = SCRIPTS[script]
    with AgentMemory.from_url(url) as memory:
        await call(memory.store.put, NS, "it", {"text": text}, ["text"])
        await call(memory.store.put, NS, "other", {"text": OTHER}, ["text"])
        await call(memory.history("t").add_messages, [HumanMessage(text)])
        await call(memory.history("s").add_messages, [HumanMessage(OTHER)])
        for query in queries:
            assert [item.key for item in await call(memory.store.search, NS, query=query)] == ["it"], query
            assert [one.session_id for one in await call(memory.search_history, query)] == ["t"], query
        await call(memory.close)


def test_marks_that_change_a_word_count_and_accents_do_not():
    assert words_of("कल") != words_of("काल") != words_of("कला")
    assert words_of("ガス") != words_of("カス")
    assert words_of("naïve Ångström") == words_of("naive angstrom")
    assert words_of("x" * 5000) == ["x" * 500]
