"""Turns about facts, in several languages."""

from __future__ import annotations

from customers import drop, put
from langchain_core.messages import HumanMessage
from profiles import add

from learning.talks import Turn, as_call, as_call_in_text, closed_stream, ended


def summary(text: str, *, marked: bool) -> HumanMessage:
    more = {"lc_source": "summarization"} if marked else {}
    return HumanMessage(text, id=f"summary: {text[-7:]}", additional_kwargs=more)


CUT = [add("Has a cat"), add("Is allergic to peanut")]


CLAUDE = "I am Claude, and I like recursion."


ANN = [
    Turn(
        "ann",
        "A5",
        "Anime, customs, Athens, blood type A: that's me.",
        [
            (
                as_call,
                [
                    add("Likes anime"),
                    add("Works with customs"),
                    add("Blood type A"),
                    add("Lives in Athens", topics=["home"]),
                ],
            )
        ],
        report={"added": ["Likes anime", "Works with customs", "Blood type A", "Lives in Athens"]},
    ),
    Turn(
        "ann",
        "A5",
        "Animals, customers, and I know my blood type.",
        [(as_call_in_text, [add("Likes animals"), add("Works with customers"), add("Blood type")])],
        report={"added": ["Likes animals", "Works with customers", "Blood type"]},
    ),
    Turn(
        "ann",
        "A5",
        "I like animals, and I am polite and political.",
        [[add("The user likes animals."), add("I work with customers"), add("Is polite"), add("Is political")]],
        report={"added": ["Is polite", "Is political"]},
    ),
    Turn(
        "ann",
        "A5",
        "Forget the anime.",
        [[{"action": "remove", "fact": "Likes anime", "reason": "forget"}]],
        report={"forgotten": 1},
    ),
    Turn(
        "ann",
        "A5",
        "I like animation.",
        [[add("Likes anime", messages=[1]), add("Likes animation")]],
        earlier=[
            HumanMessage("I like anime.", id="late", additional_kwargs={"created_at": "2026-03-01T00:00:00+00:00"})
        ],
        shown=["I like anime.", "I like animation.", "I see."],
        report={"messages": 3, "added": ["Likes animation"]},
    ),
    Turn(
        "ann",
        "A6",
        "Peanut oil makes me ill.",
        [(ended(finish_reason="length"), CUT)] * 2,
        report={
            "calls": 2,
            "error": "The answer was cut off because it was too long. Propose fewer changes, in shorter words.",
        },
    ),
    Turn(
        "ann",
        "A6",
        "As I said: peanut oil.",
        [(ended(finish_reason="MAX_TOKENS"), CUT), [add("Is allergic to peanut oil", messages=[1])]],
        report={"messages": 4, "calls": 2, "added": ["Is allergic to peanut oil"]},
        shown=["Peanut oil makes me ill.", "I see.", "As I said: peanut oil.", "I see."],
    ),
    Turn(
        "ann",
        "A6",
        "I moved from Athens to Patras.",
        [
            (ended(done_reason="length", done=True), CUT),
            [{"action": "update", "fact": "Lives in Athens", "text": "Lives in Patras", "topics": ["home"]}],
        ],
        report={"calls": 2, "updated": ["Lives in Patras"]},
    ),
    Turn(
        "ann",
        "A6",
        "No more customs.",
        [
            (ended(stopReason="max_tokens"), CUT),
            [{"action": "remove", "fact": "Works with customs", "reason": "ended"}],
        ],
        report={"calls": 2, "ended": ["Works with customs"]},
    ),
    Turn(
        "ann",
        "A6",
        "Customs again.",
        [
            (ended(status="incomplete", incomplete_details={"reason": "max_output_tokens"}), CUT),
            [add("Works with customs")],
        ],
        report={"calls": 2, "added": ["Works with customs"]},
    ),
    Turn("ann", "A6", "Hello 4", [(closed_stream, CUT), []], report={"calls": 2}),
    Turn(
        "ann",
        "A8",
        "Who are you? I am a nurse.",
        [
            [
                add("Likes recursion", messages="reply"),
                put("name", "Claude") | {"messages": "reply"},
                put("name", "Claude") | {"messages": None},
                add("Is a nurse"),
            ]
        ]
        * 2,
        reply=CLAUDE,
        report={
            "calls": 2,
            "added": ["Is a nurse"],
            "refused": [
                "Change 1: only the assistant says so: give the numbers of the user's messages that say so, or leave it out.",
                "Change 2: only the assistant says so: give the numbers of the user's messages that say so, or leave it out.",
                "Change 3: only the assistant says 'Claude': give the numbers of the user's messages, or leave it out.",
            ],
        },
    ),
    Turn("ann", "A8", "Call me Al.", [[put("name", "Al")]], reply="Fine, Al. I like Al.", report={"fields": ["name"]}),
    Turn(
        "ann",
        "A1",
        "Call me Alice.",
        [[put("name", "Alice")]],
        report={"fields": ["name"]},
        shown=["Who are you? I am a nurse.", "Call me Alice.", "I see."],
    ),
    Turn("ann", "A1", "Forget that I was Al.", [[drop("name", "Al", reason="forget")]], report={"fields": ["name"]}),
    Turn(
        "ann",
        "A9",
        "I began a course today.",
        [[add("Takes a course", since="2026-03-02")]],
        at="2026-03-02T20:30:00-08:00",
        written=["Monday, 2026-03-02 20:30-08:00"] * 2,
        report={"added": ["Takes a course"]},
    ),
    Turn(
        "ann",
        "A9",
        "I passed my exam.",
        [[add("Sat an exam", since="2026-03-01", messages=[1]), add("Passed an exam")]],
        earlier=[
            HumanMessage(
                "My exam was yesterday.", id="exam", additional_kwargs={"created_at": "2026-03-02T10:00:00+00:00"}
            )
        ],
        at="2026-03-16T00:30:00+13:00",
        shown=["My exam was yesterday.", "I passed my exam.", "I see."],
        written=["Monday, 2026-03-02 10:00+00:00", *["Monday, 2026-03-16 00:30+13:00"] * 2],
        report={"messages": 3, "added": ["Sat an exam", "Passed an exam"]},
    ),
    Turn(
        "ann",
        "A10",
        "Go on, please.",
        [[]],
        earlier=[summary("The user may like opera.", marked=True)],
        report={"messages": 3},
    ),
    Turn(
        "ann",
        "A10",
        "And on.",
        [[]],
        earlier=[summary("Here is a summary of the conversation to date:\n\nThe user may like ballet.", marked=False)],
        report={"messages": 3},
    ),
    Turn("ann", "B15", "Hello 5", [""], report={}),
    Turn("ann", "B15", "Hello 6", ["No changes."], report={}),
    Turn("ann", "B15 B12", "Hello 7", ["<think>Small talk.</think>"], report={}),
    Turn(
        "ann",
        "B15",
        "I am allergic to latex.",
        ["no JSON"] * 2,
        report={"calls": 2, "error": "There is no valid JSON object with a list of changes in the answer."},
    ),
    Turn(
        "ann",
        "B15",
        "Hello 8",
        ["no JSON"] * 2,
        report={
            "messages": 4,
            "calls": 2,
            "error": "There is no valid JSON object with a list of changes in the answer.",
        },
        shown=["I am allergic to latex.", "I see.", "Hello 8", "I see."],
    ),
    Turn(
        "ann",
        "B15",
        "Hello 9",
        ["no JSON"] * 2,
        report={
            "messages": 6,
            "calls": 2,
            "error": "There is no valid JSON object with a list of changes in the answer.",
        },
        shown=["I am allergic to latex.", "I see.", "Hello 8", "I see.", "Hello 9", "I see."],
    ),
    Turn(
        "ann",
        "B15",
        "Hello 10",
        [[]],
        report={"messages": 6},
        shown=["Hello 8", "I see.", "Hello 9", "I see.", "Hello 10", "I see."],
    ),
    Turn(
        "ann",
        "B15 B18",
        "Hello 11",
        [[add("Is allergic to latex", messages=[1])]],
        context={
            "profile": {"name": "Alice"},
            "facts": [
                "Is allergic to latex",
                "Passed an exam",
                "Takes a course",
                "Is a nurse",
                "Works with customs",
                "Lives in Patras",
                "Is allergic to peanut oil",
                "Likes animation",
                "Works with customers",
                "Likes animals",
                "Is polite",
                "Is political",
                "Sat an exam",
                "Blood type",
                "Blood type A",
            ],
        },
        report={"added": ["Is allergic to latex"]},
        shown=["I am allergic to latex.", "Hello 11", "I see."],
    ),
]


