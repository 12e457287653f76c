"""The chain that the command line plays: `prompt | model` in `RunnableWithMessageHistory`."""

from __future__ import annotations

import warnings
from typing import Any

from langchain_core._api.deprecation import LangChainDeprecationWarning
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.prompt_values import PromptValue
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import ConfigurableFieldSpec, Runnable, RunnableConfig, RunnableLambda
from langchain_core.runnables.history import RunnableWithMessageHistory

from langchain_agentmem.command.demo.step import WINDOW, Step, model_reply, recorded_reply
from langchain_agentmem.memory import AgentMemory


def build_chain(memory: AgentMemory) -> Runnable[Any, Any]:
    """Build the chain.

    Its input is `{"input": [messages]}`, its output the list of answers. The config's `configurable` has `session_id`,
    `user_id`, the `step`, and the `position` in the session at which the turn starts.

    Args:
        memory: The memory that stores the history.
    """
    prompt = ChatPromptTemplate([("placeholder", "{history}"), ("placeholder", "{input}")])
    with warnings.catch_warnings():
        # The deprecation concerns authors of chains, not users of this command.
        warnings.filterwarnings("ignore", ".*RunnableWithMessageHistory", LangChainDeprecationWarning)
        return RunnableWithMessageHistory(
            prompt | RunnableLambda(_answers),
            memory.session_history(max_messages=WINDOW),
            input_messages_key="input",
            history_messages_key="history",
            history_factory_config=[
                ConfigurableFieldSpec(id="session_id", annotation=str, name="Session"),
                ConfigurableFieldSpec(id="user_id", annotation=str, name="User"),
            ],
        )


def _answers(prompt: PromptValue, config: RunnableConfig) -> list[BaseMessage]:
    """Return the answers of the turn: the model's, or the recorded ones."""
    step: Step = config["configurable"]["step"]
    position: int = config["configurable"]["position"]
    messages = prompt.to_messages()
    recorded = step.turn.answers_from(position)
    if model := step.model_at(step.turn.end - len(recorded)):
        return [model_reply(model, messages, config)]
    answers: list[BaseMessage] = []
    for answer in recorded:
        is_reply = isinstance(answer, AIMessage)
        answers.append(recorded_reply(answer, [*messages, *answers], config) if is_reply else answer)
    return answers
