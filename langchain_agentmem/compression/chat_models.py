"""Chat models that are named by a string."""

from __future__ import annotations

from typing import Any

from langchain_agentmem.arguments.ids import check_content
from langchain_agentmem.arguments.values import shown
from langchain_agentmem.errors import ConfigurationError, InvalidInputError, missing_extra


def chat_model(model: Any) -> Any:
    """Return the chat model with a name such as `"openai:gpt-4o-mini"`; any other object unchanged.

    Raises:
        ConfigurationError: LangChain is not installed, or it knows no such model.
        InvalidInputError: The name is empty.
    """
    if not isinstance(model, str):
        return model
    try:
        from langchain.chat_models import init_chat_model
    except ImportError:
        raise missing_extra(what=f"Creating a chat model from its name ({shown(model)})", extra="agents") from None
    try:
        return init_chat_model(check_content("model", model))
    except (ImportError, ValueError) as error:
        if isinstance(error, InvalidInputError):
            raise
        msg = f"Could not create the model {shown(model)}: {error!s:.300} Pass a name such as 'openai:gpt-4o-mini'."
        raise ConfigurationError(msg) from error