LUCIA = [
    Turn(
        "lucia",
        "B16",
        "Me gusta el té y hablo español.",
        [[add("Le gusta el té", topics=["bebidas"]), put("preferences.idioma", "español")]],
        report={"added": ["Le gusta el té"], "fields": ["preferences.idioma"]},
    ),
    Turn(
        "lucia",
        "A4 B16",
        "No tengo apodo.",
        [[put("name", "desconocido"), add("Nombre: desconocido")]] * 2,
        report={
            "calls": 2,
            "error": "Change 1: 'desconocido' of name is or contains a placeholder. Give a value that the user stated, or leave the change out. Change 2: 'Nombre: desconocido' states nothing that is known. Leave the change out.",
        },
    ),
    Turn(
        "lucia",
        "B15 B16",
        "Hola otra vez.",
        ["Sin cambios."],
        report={"messages": 4},
        shown=["No tengo apodo.", "I see.", "Hola otra vez.", "I see."],
    ),
    Turn("carlos", "B16", "Me gusta el té.", [[add("Likes tea")]], report={"added": ["Likes tea"]}),
    Turn(
        "carlos",
        "A8",
        "¿Qué es eso?",
        [[add("Was told about recursion", messages="reply")]],
        reply="Recursion is recursion.",
        report={"added": ["Was told about recursion"]},
    ),
]


