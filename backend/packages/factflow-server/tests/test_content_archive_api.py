"""Archives made behind the work: prepared, looked after, fetched, and gone."""

from __future__ import annotations

import asyncio
import io
import tarfile
from pathlib import Path
from typing import Any

import httpx2
import pytest

from factflow_protocols.errors import StorageUnavailableError
from factflow_server.app import create_app
from factflow_server.archive_jobs import KEPT_JOBS
from factflow_server.container import Container
from factflow_server.settings import ServerSettings
from factflow_server.startup import running
from factflow_server.storage_archive import SUMMARY
from factflow_testing.waiting import eventually

BASE = "http://127.0.0.1:8000/api/v1"


async def _ended(client: httpx2.AsyncClient, config_yaml: str) -> str:
    config = (await client.post("/configs", json={"config_yaml": config_yaml})).json()["id"]
    execution = str((await client.post(f"/configs/{config}/run")).json()["id"])
    await client.post(f"/executions/{execution}/wait", json={"timeout": 30})
    return execution


async def _prepare(client: httpx2.AsyncClient, execution: str, **more: Any) -> dict[str, Any]:
    body = {"execution_id": execution, **more}
    answer = await client.post("/content/archive/prepare", json=body)
    assert answer.status_code == 200, answer.text
    job: dict[str, Any] = answer.json()
    return job


async def _over(client: httpx2.AsyncClient, job: dict[str, Any]) -> dict[str, Any]:
    status: dict[str, Any] = {}

    async def over() -> bool:
        status.update((await client.get(f"/content/archive/{job['job_id']}/status")).json())
        return bool(status["status"] != "preparing")

    await eventually(over)
    return status


async def _names(client: httpx2.AsyncClient, job: dict[str, Any]) -> list[str]:
    answer = await client.get(f"/content/archive/{job['job_id']}/download")
    assert answer.status_code == 200, answer.text
    with tarfile.open(fileobj=io.BytesIO(answer.content)) as archive:
        return [name for name in archive.getnames() if name != SUMMARY]


async def test_an_archive_is_prepared_fetched_and_deleted(
    client: httpx2.AsyncClient, numbers_yaml: str, settings: ServerSettings
) -> None:
    """It holds what a streamed one holds, in ranges too, and leaves nothing behind."""
    execution = await _ended(client, numbers_yaml)
    job = await _prepare(client, execution)
    status = await _over(client, job)
    assert (status["status"], status["error"]) == ("ready", None)
    assert status["processed"] == status["total"] == job["total"] > 0
    where = f"/content/archive/{job['job_id']}"
    fetched = await client.get(f"{where}/download")
    assert job["filename"] in fetched.headers["content-disposition"]
    streamed = await client.get("/storage/archive", params={"execution_id": execution})
    assert fetched.content == streamed.content
    assert len(fetched.content) == status["file_size"]
    part = await client.get(f"{where}/download", headers={"Range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, fetched.content[100:200])
    assert (await client.delete(where)).status_code == 204
    for path in ("status", "download"):
        gone = await client.get(f"{where}/{path}")
        assert (gone.status_code, gone.json()["error_code"]) == (404, "archive_not_found")
    assert list((settings.data_dir / "archives").iterdir()) == []


async def test_an_archive_holds_what_was_asked_for(
    client: httpx2.AsyncClient, numbers_yaml: str
) -> None:
    """A stage, routes, a path below them, an extension; records, or not."""
    execution = await _ended(client, numbers_yaml)

    async def names(**what: Any) -> list[str]:
        job = await _prepare(client, execution, **what)
        assert (await _over(client, job))["total"] == job["total"]
        found = await _names(client, job)
        assert len(found) == job["total"]
        return found

    below = f"executions/{execution}"
    squares = await names(stage="square")
    assert squares
    assert all(name.startswith(f"{below}/numbers/square/") for name in squares)
    plain = await names(stages=["square"], routes=["numbers"], include_metadata=False)
    assert plain == [name for name in squares if not name.endswith(".meta.json")]
    assert await names(extension=".json,.txt", stage="square") == plain
    first = plain[0].rpartition("/")[2]
    assert await names(stage="square", path=first) == [plain[0]]
    assert await names(stage="square", routes=["squares"]) == []
    for wrong, code in (
        ({"stage": "nowhere"}, "stage_not_found"),
        ({"routes": ["nowhere"]}, "route_not_found"),
        ({"domain": "chat"}, "invalid_request"),
        ({"execution_id": "nobody"}, "execution_not_found"),
    ):
        body = {"execution_id": execution, **wrong}
        refused = await client.post("/content/archive/prepare", json=body)
        assert refused.json()["error_code"] == code


async def test_archives_that_are_under_way_are_cancelled_bounded_and_end_with_trouble(
    settings: ServerSettings, numbers_yaml: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Storage that does not answer holds them; with an error it fails them. The next server has none."""
    async with running(settings) as container:
        transport = httpx2.ASGITransport(app=create_app(container))
        async with httpx2.AsyncClient(transport=transport, base_url=BASE) as client:
            execution = await _ended(client, numbers_yaml)
            kept = await _prepare(client, execution)
            await _over(client, kept)
            answers = _slow_storage(container, monkeypatch)
            jobs = [await _prepare(client, execution) for _ in range(KEPT_JOBS)]
            oldest = await client.get(f"/content/archive/{kept['job_id']}/status")
            assert oldest.status_code == 404, "it made room"
            full = await client.post("/content/archive/prepare", json={"execution_id": execution})
            assert (full.status_code, full.json()["error_code"]) == (429, "too_many_archives")
            early = await client.get(f"/content/archive/{jobs[0]['job_id']}/download")
            assert (early.status_code, early.json()["error_code"]) == (409, "archive_not_ready")
            assert (await client.delete(f"/content/archive/{jobs[0]['job_id']}")).status_code == 204
            assert (await _over(client, jobs[0]))["status"] == "cancelled"
            answers.set()
            failed = await _over(client, jobs[1])
            assert (failed["status"], failed["error"]) == ("failed", "the disk is gone")
    (settings.data_dir / "archives").mkdir()
    (settings.data_dir / "archives" / "left.tar").touch()
    async with running(settings):
        assert not (settings.data_dir / "archives").exists()


def _slow_storage(container: Container, monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Have reads of objects wait for an event, and then fail."""
    answers = asyncio.Event()

    async def read(_key: str) -> bytes:
        await answers.wait()
        raise StorageUnavailableError("the disk is gone")

    monkeypatch.setattr(container.storage, "read", read)
    return answers
