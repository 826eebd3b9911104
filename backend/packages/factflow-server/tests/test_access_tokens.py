"""Who may ask what, with tokens; where a server may listen without any."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest
import pytest_asyncio
from pydantic import SecretStr

from factflow_server.access_tokens import AccessTokens, TokensInvalidError
from factflow_server.app import create_app
from factflow_server.settings import HostRefusedError, ServerSettings, check_host
from factflow_server.startup import running

OPERATOR = "operator-token-0123"
READER = "reader-token-4567"
TOKENS = f"alice:operator:{OPERATOR}, dash.board:read:{READER}"


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def guarded(shared_settings: ServerSettings) -> AsyncIterator[httpx2.AsyncClient]:
    """A server with tokens that may be called factflow.internal."""
    update = {"api_tokens": SecretStr(TOKENS), "allowed_hosts": ("factflow.internal",)}
    async with running(shared_settings.model_copy(update=update)) as container:
        transport = httpx2.ASGITransport(app=create_app(container))
        base = "http://factflow.internal:8000/api/v1"
        async with httpx2.AsyncClient(transport=transport, base_url=base, timeout=60) as client:
            yield client


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    "headers",
    [{}, bearer("wrong-token-000000"), {"Authorization": f"Basic {OPERATOR}"}, bearer("")],
)
@pytest.mark.parametrize("path", ["/system/health", "/nothing", "http://127.0.0.1/openapi.json"])
async def test_without_a_known_token_nothing_is_told(
    guarded: httpx2.AsyncClient, headers: dict[str, str], path: str
) -> None:
    answer = await guarded.get(path, headers=headers)
    assert (answer.status_code, answer.json()["error_code"]) == (401, "unauthenticated")
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert "wrong-token" not in answer.text


@pytest.mark.asyncio(loop_scope="module")
async def test_reading_is_all_a_reader_may(guarded: httpx2.AsyncClient, numbers_yaml: str) -> None:
    """Also POSTs that change nothing: validation, waiting, and replays with `dry_run`."""
    config = {"config_yaml": numbers_yaml}
    created = await guarded.post("/configs", json=config, headers=bearer(OPERATOR))
    run = await guarded.post(f"/configs/{created.json()['id']}/run", headers=bearer(OPERATOR))
    reader = bearer(READER)
    path = f"/executions/{run.json()['id']}"
    assert (await guarded.get(path, headers=reader)).status_code == 200
    assert (await guarded.post(f"{path}/wait", headers=reader)).status_code == 200
    assert (await guarded.post("/configs/validate", json=config, headers=reader)).is_success
    replay = {"from_stage": "numbers/square"}
    dry = await guarded.post(f"{path}/replay", json=replay | {"dry_run": True}, headers=reader)
    assert dry.status_code == 200, dry.text
    for method, where, body in (
        ("POST", "/configs", config),
        ("POST", f"/configs/{created.json()['id']}/run", None),
        ("DELETE", f"/configs/{created.json()['id']}", None),
        ("POST", f"{path}/replay", replay),
        ("POST", "/replay", replay | {"from_execution_id": run.json()["id"]}),
        ("POST", f"{path}/cancel", None),
        ("PATCH", "/pipelines/numbers", {"state": "paused"}),
    ):
        answer = await guarded.request(method, where, json=body, headers=reader)
        told = (answer.status_code, answer.json().get("error_code"))
        assert told == (403, "scope_insufficient"), (method, where)


@pytest.mark.asyncio(loop_scope="module")
async def test_a_pause_carries_the_name_of_its_token_and_a_folder_is_the_operators_to_see(
    guarded: httpx2.AsyncClient, shared_settings: ServerSettings
) -> None:
    paused = await guarded.patch(
        "/pipelines/elsewhere", json={"state": "paused"}, headers=bearer(OPERATOR)
    )
    assert paused.json()["pause"]["paused_by"] == "alice"
    seen = (await guarded.get("/system/health", headers=bearer(OPERATOR))).json()
    assert seen["data_dir"] == str(shared_settings.data_dir)
    hidden = await guarded.get("/system/health", headers=bearer(READER))
    assert hidden.json()["data_dir"] is None
    assert str(shared_settings.data_dir) not in hidden.text


@pytest.mark.asyncio(loop_scope="module")
async def test_only_hosts_that_were_allowed_are_answered(guarded: httpx2.AsyncClient) -> None:
    asked = bearer(OPERATOR)
    for host in ("factflow.internal", "FACTFLOW.internal:9", "127.0.0.1"):
        assert (await guarded.get("/system/health", headers=asked | {"Host": host})).is_success
    refused = await guarded.get("/system/health", headers=asked | {"Host": "evil.example"})
    assert refused.json()["error_code"] == "host_refused"
    page = await guarded.get("/system/health", headers=asked | {"Origin": "https://evil.example"})
    assert page.json()["error_code"] == "origin_refused"


@pytest.mark.parametrize(
    "text",
    [
        "alice",
        "alice:operator:short",
        "alice:admin:operator-token-0123",
        ":read:reader-token-4567",
        "alice:read:reader-token-4567\u00e9",
        f"{TOKENS},alice:read:another-token-9999",
    ],
)
def test_a_list_of_tokens_that_cannot_be_read_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(TokensInvalidError) as refused:
        AccessTokens.load(text, None)
    said = refused.value.message + refused.value.hint
    assert not any(token in said for token in ("short", "reader-token", OPERATOR, "another-token"))


def test_tokens_are_read_from_a_file_too_and_shown_nowhere(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text(f"alice:operator:{OPERATOR}\nbob:read:{READER}\n")
    settings = ServerSettings(api_tokens_file=file, api_tokens=SecretStr(f"eve:read:{'e' * 16}"))
    found = settings.tokens.find(READER)
    assert found is not None
    assert (found.name, found.may_change) == ("bob", False)
    assert settings.tokens.find("e" * 16)
    assert settings.tokens.find("E" * 16) is None
    assert "eee" not in f"{settings!r} {settings.tokens!r} {found!r}"


def test_beyond_loopback_only_a_server_with_tokens_listens() -> None:
    assert check_host("0.0.0.0", with_tokens=True) == "0.0.0.0"
    with pytest.raises(HostRefusedError, match="without access tokens"):
        check_host("0.0.0.0")
