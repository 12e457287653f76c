"""Turns about fields of profiles, in several schemas."""

from __future__ import annotations

from customers import drop, more, put
from profiles import add

from learning.talks import (
    MEMBER,
    Turn,
    as_string,
    fenced,
    in_python,
    thinking,
    with_changes_as_strings,
    with_comments,
    with_line_breaks,
    with_list_as_string,
    without_list,
    without_start,
)

CITIES = (
    *("Aarhus", "Bergen", "Cork", "Dublin", "Espoo", "Florence", "Ghent", "Hamburg", "Imatra", "Jena", "Kiel"),
    *("Lyon", "Malmö", "Narvik", "Oulu", "Porto", "Quimper", "Riga", "Siena", "Turin", "Umeå", "Vaasa", "Wrocław"),
)


CODE = "Wants ```python``` fences, <think> tags and {braces}"

OFFICE, SUMMER = "office: street is missing", "homes.summer: street is missing"


BEN = [
    Turn(
        "ben",
        "A1",
        "I'm Ben, a vegetarian.",
        [[put("name", "Ben"), put("preferences.diet", "vegetarian")]],
        report={"fields": ["name", "preferences.diet"]},
    ),
    Turn(
        "ben",
        "A1",
        "I never was a vegan. Be short.",
        [[drop("preferences.diet", "vegan"), put("preferences.tone", "short")]] * 2,
        report={
            "calls": 2,
            "fields": ["preferences.tone"],
            "refused": ["Change 1: preferences.diet holds another value: 'vegetarian'. It is not 'vegan'."],
        },
    ),
    Turn("ben", "A1", "I am not called Ben any more.", [[drop("name", "Ben")]], report={"fields": ["name"]}),
    Turn(
        "ben",
        "A2",
        "I speak Greek and Danish.",
        [[put("preferences.languages", ["Greek", "Danish"])]],
        report={"fields": ["preferences.languages"]},
        shown=["I never was a vegan. Be short.", "I speak Greek and Danish.", "I see."],
    ),
    Turn(
        "ben",
        "A2",
        "Also Norwegian and Finnish.",
        [[more("preferences.languages", "Norwegian"), more("preferences.languages", ["Danish", "Finnish"])]],
        report={"fields": ["preferences.languages"]},
    ),
    Turn(
        "ben",
        "A2",
        "Forget the Danish.",
        [[drop("preferences.languages", "danish", reason="forget")]],
        report={"fields": ["preferences.languages"]},
    ),
    Turn(
        "ben",
        "A2",
        "I am learning Latin.",
        [[put("preferences.languages", "Latin"), put("preferences.sports", ["rowing"]), add("Learns Latin")]] * 2,
        report={
            "calls": 2,
            "added": ["Learns Latin"],
            "fields": ["preferences.sports"],
            "refused": [
                "Change 1: preferences.languages holds a list: ['Greek', 'Norwegian', 'Finnish']. Give the whole list to replace it, or use add or remove."
            ],
        },
    ),
    Turn(
        "ben",
        "A3",
        "I have another name now.",
        [[{"action": "update", "field": "name"}]] * 2,
        report={
            "calls": 2,
            "error": "Change 1: the change of name has no value. Give the value; use remove to remove the field.",
        },
    ),
    Turn(
        "ben",
        "A3",
        "It is Benjamin.",
        [[{"action": "update", "field": "name", "text": "Benjamin"}], [put("name", "Benjamin")]],
        report={"messages": 4, "calls": 2, "fields": ["name"]},
        shown=["I have another name now.", "I see.", "It is Benjamin.", "I see."],
    ),
    Turn(
        "ben",
        "A4",
        "I own a bike.",
        [
            [
                *(put("name", one) for one in ("N/A", "null", "<UNKNOWN>", "")),
                put("preferences.languages", ["None"]),
                add("N/A"),
                add("Lives in <UNKNOWN>"),
                add("Owns a bike"),
            ]
        ]
        * 2,
        report={
            "calls": 2,
            "added": ["Owns a bike"],
            "refused": [
                "Change 1: 'N/A' of name is or contains a placeholder. Give a value that the user stated, or leave the change out.",
                "Change 2: 'null' of name is or contains a placeholder. Give a value that the user stated, or leave the change out.",
                "Change 3: '<UNKNOWN>' of name is or contains a placeholder. Give a value that the user stated, or leave the change out.",
                "Change 4: '' of name is or contains a placeholder. Give a value that the user stated, or leave the change out.",
                "Change 5: ['None'] of preferences.languages is or contains a placeholder. Give a value that the user stated, or leave the change out.",
                "Change 6: 'N/A' states nothing that is known. Leave the change out.",
                "Change 7: 'Lives in <UNKNOWN>' states nothing that is known. Leave the change out.",
            ],
        },
        shown=["I am learning Latin.", "I own a bike.", "I see."],
    ),
    Turn(
        "ben",
        "A4 A7",
        "My office is in Patras.",
        [[put("office", {"city": "Patras", "street": "unknown"})]],
        report={"incomplete": [OFFICE], "fields": ["office"]},
    ),
    Turn(
        "ben",
        "A7",
        "I live in Storgata in Oslo, behind the red door.",
        [[put("home", {"city": "Oslo", "street": "Storgata", "door": "red"})]],
        report={"incomplete": [OFFICE], "fields": ["home"]},
        shown=["I am learning Latin.", "I own a bike.", "I live in Storgata in Oslo, behind the red door.", "I see."],
    ),
    Turn(
        "ben",
        "A7",
        "I am in Bergen a lot, and in Volos in summer.",
        [[put("home", {"city": "Bergen"}), drop("home.street"), put("homes.summer.city", "Volos")]] * 2,
        report={
            "incomplete": [OFFICE, SUMMER],
            "calls": 2,
            "fields": ["homes.summer.city"],
            "refused": [
                "Change 1: the profile would not fit the schema: home: street is missing.",
                "Change 2: the profile would not fit the schema: home: street is missing.",
            ],
        },
    ),
    Turn(
        "ben",
        "A7",
        "I travel from 1 to 5.",
        [[put("trip.start", 1), put("trip.end", 5)]],
        report={"incomplete": [OFFICE, SUMMER], "fields": ["trip.start", "trip.end"]},
    ),
    Turn(
        "ben",
        "A7",
        "No, from 10 to 20.",
        [[put("trip.start", 10), put("trip.end", 20)]],
        report={"incomplete": [OFFICE, SUMMER], "fields": ["trip.start", "trip.end"]},
        shown=["I am in Bergen a lot, and in Volos in summer.", "No, from 10 to 20.", "I see."],
    ),
    Turn(
        "ben",
        "A7",
        "I pay with card 123.",
        [[put("payment.number", "123"), put("payment.kind", "card")]],
        report={"incomplete": [OFFICE, SUMMER], "fields": ["payment.number", "payment.kind"]},
    ),
    Turn(
        "ben",
        "A7",
        "No, from the account GR16.",
        [[put("payment.iban", "GR16"), drop("payment.number"), put("payment.kind", "account")]],
        report={"incomplete": [OFFICE, SUMMER], "fields": ["payment.iban", "payment.number", "payment.kind"]},
    ),
    Turn(
        "ben",
        "B13",
        "I use Node.js 20, no, 22.",
        [
            [
                put(["preferences", "node.js"], "20"),
                put("preferences.node.js", "22"),
                put('preferences["a.b"].c', 1),
                put(["preferences", "a.b", "d"], 2),
            ]
        ],
        report={
            "incomplete": [OFFICE, SUMMER],
            "fields": ["preferences.node.js", "preferences.a.b.c", "preferences.a.b.d"],
        },
    ),
    Turn(
        "ben",
        "B13 A1",
        "My numbers are 7 and 8. Not 8.",
        [[put("preferences.numbers", [7]), more("preferences.numbers", "7"), more("preferences.numbers", 8)]],
        report={"incomplete": [OFFICE, SUMMER], "fields": ["preferences.numbers"]},
    ),
    Turn(
        "ben",
        "B13",
        "I wear 7 to 11, I was born in 1990, and my postcode is 0150.",
        [
            [
                drop("preferences.numbers", "8"),
                more("sizes", "7"),
                more("sizes", [7, "9", 11]),
                drop("sizes", "9"),
                put("born", "1990-05-17"),
                put("zip_code", "0149"),
                put("ZIP", "0150"),
                put("milk", "none"),
            ]
        ],
        report={"incomplete": [OFFICE, SUMMER], "fields": ["preferences.numbers", "sizes", "born", "zipCode", "milk"]},
    ),
    Turn(
        "ben",
        "B11",
        "I have seen 23 cities.",
        [[add(f"Has seen {city}", topics=["travel"]) for city in CITIES]] * 2,
        report={
            "calls": 2,
            "added": [f"Has seen {city}" for city in CITIES[:20]],
            "refused": ["The answer proposes 23 changes; at most 20 are accepted. Propose the most important ones."],
        },
    ),
    Turn(
        "ben",
        "B11",
        "I own five boats.",
        [
            [
                *(add(f"Owns boat {number}") for number in (1, 2)),
                {"text": "Owns boat 3"},
                *(add(f"Owns boat {number}") for number in (4, 5, 6)),
            ]
        ]
        * 2,
        report={
            "calls": 2,
            "added": ["Owns boat 1", "Owns boat 2", "Owns boat 4", "Owns boat 5", "Owns boat 6"],
            "refused": ["Change 3: action: Field required."],
        },
    ),
    Turn("ben", "B12", "I like tea.", [(thinking, [add("Likes tea")])], report={"added": ["Likes tea"]}),
    Turn(
        "ben",
        "B12",
        "I like juice.",
        [(without_start, [add("Likes juice", fact=0, field="null", since="None", topics="null")])],
        report={"added": ["Likes juice"]},
        shown=["I have seen 23 cities.", "I own five boats.", "I like juice.", "I see."],
    ),
    Turn(
        "ben",
        "B12",
        f"My code: {CODE}",
        [(fenced, [put("preferences.code", CODE)])],
        report={"incomplete": [OFFICE, SUMMER], "fields": ["preferences.code"]},
    ),
    Turn("ben", "B12", "I like milk.", [(in_python, [add("Likes milk", fact=None)])], report={"added": ["Likes milk"]}),
    Turn("ben", "B12", "I like water.", [(with_comments, [add("Likes water")])], report={"added": ["Likes water"]}),
    Turn(
        "ben",
        "B12",
        "I like long words.",
        [(with_line_breaks, [add("Likes long words")])],
        report={"added": ["Likes long words"]},
    ),
    Turn("ben", "B12", "I like wine.", [(as_string, [add("Likes wine", fact=-1)])], report={"added": ["Likes wine"]}),
    Turn("ben", "B12", "I like beer.", [(with_list_as_string, [add("Likes beer")])], report={"added": ["Likes beer"]}),
    Turn(
        "ben",
        "B12",
        "I like soda and cider.",
        [(with_changes_as_strings, [add("Likes soda"), add("Likes cider")])],
        report={"added": ["Likes soda", "Likes cider"]},
    ),
    Turn("ben", "B12", "I like soup.", [(without_list, [add("Likes soup")])], report={"added": ["Likes soup"]}),
]


