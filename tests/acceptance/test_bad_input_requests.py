"""Hostile requests: no key leads out of the store, no web page from elsewhere gets an answer."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable
from urllib.parse import quote, urlsplit

import pytest

from factflow_testing.server_process import Finished, ServerProcess

Typed = Callable[..., Finished]
SECRET = "not for everybody"
OUTSIDE = [
    "../outside.txt",
    "executions/../../outside.txt",
    "../../../../../../etc/passwd",
    "/etc/passwd",
    "executions//etc/passwd",
    "..\\outside.txt",
    "executions/a\x00b",
    "executions/a\nb",
    "",
]
ENCODINGS = {
    "as it is": lambda key: quote(key, safe="/.\\"),
    "encoded": lambda key: "".join(f"%{byte:02x}" for byte in key.encode()),
    "twice encoded": lambda key: quote(quote(key, safe="").replace(".", "%2e"), safe=""),
}


@pytest.fixture(autouse=True)
def secret(strict_server: ServerProcess) -> None:
    """Something beside the store that must not be read."""
    (strict_server.data_dir / "outside.txt").write_text(SECRET)


def _ask(server: ServerProcess, method: str, target: str, **headers: str) -> tuple[int, bytes]:
    """Send a request as it stands, which no well-meaning client would."""
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=30)
    try:
        connection.putrequest(method, target, skip_host="Host" in headers)
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("key", OUTSIDE)
@pytest.mark.parametrize("place", ["objects", "metadata"])
def test_no_key_leads_out_of_the_store_through_the_api(
    strict_server: ServerProcess, key: str, encoding: str, place: str
) -> None:
    target = f"/api/v1/storage/{place}/{ENCODINGS[encoding](key)}"
    status, body = _ask(strict_server, "GET", target)
    if key == "" and place == "objects":
        return  # that is the listing
    assert status in {404, 422}
    answer = json.loads(body)
    assert answer["error_code"] in {"key_refused", "object_not_found", "endpoint_not_found"}
    assert SECRET not in body.decode()
    assert "root:" not in body.decode()


@pytest.mark.parametrize(
    ("command", "key", "code"),
    [
        ("get", "../../etc/passwd", 7),
        ("get", "/etc/passwd", 7),
        ("get", "..%2Foutside.txt", 6),
        ("metadata", "executions/../../outside.txt", 7),
    ],
)
def test_no_key_leads_out_of_the_store_through_the_command_line(
    strict_server: ServerProcess, typed: Typed, command: str, key: str, code: int
) -> None:
    err = typed(strict_server, "storage", command, key).refused(code)
    assert key in err


@pytest.mark.parametrize("prefix", ["..", "../..", "/", "/etc", "executions/../.."])
def test_no_prefix_lists_what_is_outside(strict_server: ServerProcess, prefix: str) -> None:
    answer = strict_server.api.get("/storage/objects", params={"prefix": prefix})
    if answer.is_success:
        assert all(found["key"].startswith("executions/") for found in answer.json()["objects"])
    else:
        assert (answer.status_code, answer.json()["error_code"]) == (422, "key_refused")


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "", "169.254.169.254", "evil@evil.example"]
)
def test_a_host_name_that_is_not_loopback_is_refused(
    strict_server: ServerProcess, host: str
) -> None:
    status, body = _ask(strict_server, "GET", "/api/v1/executions", Host=host)
    assert (status, json.loads(body)["error_code"]) == (403, "host_refused")


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://localhost.evil.example"]
)
def test_a_web_page_from_elsewhere_can_neither_read_nor_start_anything(
    strict_server: ServerProcess, origin: str
) -> None:
    before = strict_server.get("/configs", active="all")["total"]
    for method, target in (("GET", "/api/v1/executions"), ("POST", "/api/v1/configs")):
        status, body = _ask(strict_server, method, target, Origin=origin)
        assert (status, json.loads(body)["error_code"]) == (403, "origin_refused")
    assert strict_server.get("/configs", active="all")["total"] == before
