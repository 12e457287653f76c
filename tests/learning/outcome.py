"""What is known after the scripted conversation of `turns`."""

from __future__ import annotations

from typing import Any

from learning.fields import CITIES


def said(text: str, source: str, at: str, topics: tuple[str, ...] | list[str] = ()) -> list[Any]:
    """A fact that one message stated, and that is still true. See `row` in the test for the columns."""
    return [text, list(topics), [source], at, at, at, None, None, None]


PROFILES: dict[str, Any] = {
    "ben": {
        "user_id": "ben@example.com",
        "name": "Benjamin",
        "preferences": {
            "diet": "vegetarian",
            "tone": "short",
            "languages": ["Greek", "Norwegian", "Finnish"],
            "sports": ["rowing"],
            "node.js": "22",
            "a.b": {"c": 1, "d": 2},
            "numbers": [7],
            "code": "Wants ```python``` fences, <think> tags and {braces}",
        },
        "facts": [
            *(said(f"Has seen {city}", "m20", "2026-03-01T21:00", ["travel"]) for city in CITIES[:20]),
            said("Learns Latin", "m6", "2026-03-01T07:00"),
            said("Likes beer", "m29", "2026-03-02T06:00"),
            said("Likes cider", "m30", "2026-03-02T07:00"),
            said("Likes juice", "m23", "2026-03-02T00:00"),
            said("Likes long words", "m27", "2026-03-02T04:00"),
            said("Likes milk", "m25", "2026-03-02T02:00"),
            said("Likes soda", "m30", "2026-03-02T07:00"),
            said("Likes soup", "m31", "2026-03-02T08:00"),
            said("Likes tea", "m22", "2026-03-01T23:00"),
            said("Likes water", "m26", "2026-03-02T03:00"),
            said("Likes wine", "m28", "2026-03-02T05:00"),
            said("Owns a bike", "m9", "2026-03-01T10:00"),
            said("Owns boat 1", "m21", "2026-03-01T22:00"),
            said("Owns boat 2", "m21", "2026-03-01T22:00"),
            said("Owns boat 4", "m21", "2026-03-01T22:00"),
            said("Owns boat 5", "m21", "2026-03-01T22:00"),
            said("Owns boat 6", "m21", "2026-03-01T22:00"),
        ],
        "past": [],
        "last_interaction": "2026-03-02T08:00:00Z",
        "home": {"city": "Oslo", "street": "Storgata", "door": "red"},
        "office": None,
        "homes": {},
        "pets": [],
        "tags": [],
        "sizes": [7, 11],
        "born": "1990-05-17",
        "milk": "none",
        "payment": {"kind": "account", "iban": "GR16"},
        "trip": {"start": 10, "end": 20},
        "zip_code": "0150",
    },
    "ann": {
        "user_id": "ann@example.com",
        "name": "Alice",
        "preferences": {},
        "facts": [
            said("Blood type", "m33", "2026-03-02T10:00"),
            said("Blood type A", "m32", "2026-03-02T09:00"),
            said("Is a nurse", "m43", "2026-03-02T20:00"),
            said("Is allergic to latex", "m54", "2026-03-15T17:30"),
            said("Is allergic to peanut oil", "m37", "2026-03-02T14:00"),
            said("Is polite", "m34", "2026-03-02T11:00"),
            said("Is political", "m34", "2026-03-02T11:00"),
            [
                "Likes animals",
                [],
                ["m33", "m34"],
                "2026-03-02T10:00",
                "2026-03-02T11:00",
                "2026-03-02T10:00",
                None,
                None,
                None,
            ],
            said("Likes animation", "m36", "2026-03-02T13:00"),
            [
                "Lives in Patras",
                ["home"],
                ["m39"],
                "2026-03-02T16:00",
                "2026-03-02T16:00",
                "2026-03-02T16:00",
                None,
                "Lives in Athens",
                None,
            ],
            said("Passed an exam", "m48", "2026-03-15T11:30"),
            ["Sat an exam", [], ["exam"], "2026-03-02T10:00", "2026-03-02T10:00", "2026-03-01T00:00", None, None, None],
            [
                "Takes a course",
                [],
                ["m47"],
                "2026-03-03T04:30",
                "2026-03-03T04:30",
                "2026-03-02T00:00",
                None,
                None,
                None,
            ],
            [
                "Works with customers",
                [],
                ["m33", "m34"],
                "2026-03-02T10:00",
                "2026-03-02T11:00",
                "2026-03-02T10:00",
                None,
                None,
                None,
            ],
            said("Works with customs", "m41", "2026-03-02T18:00"),
        ],
        "past": [
            [
                "Lives in Athens",
                ["home"],
                ["m32"],
                "2026-03-02T09:00",
                "2026-03-02T09:00",
                "2026-03-02T09:00",
                "2026-03-02T16:00",
                None,
                "Lives in Patras",
            ],
            [
                "Works with customs",
                [],
                ["m32"],
                "2026-03-02T09:00",
                "2026-03-02T09:00",
                "2026-03-02T09:00",
                "2026-03-02T17:00",
                None,
                None,
            ],
        ],
        "last_interaction": "2026-03-15T21:30:00Z",
    },
    "eva": {
        "user_id": "eva@example.com",
        "name": None,
        "preferences": {},
        "facts": [],
        "past": [],
        "last_interaction": "2026-03-16T11:30:00Z",
    },
    "lucia": {
        "user_id": "lucía@example.com",
        "name": None,
        "preferences": {"idioma": "español"},
        "facts": [said("Le gusta el té", "m73", "2026-03-16T12:30", topics=["bebidas"])],
        "past": [],
        "last_interaction": "2026-03-16T14:30:00Z",
    },
    "carlos": {
        "user_id": "carlos@example.com",
        "name": None,
        "preferences": {},
        "facts": [
            said("Likes tea", "m76", "2026-03-16T15:30"),
            said("Was told about recursion", "a77.0", "2026-03-16T16:30"),
        ],
        "past": [],
        "last_interaction": "2026-03-16T16:30:00Z",
    },
    "polyglot": {
        "user_id": "polyglot@example.com",
        "name": None,
        "preferences": {},
        "facts": [
            said("Friday is 🍕 day", "m81", "2026-03-16T20:30"),
            said("Wohnt in der Goethestraße", "m82", "2026-03-16T21:30"),
            said("Γεννήθηκε στην Αθήνα", "m83", "2026-03-16T22:30"),
            said("يحب القَهْوَة", "m81", "2026-03-16T20:30"),
            said("हिन्दी की किताबें पढ़ती है", "m78", "2026-03-16T17:30"),
            said("বাংলা গান শোনে", "m78", "2026-03-16T17:30"),
            said("தமிழ் கவிதை எழுதுகிறாள்", "m79", "2026-03-16T18:30"),
            said("తెలుగు సినిమా చూస్తుంది", "m79", "2026-03-16T18:30"),
            said("서울에서 살고 있다", "m80", "2026-03-16T19:30"),
        ],
        "past": [],
        "last_interaction": "2026-03-16T22:30:00Z",
    },
    "agent": {
        "user_id": "agent@example.com",
        "name": None,
        "preferences": {},
        "facts": [said("Lives in Volos", "m88", "2026-03-17T03:30"), said("Swims a lot", "m90", "2026-03-17T05:30")],
        "past": [],
        "last_interaction": "2026-03-17T05:30:00Z",
    },
    "42": {
        "user_id": 42,
        "city": "Bergen",
    },
    "uuid": {
        "user_id": "5f0c1c52-6f2e-4c3a-9d52-0f6d6a0b7c11",
        "city": "Cork",
    },
    "long": {
        "user_id": "ann@example.com",
        "city": "Lyon",
    },
    "strict": {
        "user_id": "ben@example.com",
        "born": "1990-05-17",
        "sizes": [7, 9, 11],
        "member": "5f0c1c52-6f2e-4c3a-9d52-0f6d6a0b7c11",
        "zip_code": "0150",
    },
    "loose": {
        "city": "Oslo",
        "pets": ["Max"],
    },
}
"""The profiles as JSON, without the ids of facts."""

