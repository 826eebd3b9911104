"""Every error has one shape, whatever it is."""

from __future__ import annotations

import re
from pathlib import Path

import httpx2
import pytest

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", "/nothing", None, 404, "endpoint_not_found"),
        ("DELETE", "/system/health", None, 405, "method_not_allowed"),
        ("POST", "/configs", b"{", 400, "invalid_request"),
        ("POST", "/configs", b"{}", 422, "invalid_request"),
        ("POST", "/configs", b'{"config_yaml": "a", "colour": 1}', 422, "invalid_request"),
        ("POST", "/configs", b'{"config_yaml": "\\ud800"}', 422, "invalid_request"),
        ("GET", "/configs?limit=0", None, 422, "invalid_request"),
        ("GET", "/executions?status=sleeping", None, 422, "invalid_request"),
        ("GET", "/executions/nobody", None, 404, "execution_not_found"),
        ("GET", "/executions/nobody/dag", None, 404, "execution_not_found"),
        ("POST", "/executions/nobody/wait", None, 404, "execution_not_found"),
        ("POST", "/executions/nobody/cancel", None, 404, "execution_not_found"),
        ("POST", "/executions", b'{"config_id": "nobody"}', 404, "config_not_found"),
        ("PATCH", "/executions/nobody", b'{"status": "completed"}', 422, "invalid_request"),
        ("POST", "/executions/nobody/wait", b'{"timeout": 0}', 422, "invalid_request"),
        ("GET", "/lineage/nobody", None, 404, "lineage_not_found"),
        ("GET", "/lineage/nobody/chain", None, 404, "lineage_not_found"),
        ("GET", "/lineage?started_after=soon", None, 422, "invalid_request"),
        ("GET", "/lineage/stats?execution_id=nobody", None, 404, "execution_not_found"),
        ("GET", "/storage/objects/executions/nobody", None, 404, "object_not_found"),
        ("GET", "/storage/metadata/executions/nobody", None, 404, "object_not_found"),
        ("GET", "/storage/objects/a/%2e%2e/%2e%2e/etc/passwd", None, 422, "key_refused"),
        ("GET", "/storage/objects//etc/passwd", None, 422, "key_refused"),
        ("GET", "/storage/objects/a%00b", None, 422, "key_refused"),
        ("GET", "/storage/objects?prefix=../..", None, 422, "key_refused"),
        ("GET", "/adapters/nobody", None, 404, "adapter_not_found"),
    ],
)
async def test_a_bad_request_is_answered_in_the_one_shape(
    shared_client: httpx2.AsyncClient,
    method: str,
    path: str,
    body: bytes | None,
    status: int,
    code: str,
) -> None:
    answer = await shared_client.request(
        method,
        path,
        content=body,
        headers={"X-Correlation-ID": "the-one"}
        | ({"Content-Type": "application/json"} if body else {}),
    )
    error = answer.json()
    assert (answer.status_code, error["error_code"]) == (status, code), answer.text
    assert error["detail"]
    assert error["correlation_id"] == answer.headers["X-Correlation-ID"] == "the-one"
    assert error["timestamp"].endswith("+00:00")


async def test_wrong_fields_are_named_without_their_values(
    shared_client: httpx2.AsyncClient,
) -> None:
    answer = await shared_client.post("/configs", json={"config_yaml": {"password": "hunter2"}})
    assert "body.config_yaml" in answer.json()["detail"]
    assert "hunter2" not in answer.text


async def test_a_body_that_is_not_called_json_is_told_so(shared_client: httpx2.AsyncClient) -> None:
    answer = await shared_client.post("/executions", content=b'{"config_id": "nobody"}')
    assert (answer.status_code, answer.json()["error_code"]) == (415, "unsupported_media_type")
    assert "Content-Type: application/json" in answer.json()["hint"]


async def test_the_api_describes_itself(shared_client: httpx2.AsyncClient) -> None:
    described = (await shared_client.get("http://127.0.0.1:8000/openapi.json")).json()
    operations = [operation for path in described["paths"].values() for operation in path.values()]
    ids = [operation["operationId"] for operation in operations]
    assert len(ids) == len(set(ids))
    assert {"run_config", "replay_execution", "get_lineage_chain"} <= set(ids)
    assert all(operation["tags"] and operation["description"] for operation in operations)


async def test_the_written_page_tells_of_every_endpoint(shared_client: httpx2.AsyncClient) -> None:
    page = Path(__file__).parents[4] / "docs" / "reference" / "http-api.md"
    told = set(re.findall(r"`(GET|POST|PUT|PATCH|DELETE) (/[^`]*)`", page.read_text()))
    written = {(method, re.sub(r"{[^}]*}", "{}", path)) for method, path in told}
    described = (await shared_client.get("http://127.0.0.1:8000/openapi.json")).json()
    served = {
        (method.upper(), re.sub(r"{[^}]*}", "{}", path.removeprefix("/api/v1")))
        for path, operations in described["paths"].items()
        for method in operations
    }
    assert written == served