POLYGLOT = [
    Turn(
        "polyglot",
        "B17 B16",
        "मैं हिन्दी की किताबें पढ़ती हूँ।",
        [[add("हिन्दी की किताबें पढ़ती है"), add("বাংলা গান শোনে")]],
        report={"added": ["हिन्दी की किताबें पढ़ती है", "বাংলা গান শোনে"]},
    ),
    Turn(
        "polyglot",
        "B17",
        "தமிழ், తెలుగు",
        [[add("தமிழ் கவிதை எழுதுகிறாள்"), add("తెలుగు సినిమా చూస్తుంది")]],
        report={"added": ["தமிழ் கவிதை எழுதுகிறாள்", "తెలుగు సినిమా చూస్తుంది"]},
    ),
    Turn(
        "polyglot",
        "B17",
        "서울에서 살고 있어요.",
        [[add("서울에서 살고 있다")]],
        report={"added": ["서울에서 살고 있다"]},
    ),
    Turn(
        "polyglot",
        "B17",
        "أحب القَهْوَة 🍕",
        [[add("يحب القَهْوَة"), add("Friday is 🍕 day")]],
        report={"added": ["يحب القَهْوَة", "Friday is 🍕 day"]},
    ),
    Turn(
        "polyglot",
        "B17",
        "Goethestraße 5.",
        [[add("Wohnt in der Goethestraße")]],
        report={"added": ["Wohnt in der Goethestraße"]},
    ),
    Turn(
        "polyglot",
        "B17",
        "Γεννήθηκα στην Αθήνα.",
        [[add("Γεννήθηκε στην Αθήνα")]],
        report={"added": ["Γεννήθηκε στην Αθήνα"]},
    ),
]
