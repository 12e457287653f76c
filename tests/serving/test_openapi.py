"""The OpenAPI document of the HTTP API: complete, and true for every request that it describes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import httpx
import older_hypothesis
import pytest
import schemathesis
from examples import repetitions
from fastapi import FastAPI
from fastapi.routing import APIRoute
from hypothesis import HealthCheck, Phase, settings
from requests_of_routes import client, echo
from schemathesis.checks import not_a_server_error
from schemathesis.schemas import BaseSchema
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from langchain_agentmem import AgentMemory
from langchain_agentmem.serving import Access, ServingLimits, create_app

older_hypothesis.support()

KEY = "a-key-for-the-tests"


@schemathesis.serializer("application/x-ndjson")
def _lines(_, value: object) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode(errors="replace")


@pytest.fixture(scope="module")
def app() -> Iterator[FastAPI]:
    with AgentMemory.from_url("sqlite:///:memory:") as memory:
        yield create_app(memory, agents={"rag-agent": echo}, api_keys={KEY: Access()}, limits=ServingLimits(rate=None))


def _schema(app: FastAPI, *, coverage: bool) -> BaseSchema:
    config = schemathesis.Config.from_dict({"phases": {"coverage": {"enabled": coverage}}})
    return schemathesis.openapi.from_dict(app.openapi(), config=config)


@pytest.fixture(scope="module")
def described(app: FastAPI) -> BaseSchema:
    return _schema(app, coverage=False)


@pytest.fixture(scope="module")
def covered(app: FastAPI) -> BaseSchema:
    return _schema(app, coverage=True)


@pytest.fixture(autouse=True)
def _node_id(request: pytest.FixtureRequest) -> None:
    """Schemathesis reads the attribute, which pytest 9.2 replaced by `nodeid`."""
    request.node._nodeid = request.node.nodeid


# The operations are subtests of one test: only the process that runs it creates the application and the examples.
DESCRIBED = schemathesis.pytest.from_fixture("described")
COVERED = schemathesis.pytest.from_fixture("covered")
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
RUNNER = asyncio.Runner()


@DESCRIBED.parametrize()
@settings(
    max_examples=repetitions(20),
    phases=[Phase.explicit, Phase.generate],
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
def test_every_answer_is_as_the_document_says(app, case):
    check(app, case)


@COVERED.parametrize()
@settings(phases=[Phase.explicit], deadline=None, suppress_health_check=list(HealthCheck))
@pytest.mark.exhaustive
def test_every_answer_to_systematic_requests_is_as_the_document_says(app, case):
    """Boundaries, missing and repeated parts, and wrong types of every parameter, one at a time."""
    check(app, case)


def check(app: FastAPI, case: schemathesis.Case) -> None:
    """Send a request, and compare the answer with the document."""
    given = case.as_transport_kwargs(base_url="http://localhost:7777", headers={"X-API-Key": KEY})
    given["content"] = given.pop("data", None)
    given["headers"] = {name: value.encode("latin-1") for name, value in given["headers"].items()}
    cookies = given.pop("cookies", None)
    assert not cookies

    async def send() -> httpx.Response:
        async with client(app, KEY) as session:
            return await session.request(**{name: value for name, value in given.items() if value is not None})

    answer = RUNNER.run(send())
    assert answer.status_code < 500, answer.text
    case.validate_response(answer, checks=CHECKS)


def test_every_route_is_described_with_an_example(app):
    document = app.openapi()
    for route in app.routes:
        if isinstance(route, APIRoute):
            for method in route.methods:
                described = document["paths"][route.path_format][method.lower()]
                assert described["description"], route.path
                assert described["tags"]
                assert all("description" in one for one in described.get("parameters", ())), route.path
                good = next(one for status, one in described["responses"].items() if status.startswith("2"))
                assert good.get("content"), route.path
                problems = [one for status, one in described["responses"].items() if not status.startswith("2")]
                assert problems or route.path == "/health"
                assert all(list(one["content"]) == ["application/problem+json"] for one in problems)
                if "/v1/" in route.path:
                    assert {"401", "403", "422", "429", "500", "503"} <= described["responses"].keys()
                    assert described["security"] == [{"APIKeyHeader": []}, {"HTTPBearer": []}]
    without = [name for name, one in document["components"]["schemas"].items() if not one.get("description")]
    assert [name for name in without if not name.startswith("Listing") and name != "JsonValue"] == []
