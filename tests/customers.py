"""A schema of profiles with objects, unions, sets and aliases, and the changes of its fields that models propose."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from langchain_agentmem import UserProfile


class Home(BaseModel):
    city: str
    street: str
    door: str | None = None


class Card(BaseModel):
    model_config = ConfigDict(extra="forbid")
    kind: Literal["card"]
    number: str


class Account(BaseModel):
    model_config = ConfigDict(extra="forbid")
    kind: Literal["account"]
    iban: str


class Trip(BaseModel):
    start: int | None = None
    end: int | None = None

    @model_validator(mode="after")
    def _in_order(self) -> Trip:
        if self.start is not None and self.end is not None and self.start > self.end:
            msg = "it ends before it starts"
            raise ValueError(msg)
        return self


class Customer(UserProfile):
    home: Home | None = None
    office: Home | None = None
    homes: dict[str, Home] = Field(default_factory=dict)
    pets: list[dict[str, str]] = Field(default_factory=list)
    tags: list[str] = Field(default_factory=list)
    sizes: set[int] = Field(default_factory=set)
    born: date | None = None
    milk: Literal["none", "some"] | None = None
    payment: Annotated[Card | Account, Field(discriminator="kind")] | None = None
    trip: Trip = Trip()
    zip_code: str | None = Field(default=None, validation_alias="zipCode", serialization_alias="ZIP")


def put(field: str | list[str], value: Any) -> dict[str, Any]:
    return {"action": "update", "field": field, "value": value}


def more(field: str, value: Any) -> dict[str, Any]:
    return {"action": "add", "field": field, "value": value}


def drop(field: str, *value: Any, reason: str = "ended") -> dict[str, Any]:
    return {"action": "remove", "field": field, "reason": reason, **({"value": value[0]} if value else {})}