ENTITIES = [
    ("Acme", "", [], {}, []),
    ("Ann", "", [], {"age": "8"}, ["m62", "m61", "m63"]),
    ("Apple", "organisation", [], {}, ["m67"]),
    ("apple (fruit)", "fruit", [], {}, ["m68"]),
    ("Bob", "", ["Bobby"], {"age": "30", "married": "true"}, ["m62"]),
    ("Initech", "", [], {}, []),
    ("Jim", "person", [], {"age": "40"}, ["m60"]),
    ("Mia", "", [], {"age": "9"}, ["m69", "m71"]),
    ("Oslo", "", [], {}, []),
    ("Rob Jones", "person", [], {"age": "50"}, ["m64", "m61", "m63", "m65", "m66"]),
    ("Robert Smith", "person", ["Rob", "Robbie"], {}, []),
    ("Tom", "person", ["Tommy"], {"age": "30"}, ["m59", "m61"]),
    ("user", "", [], {}, []),
]
"""Names, kinds, aliases, attributes and sources of the entities of "eva"."""

RELATIONS = [
    ("user lives in Oslo (since 2026-01-15)", ["m72"]),
    ("Bob likes Ann", ["m61", "m63"]),
    ("Bob works at Initech", ["m62"]),
    ("Bob works at Acme (since 2024-05-01)", ["m62"]),
]
MEMORIES = [("Drinks oolong tea", 1)]

CALLS = 123
"""Number of calls of the model that extracts."""

FORMER = [
    ("ben", "2026-03-01T01:30Z", {"name": "Ben", "preferences": {"diet": "vegetarian"}}),
    ("ben", "2026-03-01T03:30Z", {"name": None, "preferences": {"diet": "vegetarian", "tone": "short"}}),
    ("ann", "2026-03-02T21:30Z", {"name": None}),
    ("ann", "2026-03-02T22:30Z", {"name": "Alice"}),
]
"""Fields as they were at earlier times. That Alice was called Al is forgotten."""

SEARCHES = [
    ("polyglot", "हिन्दी", "हिन्दी की किताबें पढ़ती है"),
    ("polyglot", "বাংলা", "বাংলা গান শোনে"),
    ("polyglot", "கவிதை", "தமிழ் கவிதை எழுதுகிறாள்"),
    ("polyglot", "తెలుగు", "తెలుగు సినిమా చూస్తుంది"),
    ("polyglot", "서울", "서울에서 살고 있다"),
    ("polyglot", "🍕", "Friday is 🍕 day"),
    ("polyglot", "القهوة", "يحب القَهْوَة"),
    ("polyglot", "goethestrasse", "Wohnt in der Goethestraße"),
    ("polyglot", "αθηνα", "Γεννήθηκε στην Αθήνα"),
    ("ann", "Which oil?", "Is allergic to peanut oil"),
]
"""Queries of users' facts, and the best result of each."""

FORGOTTEN = {
    "ben": ["Danish", "Has a cat", "coffee", "vegan", "N/A", "UNKNOWN"],
    "ann": ['"Al"', "anime", "opera", "ballet", "recursion", "Claude", '"Is allergic to peanut"', "Has a cat"],
    "eva": ["brother", "Hans", "Bremen", "Carl", "boss"],
    "lucia": ["desconocido"],
    "agent": ["coffee", "opera"],
}
"""Words that nothing stored about a user contains."""
