"""The OpenAPI document of the HTTP API: complete, and true for every request that it describes."""

from __future__ import annotations

import asyncio

import httpx
import older_hypothesis
import pytest
import schemathesis
from examples import examples
from fastapi.routing import APIRoute
from hypothesis import HealthCheck, Phase, settings
from requests_of_routes import client, echo
from schemathesis.checks import not_a_server_error
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


def _app() -> object:
    memory = AgentMemory.from_url("sqlite:///:memory:")
    return create_app(memory, agents={"rag-agent": echo}, api_keys={KEY: Access()}, limits=ServingLimits(rate=None))


APP = _app()


def _schema(*, coverage: bool) -> schemathesis.BaseSchema:
    config = schemathesis.Config.from_dict({"phases": {"coverage": {"enabled": coverage}}})
    return schemathesis.openapi.from_dict(APP.openapi(), config=config)


SCHEMA = _schema(coverage=False)
COVERAGE = _schema(coverage=True)
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
RUNNER = asyncio.Runner()


@SCHEMA.parametrize()
@settings(
    max_examples=examples(20),
    phases=[Phase.explicit, Phase.generate],
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
def test_every_answer_is_as_the_document_says(case):
    check(case)


@COVERAGE.parametrize()
@settings(phases=[Phase.explicit], deadline=None, suppress_health_check=list(HealthCheck))
@pytest.mark.exhaustive
def test_every_answer_to_systematic_requests_is_as_the_document_says(case):
    """Boundaries, missing and repeated parts, and wrong types of every parameter, one at a time."""
    check(case)


def check(case: schemathesis.Case) -> None:
    """Send a request, and compare the answer with the document."""
    given = case.as_transport_kwargs(base_url="http://localhost:7777", headers={"X-API-Key": KEY})
    given["content"] = given.pop("data", None)
    given["headers"] = {name: value.encode("latin-1") for name, value in given["headers"].items()}
    cookies = given.pop("cookies", None)
    assert not cookies

    async def send() -> httpx.Response:
        async with client(APP, KEY) as session:
            return await session.request(**{name: value for name, value in given.items() if value is not None})

    answer = RUNNER.run(send())
    assert answer.status_code < 500, answer.text
    case.validate_response(answer, checks=CHECKS)


def test_every_route_is_described_with_an_example():
    document = APP.openapi()
    for route in APP.routes:
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