SCHEMAS = [
    Turn("42", "B13", "I live in Oslo.", [[put("city", "Oslo")]], report={"fields": ["city"]}),
    Turn(
        "42", "B13", "In Bergen, I mean.", [[put("city", "Bergen"), drop("city", "Oslo")]], report={"fields": ["city"]}
    ),
    Turn("uuid", "B13", "I live in Cork.", [[put("city", "Cork")]], report={"fields": ["city"]}),
    Turn("long", "B13", "I live in Lyon.", [[put("city", "Lyon")]], report={"fields": ["city"]}),
    Turn(
        "strict",
        "B13",
        "Born in May 1990; sizes 9 and 7.",
        [[put("born", "1990-05-17"), put("sizes", ["9", 7]), put("member", MEMBER)]],
        report={"fields": ["born", "sizes", "member"]},
    ),
    Turn(
        "strict",
        "B13",
        "Postcode 0150.",
        [[put("zip_code", "0149"), put("ZIP", "0150")]],
        report={"fields": ["zipCode"]},
    ),
    Turn(
        "strict",
        "B13 B11",
        "Born yesterday!",
        [[put("born", "yesterday"), more("sizes", 11)]] * 2,
        report={
            "calls": 2,
            "fields": ["sizes"],
            "refused": [
                "Change 1: the profile would not fit the schema: born: Input should be a valid date in the format YYYY-MM-DD, input is too short."
            ],
        },
    ),
    Turn(
        "loose",
        "B13 A2",
        "Oslo; Rex and Max.",
        [[put("city", "Oslo"), more("pets", ["Rex", "Max"])]],
        report={"fields": ["city", "pets"]},
    ),
    Turn("loose", "B13 A1", "Rex is gone.", [[drop("pets", "rex")]], report={"fields": ["pets"]}),
]
