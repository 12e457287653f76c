"""Fields of Pydantic models that a profile cannot hold: secrets, and fields that are read from a path in the input."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args, get_origin

from pydantic import AliasChoices, AliasPath, BaseModel, Secret, SecretBytes, SecretStr

from langchain_agentmem.errors import InvalidInputError

_SECRETS = (Secret, SecretStr, SecretBytes)


def check_fields(model: type[BaseModel]) -> None:
    """Refuse a model with fields that a profile cannot hold.

    Args:
        model: The model. Models in it are not checked.

    Raises:
        InvalidInputError: A field is secret, or has no other name than an `AliasPath`.

    Example:
        >>> from pydantic import BaseModel, SecretStr
        >>> from langchain_agentmem.knowledge.facts.unsupported_fields import check_fields
        >>> class Customer(BaseModel):
        ...     pin: SecretStr
        >>> check_fields(Customer)
        Traceback (most recent call last):
        ...
        langchain_agentmem.errors.InvalidInputError: The field pin of the schema Customer is a SecretStr. ...
    """
    for name, info in model.model_fields.items():
        secret = next((one for one in _types_in(info.annotation) if issubclass(one, _SECRETS)), None)
        if secret is not None:
            msg = (
                f"The field {name} of the schema {model.__name__} is a {secret.__name__}. Profiles are shown to models, so "
                "they cannot keep secrets. Remove the field from the schema, or declare it as a plain type."
            )
            raise InvalidInputError(msg)
        given = info.validation_alias
        choices = given.choices if isinstance(given, AliasChoices) else [given]
        if all(isinstance(one, AliasPath) and len(one.path) > 1 for one in choices):
            msg = (
                f"The field {name} of the schema {model.__name__} is read from a path only ({choices[0]}). A profile needs a "
                f'name to store it under. Use AliasChoices("{name}", …) with the path as the second choice.'
            )
            raise InvalidInputError(msg)


def _types_in(annotation: Any) -> Iterator[type]:
    """Yield the classes in an annotation, such as `list[X] | None`."""
    plain = get_origin(annotation) or annotation
    if isinstance(plain, type):
        yield plain
    for one in get_args(annotation):
        yield from _types_in(one)
