"""Memory tags in templates: their syntax, their text, and that nothing in a value is interpreted."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.prompts import ChatPromptTemplate, PromptTemplate
from langchain_core.utils import mustache

from langchain_agentmem import AgentMemory, BudgetError, InvalidInputError
from langchain_agentmem.prompting.templates.budgets import Ranked, limited, shortened, within
from langchain_agentmem.prompting.templates.parsing import Section, Text, Variable, names_in, parse
from langchain_agentmem.prompting.templates.rendering import Rendering, as_text


def render(template, values=(), inputs=(), **options):
    return Rendering(dict(values), dict(inputs), **options).text(parse(template))


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("Hi {{name}}!", "Hi Ann!"),
        ("Hi {{ name }}!", "Hi Ann!"),
        ("{{nobody|you}}", "you"),
        ("{{name|you}}", "Ann"),
        ("{{nothing|you}}", "you"),
        ("{{empty|D}} {{no_pets|D}} {{no_home|D}} {{no|D}} {{zero|D}}", "D D D false 0"),
        ("[{{nobody}}]", "[]"),
        ("{{home.city}}", "Oslo"),
        ("{{node.js}}", "runtime"),
        ("{{first-name}} {{größe}}", "A 180"),
        ("{{pets}}", "- Rex\n- Tom"),
        ("{{home}}", '- city: Oslo\n- near: ["fjord"]'),
        ("{{yes}} {{count}} {{zero}}", "true 2 0"),
        ("{{#pets}}<{{.}}>{{/pets}}", "<Rex><Tom>"),
        ("{{#home}}{{city}} {{name}}{{/home}}", "Oslo Ann"),
        ("{{#people}}{{name}}:{{#pets}}{{.}},{{/pets}} {{/people}}", "Bo:cat, Cy:Rex,Tom, "),
        ("{{^nobody}}none{{/nobody}}{{^name}}no{{/name}}", "none"),
        ("{{#nobody}}x{{/nobody}}{{#empty}}x{{/empty}}{{#no}}x{{/no}}{{#nothing}}x{{/nothing}}", ""),
        ("{{#zero}}{{.}}{{/zero}}", "0"),
        ("a\n{{#pets}}\n- {{.}}\n{{/pets}}\nb", "a\n- Rex\n- Tom\nb"),
        ("a\n  {{#name}}\nb\n  {{/name}}", "a\nb\n"),
    ],
)
def test_tags_have_the_text_of_their_values(template, expected):
    values = {
        "name": "Ann",
        "nothing": None,
        "empty": "",
        "no_pets": [],
        "no_home": {},
        "no": False,
        "yes": True,
        "zero": 0,
        "count": 2,
        "node.js": "runtime",
        "first-name": "A",
        "größe": 180,
        "home": {"city": "Oslo", "near": ["fjord"]},
        "pets": ["Rex", "Tom"],
        "people": [{"name": "Bo", "pets": ["cat"]}, {"name": "Cy"}],
    }
    assert render(template, values) == expected


@pytest.mark.parametrize(
    "template",
    [
        "{{{{name}}}}",
        "{{{name}}}",
        '{{"a": 1}} {{ "b": {{"c": 2}} }}',
        "{{}}",
        "{{1}}",
        "{{1,3}} {{a: 1}} {{a, b}} {{'a b'}}",
        "{{{{a b}}}}",
        "{name!r:>8}",
        "{{ {name} }}",
    ],
)
def test_everything_else_means_what_it_means_to_langchain(template):
    expected = PromptTemplate.from_template(template).format(name="Ann")
    assert render(template, {"name": "memory"}, {"name": "Ann"}) == expected


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{#a}}x", "has no end"),
        ("{{#a}}{{#b}}{{/a}}", r"'{{/a}}' in a template has no beginning: the open section is '{{#b}}'"),
        ("x{{/a}}", "no section is open"),
        ("{{#a|b}}x{{/a}}", "cannot have a default"),
        ("{{#a b}}x", "is no section tag"),
        ("{{/ }}", "is no section tag"),
        ("{{x|see {input}}} {input}", r"'{{x\|see {input}}}' in a template is no tag: a default holds no braces"),
        ("{{x|see {{y}} }}", "a default holds no braces, .* write {{x}}{{.x}}…{{/x}}"),
        ("{{home.city|see", "ends with '}}'"),
        ("Hi {{user name}}!", r"'{{user name}}' in a template is no tag: a name holds .* without spaces"),
        ("{{ user name | guest }}", "is no tag: a name"),
        ("{{home..city}}", "is no tag: a name"),
        ("{{name.}}{{#a}}x{{/a}}", "is no tag: a name"),
    ],
)
def test_a_broken_template_is_refused(template, message):
    with pytest.raises(InvalidInputError, match=message):
        parse(template)


@pytest.mark.parametrize(
    ("template", "text"),
    [("{open}name}}", "{name}"), ("{open}{open}name}}}}", "{{name}}"), ("{{{{name}}}}", "{{name}}")],
)
def test_a_tag_can_be_written_literally(sqlite_memory, template, text):
    prompt = sqlite_memory.prompt(template).partial(open="{")
    assert prompt.invoke({}).to_messages()[0].content == text


def test_a_missing_value_is_an_error_if_values_are_required():
    with pytest.raises(InvalidInputError, match="variable 'name' of a prompt has no value"):
        render("{{name}}", required=True)
    assert render("{{name|you}}{{#name}}x{{/name}}", required=True) == "you"
    with pytest.raises(InvalidInputError, match=r"no value, because the run names no user_id\. Pass config="):
        render("{{name}}", required=True, unnamed=lambda name: "user_id" if name == "name" else "")


def test_names_and_inputs_of_sections_are_found():
    nodes = parse("{{a}} {{#b}}{{c.d}} {{.}} {input}{{/b}}")
    assert list(names_in(nodes)) == ["a", "b", "c.d"]
    assert [type(node) for node in nodes] == [Variable, Text, Section]
    assert (
        render("{{#b}}{input!r} {{.}}{{/b}}", {"b": ["{input}", "x"]}, {"input": "{{b}}"}) == "'{{b}}' {input}'{{b}}' x"
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
HOSTILE = st.sampled_from(
    [
        "{{name}}",
        "{input}",
        "{",
        "}",
        "{{#a}}",
        "{{/a}}",
        "%s",
        "{0}",
        "{input.__class__}",
        "<b>&amp;",
        "${x}",
        "\\n",
        "{{.}}",
    ]
)


@given(value=st.text() | st.lists(HOSTILE).map("".join), text=HOSTILE | st.text())
def test_text_is_inserted_as_it_is(value, text):
    template = "a {{v}} {input} {{#v}}{{.}}{{/v}}{{#list}}{{.}}{{/list}}{{missing|x}}"
    expected = f"a {value} {text} {value or ''}{value}{text}x"
    assert render(template, {"v": value, "list": [value, text]}, {"input": text}) == expected


@given(value=JSON)
def test_every_json_value_has_a_text(value):
    text = as_text(value)
    assert isinstance(text, str)
    if isinstance(value, (bool, int, float)):
        assert json.loads(text) == value
    if isinstance(value, list):
        assert text.count("- ") >= len(value)


@given(
    values=st.dictionaries(
        st.sampled_from("abc"), st.text("xy{} \n<&", min_size=1) | st.lists(st.text("xy", min_size=1)), max_size=3
    )
)
def test_sections_mean_what_they_mean_to_mustache(values):
    template = "{{#a}}[{{{.}}}{{{b}}}]{{/a}}{{^a}}no{{/a}}{{#c}}x{{/c}}"
    ours = template.replace("{{{", "{{").replace("}}}", "}}")
    texts = {
        name: as_text(value) if isinstance(value, list) and name == "b" else value for name, value in values.items()
    }
    assert render(ours, texts) == mustache.render(template, texts)


# Budgets


@given(value=JSON, tokens=st.integers(0, 40))
def test_a_shortened_value_fits_and_is_a_beginning(value, tokens):
    short = shortened(value, tokens, len)
    assert len(as_text(short)) <= tokens
    if len(as_text(value)) <= tokens:
        assert short == value
    elif short and isinstance(short, str):
        assert value.startswith(short.removesuffix("…").rstrip())
    elif isinstance(short, list):
        assert value[: len(short)] == short


def test_a_limit_shortens_its_variable_only():
    values = {"a": Ranked("abcdefgh", 0), "b": Ranked("abcdefgh", 0)}
    assert limited(values, {"a": 5, "missing": 1}, len) == {"a": Ranked("abcd…", 0), "b": Ranked("abcdefgh", 0)}


@given(
    values=st.dictionaries(st.sampled_from("abcd"), st.builds(Ranked, st.text("xyz ", max_size=30), st.integers(0, 5))),
    budget=st.integers(10, 90),
)
def test_a_prompt_fits_its_budget_and_the_least_specific_values_are_shortened_first(values, budget):
    def size_of(some):
        return 10 + sum(2 * len(one.value or "") for one in some.values())

    kept = within(values, budget, len, size_of)
    assert size_of(kept) <= budget
    shortened_ranks = [values[name].rank for name in values if kept[name] != values[name]]
    emptied_below = [
        values[name].rank for name in values if kept[name].value == values[name].value and values[name].value
    ]
    if shortened_ranks:
        assert all(rank >= max(shortened_ranks) for rank in emptied_below)


def test_of_equally_specific_values_the_last_one_is_shortened_first():
    values = {name: Ranked("x" * 10, rank) for name, rank in (("z", 1), ("a", 1), ("m", 2))}

    def size_of(some):
        return sum(len(one.value or "") for one in some.values())

    kept = within(values, 15, len, size_of)
    assert [len(kept[name].value or "") for name in "zam"] == [5, 0, 10]


def test_a_prompt_that_never_fits_is_an_error():
    with pytest.raises(BudgetError, match="30 tokens without any memory variable, which is more than max_tokens=20"):
        within({"a": Ranked("text", 0)}, 20, len, lambda some: 30 + len(some["a"].value or ""))


def test_the_template_of_a_mustache_message_is_left_alone():
    from langchain_agentmem.prompting.templates.messages import Tags

    messages = ChatPromptTemplate.from_messages([("human", "{{name}}")], template_format="mustache").messages
    tags = Tags()
    assert tags.replaced(messages)[0].format(name="x").content == "x"
    assert not tags.nodes


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("Hi {name!", "Not a valid f-string template"),
        ("Hi {}", "An input of a template needs a name"),
        ("Hi {0}", "Not a valid f-string template: Invalid variable name '0'"),
        ("Hi {{name|\udc9d}}", "half of a surrogate pair"),
    ],
)
def test_a_template_that_cannot_be_filled_is_refused_with_the_template(template, message):
    with AgentMemory.from_url("sqlite:///:memory:") as memory, pytest.raises(InvalidInputError, match=message):
        memory.prompt(template)
