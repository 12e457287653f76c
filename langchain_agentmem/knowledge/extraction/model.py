"""Calls of the model that proposes changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, cast

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_core.runnables import Runnable

from langchain_agentmem.arguments.nesting import MAX_ANSWER_DEPTH, is_deeper
from langchain_agentmem.arguments.values import shown
from langchain_agentmem.errors import AgentMemError, InvalidInputError, InvalidTypeError
from langchain_agentmem.knowledge.extraction.proposals import TOOL, RefusedError, UnusableAnswerError
from langchain_agentmem.messages.callbacks import without_streaming
from langchain_agentmem.messages.limits import tool_calling
from langchain_agentmem.programs import Ask, Program, Within
from langchain_agentmem.programs.signals import came_by_signal
from langchain_agentmem.text.thoughts import without_thoughts

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig

Method = Literal["auto", "tools", "json_schema", "json"]

_NOSTREAM = "nostream"
"""LangGraph's `TAG_NOSTREAM`: LangGraph does not stream the tokens of a call with this tag to the user."""

_NOT_ACCEPTED = (400, 413, 422)
"""HTTP statuses of a provider that never accepts these messages: they are too long, filtered or not valid."""


class ModelFailedError(AgentMemError):
    """The model did not answer: a rate limit, an outage or a timeout."""


class ProposingModel:
    """A chat model that is asked for changes in the form of a JSON schema.

    Args:
        model: The chat model.
        method: How to ask for the form. `"auto"` is `"tools"` if the model supports tools, else `"json"`.
        schema: JSON schema of an answer.
        seconds: Time limit of a call.

    Raises:
        InvalidTypeError: The model is not a chat model.
        InvalidInputError: The method is unknown.
    """

    def __init__(self, model: Any, method: str, schema: dict[str, Any], seconds: float) -> None:
        if not isinstance(model, Runnable):
            msg = f"model must be a chat model; got {type(model).__name__}: {shown(model)}."
            raise InvalidTypeError(msg)
        if method == "auto":
            method = "tools" if _supports_tools(model) else "json"
        self.schema_in_prompt = schema if method == "json" else None
        """The schema if the prompt must state it; None if the provider gets it in another way."""
        self._runnable = _bound(_unstreamed(model), method, schema)
        self._seconds = seconds

    def ask(self, prompt: Sequence[BaseMessage], config: RunnableConfig | None) -> Program[Any]:
        """Call the model once, and return its answer.

        Args:
            prompt: The prompt.
            config: Config of the run.

        Raises:
            ModelFailedError: The model did not answer.
            RefusedError: The model, or its provider, refused the messages.
            UnusableAnswerError: The answer was cut off.
        """
        given = without_streaming(config)
        quiet = cast("RunnableConfig", {**given, "tags": [*(given.get("tags") or ()), _NOSTREAM]})
        try:
            return (yield from Within(Ask(self._runnable, prompt, quiet), self._seconds))
        except Exception as error:  # each provider raises its own
            if came_by_signal(error):
                raise
            raise _failure(error) from error


def _bound(model: Any, method: str, schema: dict[str, Any]) -> Runnable[Any, Any]:
    if method == "tools":
        function = {"name": TOOL, "description": schema["description"], "parameters": schema}
        return cast(
            "Runnable[Any, Any]", model.bind_tools([{"type": "function", "function": function}], tool_choice="any")
        )
    if method == "json_schema":
        structured = model.with_structured_output(schema, method="json_schema", include_raw=True)
        return cast("Runnable[Any, Any]", structured)
    if method == "json":
        return cast("Runnable[Any, Any]", model)
    msg = f"method must be auto, tools, json_schema or json; got {shown(method)}."
    raise InvalidInputError(msg)


def _unstreamed(model: Any) -> Any:
    """Return a model that answers in one piece: a stream that ends early would look like a complete answer."""
    if isinstance(model, BaseChatModel) and getattr(model, "streaming", False) is True:
        return model.model_copy(update={"streaming": False})
    return model


def _supports_tools(model: Any) -> bool:
    binds = isinstance(model, BaseChatModel) and type(model).bind_tools is not BaseChatModel.bind_tools
    return binds and tool_calling(model) is not False


def text_of_answer(answer: Any) -> str:
    """Return an answer as text, to show it to the model again: the arguments of its tool calls, or its text."""
    message = answer["raw"] if isinstance(answer, dict) and "raw" in answer else answer
    calls = getattr(message, "tool_calls", None) or getattr(message, "invalid_tool_calls", None)
    if calls:
        args = [call.get("args") for call in calls]
        return "" if is_deeper(args, MAX_ANSWER_DEPTH) else str(args)
    return without_thoughts(str(getattr(message, "text", message) or ""))


def _failure(error: Exception) -> AgentMemError:
    """Map an error of a model to ours. Some clients raise for an answer that was cut off or filtered."""
    name = type(error).__name__
    if "LengthFinishReason" in name or "OutputParser" in name:
        return UnusableAnswerError(
            "The answer was cut off, or could not be read. Propose fewer changes, in shorter words."
        )
    if "ContentFilter" in name or "Refusal" in name:
        return RefusedError(f"The model refused: {error!s:.300}")
    if _status(error) in _NOT_ACCEPTED:
        return RefusedError(f"The provider does not accept these messages: {name}: {error!s:.300}")
    return ModelFailedError(f"{name}: {error!s:.500}")


def _status(error: Exception) -> int | None:
    """Return the HTTP status of a provider's answer; None if the error does not tell it."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):  # botocore
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        return status if isinstance(status, int) else None
    for holder in (error, response):
        for name in ("status_code", "status", "code"):
            if isinstance(found := getattr(holder, name, None), int):
                return found
    return None
