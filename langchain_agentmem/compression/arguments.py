"""Checks and defaults of the arguments of `MemoryCompressor`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langchain_core.runnables import Runnable, RunnableLambda

from langchain_agentmem.arguments.values import check_count, check_list, shown
from langchain_agentmem.compression.chat_models import chat_model
from langchain_agentmem.errors import InvalidInputError, InvalidTypeError
from langchain_agentmem.messages.budgets import Budget
from langchain_agentmem.messages.limits import input_limit
from langchain_agentmem.messages.tokens import TokenCounter

_MIN_INPUT_TOKENS = 3_000
"""The minimum of `input_tokens` for a model whose limit is unknown."""
_SHARE_OF_LIMIT = 0.75
_MIN_TOKENS, _MIN_MESSAGES = 32, 2
_MIN_SUMMARY_TOKENS = 16


def checked_budget(
    counter: TokenCounter, max_tokens: int | None, max_messages: int | None, trigger: Budget | None
) -> Budget:
    """Return the budget of a compressor. Without a budget, the trigger is the budget.

    Raises:
        InvalidInputError: There is no budget, or it is too small.
    """
    if max_tokens is None and max_messages is None:
        if trigger is not None:
            return trigger
        msg = "A compressor needs a budget: pass max_tokens, max_messages, both, or trigger."
        raise InvalidInputError(msg)
    return Budget(
        counter,
        None if max_tokens is None else check_count("max_tokens", max_tokens, least=_MIN_TOKENS),
        None if max_messages is None else check_count("max_messages", max_messages, least=_MIN_MESSAGES),
    )


def checked_trigger(counter: TokenCounter, trigger: Any, model: Any) -> Budget | None:
    """Return the budget above which compaction begins; None if there is no trigger.

    Args:
        counter: Counts tokens.
        trigger: A pair of a unit and a number, or a list of such pairs.
        model: The model whose limit a fraction refers to.

    Raises:
        InvalidInputError: A unit or a number is not accepted, or the model's profile states no limit.
        InvalidTypeError: The trigger is not a pair, or a list of pairs.
    """
    if trigger is None:
        return None
    clauses = trigger if isinstance(trigger, list) else [trigger]
    tokens: list[int] = []
    messages: list[int] = []
    for clause in clauses:
        if not isinstance(clause, tuple) or len(clause) != 2:
            msg = f"trigger must be a pair such as ('tokens', 3000), or a list of pairs, got {shown(trigger)}."
            raise InvalidTypeError(msg)
        unit, number = clause
        if unit == "tokens":
            tokens.append(check_count("trigger tokens", number, least=_MIN_TOKENS))
        elif unit == "messages":
            messages.append(check_count("trigger messages", number, least=_MIN_MESSAGES))
        elif unit == "fraction":
            tokens.append(_tokens_of_fraction(number, model))
        else:
            msg = f"The unit of a trigger must be 'tokens', 'messages' or 'fraction', got {shown(unit, 40)}."
            raise InvalidInputError(msg)
    return Budget(counter, min(tokens, default=None), min(messages, default=None))


def _tokens_of_fraction(fraction: Any, model: Any) -> int:
    if isinstance(fraction, bool) or not isinstance(fraction, (int, float)) or not 0 < fraction <= 1:
        msg = f"The fraction of a trigger must be a number above 0 and at most 1, got {shown(fraction, 40)}."
        raise InvalidInputError(msg)
    limit = input_limit(model)
    if limit is None:
        msg = (
            "A trigger by fraction needs a model whose profile states max_input_tokens. Pass ('tokens', …), or a model "
            "with a profile."
        )
        raise InvalidInputError(msg)
    return max(_MIN_TOKENS, int(limit * fraction))


def summary_model(model: Any) -> Runnable[Any, Any] | None:
    """Return the runnable that writes summaries; None if there is none.

    Raises:
        InvalidTypeError: The argument is not a model, a name, a function or None.
    """
    model = chat_model(model)
    if model is None or isinstance(model, Runnable):
        return model
    if callable(model):
        return RunnableLambda(model)
    msg = (
        f"model must be a chat model, its name, a function of messages, or None, got {type(model).__name__}: "
        f"{shown(model)}."
    )
    raise InvalidTypeError(msg)


def checked_tools(tools: Any) -> list[Any]:
    """Return the tools in a list.

    Raises:
        InvalidTypeError: An element is not a tool, a function or a schema.
    """
    given = check_list("tools", tools, "tools")
    for one in given:
        if not isinstance(one, Mapping) and not callable(one) and not hasattr(one, "args_schema"):
            msg = f"tools must hold tools, functions or schemas, got {type(one).__name__}: {shown(one)}."
            raise InvalidTypeError(msg)
    return given


def kept_budget(budget: Budget, keep_recent: int | None) -> Budget:
    """Return the budget of the newest messages that stay unchanged.

    Raises:
        InvalidInputError: It leaves no room for a summary.
    """
    most = budget.max_messages if budget.max_tokens is None else budget.max_tokens
    assert most is not None
    kept = most // 4 if keep_recent is None else check_count("keep_recent", keep_recent, least=0)
    if kept >= most:
        msg = f"keep_recent={kept:,} leaves no room for a summary in a budget of {most:,}. Pass a smaller number."
        raise InvalidInputError(msg)
    return Budget(budget.counter, *((None, kept) if budget.max_tokens is None else (kept, None)))


def summary_bound(max_tokens: int | None, summary_tokens: int | None) -> int:
    """Return the maximum number of tokens of a summary.

    Raises:
        InvalidInputError: It is more than half of `max_tokens`.
    """
    if summary_tokens is None:
        return 400 if max_tokens is None else min(max(64, max_tokens // 8), max_tokens // 2)
    check_count("summary_tokens", summary_tokens, least=_MIN_SUMMARY_TOKENS)
    if max_tokens is not None and summary_tokens > max_tokens // 2:
        msg = (
            f"summary_tokens={summary_tokens:,} is more than half of max_tokens={max_tokens:,}. Pass a smaller number."
        )
        raise InvalidInputError(msg)
    return summary_tokens


def input_bound(model: Any, max_tokens: int | None, input_tokens: int | None) -> int:
    """Return the maximum number of tokens of messages in one call to the model that writes summaries."""
    if input_tokens is not None:
        return check_count("input_tokens", input_tokens)
    limit = input_limit(model)
    return max(_MIN_INPUT_TOKENS, max_tokens or 0) if limit is None else int(limit * _SHARE_OF_LIMIT)
