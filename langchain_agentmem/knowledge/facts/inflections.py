"""English inflections that do not change what a fact states: the plural of nouns and the third person of verbs.

Nothing else is folded. Stems would make different words equal, such as "anime" and "animals", or "polite" and "political".
"""

from __future__ import annotations

_IRREGULAR_VERBS = {"has": "have", "does": "do", "goes": "go"}

_VERBS = frozenset(
    """damages forces grounds honors honours jacks lines links looks marks means oils pains powers quarters reins remains
    returns scales shades sights stars steps sticks stocks thanks troops values wages waters works""".split()  # noqa: SIM905
)

_NOUNS = frozenset(
    """aerobics always arms arts athens athletics bias billiards blues bowls braces cards charles christmas classics clothes
    colors colours comics congratulations crossroads customs darts dominoes draughts dynamics earnings economics effects
    electronics ethics facilities genetics glasses goods graphics greens gymnastics headquarters james jeans jones keys
    lens letters linguistics logistics lyrics manners mars mathematics maths measles mechanics memoirs minutes mumps news odds
    optics outskirts pants paris peoples physics pictures pilates politics premises relations riches robotics roots sales
    savings scissors scrubs series shingles shorts singles spades species spectacles spirits spurs statistics surroundings
    tactics texas this times tongs tropics trousers wales whereabouts wits woods""".split()  # noqa: SIM905
)
"""Words in -s that are no plural, or whose singular means something else."""

_FOREIGN = frozenset(
    """aime alle att aux avec beim com con dans das dei degli dello della den der des dos du een ein eine einem einen einer
    el elle et für fra gli gosta gusta gustan het hij ich il ingen ist la las le les los mit nel och oder por pour que sie
    su sur un une una und uno van vom voor zu zum zur""".split()  # noqa: SIM905
)
"""Frequent short words of other languages, in which a word often ends in -s without being inflected."""

_SHORTEST = 4
"""Length of the shortest word that is folded."""


def singular(word: str) -> str:
    """Return an English noun without the ending of the plural.

    Example:
        >>> from langchain_agentmem.knowledge.facts.inflections import singular
        >>> [singular(word) for word in ("dogs", "boxes", "cities", "customs", "news", "bus")]
        ['dog', 'box', 'city', 'customs', 'news', 'bus']
    """
    return word if word in _NOUNS or word in _VERBS else _without_ending(word)


def first_person(word: str) -> str:
    """Return an English verb without the ending of the third person.

    Example:
        >>> from langchain_agentmem.knowledge.facts.inflections import first_person
        >>> [first_person(word) for word in ("likes", "watches", "studies", "has", "works", "lived")]
        ['like', 'watch', 'study', 'have', 'work', 'lived']
    """
    if word in _IRREGULAR_VERBS:
        return _IRREGULAR_VERBS[word]
    return word if word in _NOUNS else _without_ending(word)


def may_be_english(words: list[str]) -> bool:
    """Return false if words in lower case are evidently of another language.

    Example:
        >>> from langchain_agentmem.knowledge.facts.inflections import may_be_english
        >>> may_be_english(["likes", "dogs"]), may_be_english(["aime", "les", "chats"])
        (True, False)
    """
    return all(word.isascii() and word not in _FOREIGN for word in words)


def _without_ending(word: str) -> str:
    if len(word) < _SHORTEST or not word.endswith("s") or word.endswith(("ss", "us", "is")):
        return word
    if word.endswith("ies") and len(word) > _SHORTEST:
        return f"{word[:-3]}y"
    if word.endswith(("ches", "shes", "sses", "xes", "zzes")):
        return word[:-2]
    return word[:-1]
