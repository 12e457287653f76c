"""What a guard finds in a text, and what it does not."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, ToolMessage

from langchain_agentmem import ConfigurationError, Guard, InvalidInputError, InvalidTypeError, SecretFoundError
from langchain_agentmem.messages.guarding import guarded_message
from langchain_agentmem.text import credentials
from langchain_agentmem.text.credentials import findings_in

TOKENS = {
    "AWS": "AKIAIOSFODNN7EXAMPLE",
    "GitHub": "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
    "GitHub fine-grained": "github_pat_11AAAAAAA0abcdefghijklm_abcdefghijklmnopqrstuvwxyz0123456789",
    "OpenAI": "sk-proj-abcdefghijklmnopqrstuvwxyz0123456789ABCD1234",
    "Anthropic": "sk-ant-api03-abcdefghijklmnopqrstuvwxyz0123456789ABCD1234-AA",
    "Google": "AIzaSyA1234567890abcdefghijklmnopqrstuv",
    "Hugging Face": "hf_abcdefghijklmnopqrstuvwxyz01234567",
    "Slack": "xoxb-1234567890-abcdefghij",
    "JWT": "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
    "key": "-----BEGIN RSA PRIVATE KEY-----\nMIIabc+/=\n-----END RSA PRIVATE KEY-----",
}


@pytest.mark.parametrize("name", TOKENS)
def test_a_token_is_found_as_a_whole(name):
    token = TOKENS[name]
    for text in (token, f"My token is {token}.", f"({token})", f"a\n{token}\nb"):
        kept = Guard("redact").text(text, "it")
        assert re.fullmatch(re.escape(text).replace(re.escape(token), r"\[redacted: [^\]]+\]"), kept), kept
        with pytest.raises(SecretFoundError):
            Guard().text(text, "it")


@pytest.mark.parametrize(
    "text", ["password = 'hunter2abc'", 'api_key="abc1234567890"', "postgres://user:hunter2abc@host/db"]
)
def test_an_assigned_password_is_found(text):
    kept = Guard("redact").text(text, "it")
    assert "hunter2" not in kept
    assert "1234567890" not in kept
    assert "[redacted:" in kept


@pytest.mark.parametrize(
    "text",
    [
        "password",
        "I forgot my password, and the secret token of my api_key.",
        "Reset your password: click the link.",
        "The API key is on the desk. Passwort? contraseña!",
        "git commit 3f786850e387550fdab836ed7e6dc881de23001b",
        "9b2f1c7e-5d3a-4f7b-8a52-0c9d1e2f3a4b",
        "192.168.0.1 and 8.8.8.8",
        "call_abc123DEF456ghi789JKL012",
        "https://example.com/path?page=2",
        "sk-ipping through the skies",
        "The quick brown fox jumps over the lazy dog. " * 50,
        "",
    ],
)
def test_ordinary_text_is_not_a_credential(text):
    assert findings_in(text) == []
    assert Guard().text(text, "it") is text


def test_a_credential_is_found_anywhere_in_a_long_text():
    for at in (0, 1_700, 1_795, 1_801, 1_999, 2_000, 5_399, 9_000):
        text = "x " * (at // 2) + TOKENS["AWS"] + " y" * 1_000
        ((start, end, kind),) = findings_in(text)
        assert (text[start:end], kind) == (TOKENS["AWS"], "AWS Access Key")


@pytest.mark.parametrize("part", ["password: ", "password = 'a", "://:@", "eyJ.", "-----BEGIN ", "sk-", "a"])
def test_the_time_grows_with_the_length_and_not_faster(part):
    def seconds(size):
        text = part * (size // len(part))
        start = time.process_time()
        findings_in(text)
        return time.process_time() - start

    seconds(1_000)
    assert seconds(80_000) < 100 * max(seconds(10_000), 0.01)


def test_own_rules_find_more():
    guard = Guard("redact", rules={"phone": r"\+\d{8,}", "word": lambda text: ["Zeus"] if "Zeus" in text else []})
    assert (
        guard.text("Call Zeus at +4712345678, Zeus!", "it")
        == "Call [redacted: word] at [redacted: phone], [redacted: word]!"
    )
    only = Guard("redact", rules={"phone": re.compile("[0-9]{4}")}, credentials=False)
    assert only.text(f"{TOKENS['Slack']} 1234", "it").startswith("xoxb-[redacted: phone]")


def test_allowed_texts_are_not_reported():
    guard = Guard(allow=(TOKENS["AWS"],))
    assert guard.text(f"Example: {TOKENS['AWS']}", "it") == f"Example: {TOKENS['AWS']}"
    with pytest.raises(SecretFoundError):
        guard.text(TOKENS["Slack"], "it")


@given(
    value=st.recursive(
        st.text(max_size=20) | st.integers() | st.none(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=5), inner),
    )
)
def test_values_without_credentials_are_the_same_objects(value):
    guard = Guard("redact", rules={"never": "\x00\x01\x02"}, credentials=False)
    assert guard.value(value, "it") is value


@given(texts=st.lists(st.text(max_size=30) | st.just("BAD"), max_size=4))
def test_redacted_values_keep_everything_else(texts):
    guard = Guard("redact", rules={"bad": "BAD"}, credentials=False)
    kept = guard.value({"texts": texts}, "it")["texts"]
    assert kept == [text.replace("BAD", "[redacted: bad]") for text in texts]


def test_redacted_keys_that_are_equal_lose_no_value():
    guard = Guard("redact", rules={"phone": r"\d{4}"}, credentials=False)
    kept = guard.value({"1234": "a", "5678": "b", "9012": "c"}, "it")
    assert kept == {"[redacted: phone]": "a", "[redacted: phone] (2)": "b", "[redacted: phone] (3)": "c"}


def test_ids_of_calls_and_pictures_are_left_as_they_are():
    guard = Guard("redact", rules={"number": r"\d{4}"}, credentials=False)
    message = AIMessage(
        [
            {"type": "tool_use", "id": "call_1234", "name": "f", "input": {"id": 1}},
            {"type": "image_url", "image_url": {"url": "https://x.org/1234"}},
        ],
        tool_calls=[{"name": "f", "args": {}, "id": "call_1234"}],
        id="1234",
    )
    assert guarded_message(message, guard.repaired) is message
    result = ToolMessage("5678", tool_call_id="call_1234")
    assert guarded_message(result, guard.repaired) == ToolMessage("[redacted: number]", tool_call_id="call_1234")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"action": "drop"}, InvalidInputError, "Guard.action"),
        ({"max_length": 0}, InvalidInputError, "Guard.max_length"),
        ({"rules": ["x"]}, InvalidTypeError, "Guard.rules must be a mapping"),
        ({"rules": {"x": "["}}, InvalidInputError, "no regular expression"),
        ({"rules": {"x": 3}}, InvalidTypeError, "must be a regular expression or a function"),
        ({"rules": {"": "x"}}, InvalidTypeError, "name of a rule"),
        ({"allow": "text"}, InvalidTypeError, "Guard.allow"),
        ({"credentials": "yes"}, InvalidTypeError, "Guard.credentials"),
    ],
)
def test_wrong_arguments_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        Guard(**arguments)


@pytest.mark.parametrize(
    ("returned", "given"),
    [
        ("secret", "a str"),
        (b"secret", "a bytes"),
        (True, "a bool"),
        (None, "a NoneType"),
        (["a", 3], "a list with a int"),
    ],
)
def test_a_rule_that_returns_no_texts_is_refused(returned, given):
    guard = Guard(credentials=False, rules={"f": lambda _: returned})
    with pytest.raises(InvalidTypeError, match=f"The rule 'f' must return a list of texts.*returned {given}") as raised:
        guard.text("a secret", "it")
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("kind", [list, tuple, set, iter])
def test_a_rule_may_return_any_collection_of_texts(kind):
    guard = Guard("redact", credentials=False, rules={"f": lambda _: kind(["secret"])})
    assert guard.text("a secret", "it") == "a [redacted: f]"


def test_a_missing_package_names_the_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "detect_secrets.core.plugins.util", None)
    credentials._detectors.cache_clear()
    with pytest.raises(ConfigurationError, match=r"extra \[guard\]"):
        Guard()
    assert Guard(credentials=False).text(TOKENS["AWS"], "it") == TOKENS["AWS"]
    credentials._detectors.cache_clear()
