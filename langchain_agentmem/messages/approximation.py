"""Approximate token counts without a vocabulary, seldom lower than those of tiktoken's cl100k_base and o200k_base.

The text is split as those vocabularies split it: words with the space before them, groups of up to three digits,
punctuation and white space. Each part counts as many tokens as measured for parts of its kind. Common English words are one
token. Other words count more tokens for each pair of letters that is rare in English.
"""

from __future__ import annotations

import math
import re
from functools import lru_cache

_RUNS = re.compile(
    r" ?(?P<word>[A-Za-z\u00c0-\u017f]+)|(?P<digits> ?[0-9]+)| ?(?P<row>([^\w\s])\4{4,})| ?(?P<marks>[!-/:-@\[-`{-~]+)"
    r"|(?P<column>  +)(?=[0-9])|(?P<space>\s+)"
    r"| ?(?P<greek>[\u03ac-\u03ce]+)| ?(?P<cyrillic>[\u0410-\u044f]+)| ?(?P<semitic>[\u05d0-\u05ea\u0621-\u064a]+)"
    r"|(?P<script>[\u0900-\u0963\u0e00-\u0e7f\u2013-\u2026\u3000-\u30ff\u4e00-\u9fff\uac00-\ud7af\uff00-\uff0f\uff1a-\uff1f]+)"
    r"|(?P<indic>[\u0964-\u0dff\u1ea0-\u1eff\uff10-\uffef]+)|(?P<two>[\x00-\u07ff])|(?P<three>[\u0800-\uffff\U0001f000-\U0001faff])"
    r"|(?P<four>.)",
    re.DOTALL,
)
_TOKENS_PER_CHARACTER = {
    "greek": 1.1, "cyrillic": 0.7, "semitic": 1.1, "script": 1.45, "indic": 2.2, "two": 2.0, "three": 3.0, "four": 4.0,
}  # fmt: skip
"""At least the tokens per character that cl100k_base finds in prose. Scripts that are not named count one token per byte of
UTF-8, which is the maximum."""

_PARTS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|[\u00c0-\u017f]")
_LONGEST_CACHED = 40
"""The length of the longest word whose count is cached. Longer strings seldom repeat."""

_WORDS = """
able about above according across added after again against allow almost already also although always amount another
answer area around available back based because been before being below best better between body book both bring
budget build business call called case change children choose city clear close code come command community company
conditions continue control copy could country course court current cursor data delete different display does done
door down during each early edit education else enough enter error even evening every everyone exactly example fact
family father feel feet field file files final find first following food foot force form found free friend from full
function game general girl give given goes going gone good government great group hand happen happens hard have head
health held hello help here herself high himself history home hope hour house however huge human idea important
include including information inside instead into issue itself just keep kept kind know known large last later learn
least leave left legal less lesson letter letters level license life light like likely line lines list little live
local long look lost love made main make many market matter maybe mean means meeting member message method middle
might minute mode model modify moment money month more morning most mother move moved much music must name national
need needed needs never next night none normal note nothing number object office often once ones only open opened
option options order other ought output over page part parts party past people perhaps person pick place plan play
please point policy possible power president press price problem process program project provide provides public pull
push question quick quickly quite rather reach read ready real really reason record remember remove replace request
research result results return right rights room running said same save says school search second section seem seems
seen self send sent service several short should show shown side simple simply since single size small software some
something soon sort source special stand start state states step steps still stop story string student students study
such support sure system take talk task teacher team tell terms test tests text than thank thanks that their them then
there these they thing things think third this those though three through time today together told tomorrow took total
towards tried true turn turned type types under understand university until upon used useful user users uses using
usually value version very wait walk want wants watch water ways week well went were what when where whether which
while white whole whose will window wish with within without women word words work works world would write wrong yeah
year years yesterday young your yourself
"""
_COMMON = frozenset(_WORDS.split())
"""Common words of four and more letters that are one token."""
_LETTERS = """
ab ac ai al am an ar as at be bj bl bu by ca ce ch ci cl co ct cu de di do ea ec ed ee ef el em en ep er es et ex fi
fo fr ge ha he hi ho ia ib ic id ie if ig il im in io is it iv je ke la le li ll lo lu ly ma me mo mp na nc nd ne ng
no ns nt ob oc od of om on op or os ot ou ov ow pa pe pl po pr pt ra re ri rm ro rr rs rt ry se sh si so sp ss st su
ta te th ti to tr ts tt tu ty ue ul um un ur us ut va ve wh wi wo yo
"""
_PAIRS = frozenset(_LETTERS.split())
"""The most frequent pairs of letters in English words."""


def approximate_tokens(text: str) -> int:
    """Return the approximate number of tokens of a text, seldom too low.

    Args:
        text: The text, in any language.

    Example:
        >>> from langchain_agentmem.messages.approximation import approximate_tokens
        >>> approximate_tokens("We meet on Friday, 8 May 2023."), approximate_tokens("我们星期五见面。")
        (16, 12)
    """
    total = 0.0
    for run in _RUNS.finditer(text):
        kind = run.lastgroup or ""
        found = run[kind]
        if kind == "word":
            total += _word(found) if len(found) <= _LONGEST_CACHED else _word.__wrapped__(found)
        elif kind == "digits":
            # The space before a number is a separate token.
            total += 1 + -(-(len(found) - 1) // 3) if found[0] == " " else -(-len(found) // 3)
        elif kind == "marks":
            total += 0.3 + 0.7 * len(found)
        elif kind == "row":
            total += 1 + len(found) / 4
        elif kind == "column":
            total += 2 + len(found) / 16
        elif kind == "space":
            total += _space(found)
        else:
            total += len(found) * _TOKENS_PER_CHARACTER[kind]
    return math.ceil(total)


@lru_cache(maxsize=20_000)
def _word(word: str) -> float:
    if (len(word) < 3 and word.islower() and word.isascii()) or word.lower() in _COMMON:
        return 1.0
    total = 0.0
    for part in _PARTS.findall(word):
        if part > "\x7f":
            total += 1.5 if part <= "\xff" else 2.0
        elif part.isupper():
            total += 1.0 if len(part) == 1 else 1.0 + 0.7 * (len(part) - 1)
        else:
            lower = part.lower()
            rare = sum(lower[at : at + 2] not in _PAIRS for at in range(len(lower) - 1))
            total += 0.9 + 0.05 * len(lower) + 0.8 * rare
    return max(1.0, total)


def _space(space: str) -> float:
    if space == " ":
        return 1.0
    return sum(1.0 + len(row) / 16 for row in re.findall(r"\n+|\t+| +|\r\n|.", space, re.DOTALL))
