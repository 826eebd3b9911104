"""With its objects in a bucket a server keeps all it promises, also when that bucket cannot be reached."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest

from factflow_selftest.pipeline import STATUS, pipeline_yaml
from factflow_testing.crash_matrix import CASES, Case, check_by
from factflow_testing.s3_evidence import BucketEvidence
from factflow_testing.s3_proxy import S3Proxy
from factflow_testing.s3_server import S3Server
from factflow_testing.server_process import (
    Finished,
    ServerDidNotStartError,
    ServerProcess,
    wait_until,
)

Typed = Callable[..., Finished]
DEATHS = (
    "storage.artefact.before:40",
    "storage.artefact.after:60",
    "storage.record.before:70",
    "storage.record.after:30",
    "queue.settle.after:1",
    "plan.write.after:1",
)
COUNT = 12
GATED = f"""
version: "1.0"
name: gated
error_handling: {{max_retries: 3, retry_delay_seconds: 0}}
init_message: {{route: split, payload: {{}}}}
routes:
  split:
    inbound: {{queue: split}}
    adapters:
      - type: labelled_fan
        config: {{count: {COUNT}}}
    outbound: work
  work:
    inbound: {{queue: work, concurrency: 8}}
    adapters:
      - type: gate
      - type: stamp
    outbound: last
  last:
    inbound: {{queue: last}}
    adapters: [{{type: echo}}]
"""


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    """A server that speaks S3."""
    with S3Server() as server:
        yield server


@pytest.fixture(scope="module")
def proxy(s3: S3Server) -> Iterator[S3Proxy]:
    """What lies between."""
    with S3Proxy(s3.url) as proxy:
        yield proxy


@contextlib.contextmanager
def serving(
    s3: S3Server, proxy: S3Proxy, folder: Path, adapters: tuple[str, ...] = ()
) -> Iterator[tuple[ServerProcess, str]]:
    """A server whose objects lie in a new bucket, and the URI of that."""
    uri = f"s3://{s3.make_bucket()}/some/where"
    with ServerProcess(
        folder / "data", *adapters, "--storage-uri", uri, cwd=folder, **s3.environment(proxy.url)
    ) as server:
        yield server, uri


def listed(server: ServerProcess, execution: str) -> list[str]:
    page = server.cli("storage", "list", "-e", execution, "--limit", "1000").done()
    return [found["key"] for found in page["objects"]]


def test_a_run_and_its_replay_leave_all_in_the_bucket(
    s3: S3Server, proxy: S3Proxy, tmp_path: Path, typed: Typed
) -> None:
    with serving(s3, proxy, tmp_path) as (server, uri):
        execution = server.run(server.create(pipeline_yaml(tmp_path / "journal", 8)))
        assert server.end_of(execution)["status"] == STATUS
        assert not (server.data_dir / "storage").exists()
        stored = [row for row in server.rows(execution) if row["outcome"] == "stored"]
        keys = listed(server, execution)
        assert keys == sorted(keys)
        for row in stored[::5]:
            place = f"executions/{execution}/{row['route_id']}/{row['stage']}/{row['message_id']}"
            (key,) = (key for key in keys if key.startswith(place))
            assert hashlib.sha256(server.read(key)).hexdigest() == row["output_hash"]
        [health] = (
            part
            for part in typed(server, "system", "health", "--debug").done()["components"]
            if part["name"] == "storage"
        )
        told = health["debug"]["details"]
        assert (told["kind"], told["uri"], told["endpoint"]) == ("s3", uri, proxy.url)
        body = {"from_stage": "split/selftest_vary"}
        replay = server.post(f"/executions/{execution}/replay", body)["execution_id"]
        assert server.end_of(replay)["status"] == STATUS
        assert f"executions/{replay}/_plan" in listed(server, replay)


@pytest.mark.long
def test_an_export_is_a_store_of_plain_files_and_a_deletion_leaves_nothing(
    s3: S3Server, proxy: S3Proxy, tmp_path: Path, typed: Typed
) -> None:
    with serving(s3, proxy, tmp_path) as (server, _):
        execution = server.run(server.create(pipeline_yaml(tmp_path / "journal", 20)))
        assert server.end_of(execution)["status"] == STATUS
        keys = listed(server, execution)
        exported = typed(server, "storage", "export", "--output-dir", str(tmp_path / "out")).done()
        assert exported["objects"] == len(keys)
        [report] = typed(server, "system", "storage").done()["executions"]
        assert (report["objects"], report["records"]) == (len(keys), exported["records"])
        typed(server, "execution", "delete", execution, "--yes").done()
        assert server.get("/storage/objects", prefix="executions")["objects"] == []
    with ServerProcess(
        tmp_path / "plain", "--storage-uri", (tmp_path / "out").as_uri(), cwd=tmp_path
    ) as plain:
        page = plain.cli("storage", "list", "--prefix", f"executions/{execution}", "--all").done()
        assert [found["key"] for found in page["objects"]] == keys


@pytest.mark.long
@pytest.mark.parametrize("queue_lost", [False, True])
@pytest.mark.parametrize("case", [case for case in CASES if case.point in DEATHS], ids=str)
def test_the_next_server_goes_on_where_the_killed_one_was(
    s3: S3Server, proxy: S3Proxy, tmp_path: Path, case: Case, queue_lost: bool
) -> None:
    evidence = BucketEvidence(tmp_path, s3, proxy)
    with contextlib.closing(evidence.objects):
        check_by(evidence, case, queue_lost=queue_lost)


def _at_the_gate(server: ServerProcess, gate: Path) -> tuple[str, str]:
    config = server.create(GATED)
    execution = server.run(config, gate=str(gate))
    wait_until(
        "messages to wait", lambda: any(row["stage"] == "gate" for row in server.rows(execution))
    )
    return config, execution


def _holds_saying(server: ServerProcess, execution: str, words: str) -> None:
    def told() -> str:
        parts = server.get("/system/health")["components"]
        return " ".join(part["message"] for part in parts if part["name"] == "orchestrator")

    wait_until("the route to hold", lambda: f"{execution}/work: " in told() and words in told())
    assert server.get(f"/executions/{execution}")["status"] == "running"
    assert server.rows(execution, status="failed") == []


def _completes_as_if_nothing_had_happened(server: ServerProcess, execution: str) -> None:
    ended = server.end_of(execution)
    assert (ended["status"], ended["failed_count"]) == ("completed", 0)
    assert ended["message_count"] == 1 + 2 * COUNT
    wait_until("lineage to be whole", lambda: len(server.rows(execution)) == 1 + 3 * COUNT)
    rows = server.rows(execution)
    assert {(row["status"], row["attempts"]) for row in rows} == {("completed", 1)}
    records = [key for key in listed(server, execution) if "/last/" in key]
    assert len(records) == COUNT
    wait_until("all to be well", lambda: server.get("/system/health")["status"] == "healthy")


def test_a_bucket_out_of_reach_holds_all_and_costs_no_message_and_no_attempt(
    s3: S3Server, proxy: S3Proxy, tmp_path: Path, adapters: tuple[str, ...], typed: Typed
) -> None:
    gate = tmp_path / "gate"
    with serving(s3, proxy, tmp_path, adapters) as (server, _):
        config, execution = _at_the_gate(server, gate)
        proxy.break_all()
        try:
            gate.touch()
            words = f"{proxy.url} broke the connection off"
            _holds_saying(server, execution, words)
            said = typed(server, "system", "health")
            assert (said.code, words in str(said.json)) == (8, True)
            answer = server.api.post(f"/configs/{config}/run", json={"init": {"gate": "x"}})
            assert (answer.status_code, answer.json()["error_code"]) == (503, "storage_unavailable")
            assert "hush" not in server.said() + answer.text
        finally:
            proxy.mend()
        _completes_as_if_nothing_had_happened(server, execution)


@pytest.mark.long
def test_a_silent_server_is_waited_for(
    s3: S3Server, proxy: S3Proxy, tmp_path: Path, adapters: tuple[str, ...]
) -> None:
    gate = tmp_path / "gate"
    with serving(s3, proxy, tmp_path, adapters) as (server, _):
        _, execution = _at_the_gate(server, gate)
        s3.pause()
        try:
            gate.touch()
            _holds_saying(server, execution, "did not answer within")
        finally:
            s3.resume()
        _completes_as_if_nothing_had_happened(server, execution)


@pytest.mark.long
def test_a_server_is_killed_while_the_bucket_is_gone_and_the_next_one_goes_on(
    s3: S3Server, proxy: S3Proxy, tmp_path: Path, adapters: tuple[str, ...]
) -> None:
    gate = tmp_path / "gate"
    try:
        with serving(s3, proxy, tmp_path, adapters) as (server, uri):
            _, execution = _at_the_gate(server, gate)
            proxy.break_all()
            gate.touch()
            _holds_saying(server, execution, "broke the connection off")
            server.kill()
        with pytest.raises(ServerDidNotStartError, match="broke the connection off") as refused:
            ServerProcess(tmp_path / "data", *adapters, cwd=tmp_path, **s3.environment(proxy.url))
        assert refused.value.code == 2
        assert "hint: " in str(refused.value)
        assert "Traceback" not in str(refused.value)
    finally:
        proxy.mend()
    with pytest.raises(ServerDidNotStartError, match="keeps its objects in s3://"):
        ServerProcess(tmp_path / "data", "--storage-uri", f"{uri}/other", *adapters)
    with ServerProcess(
        tmp_path / "data", *adapters, cwd=tmp_path, **s3.environment(proxy.url)
    ) as server:
        wait_until(
            "the execution to complete",
            lambda: server.get(f"/executions/{execution}")["status"] == "completed",
        )
        assert server.get(f"/executions/{execution}")["failed_count"] == 0
        assert len([key for key in listed(server, execution) if "/last/" in key]) == COUNT


def test_nothing_is_written_by_a_server_that_was_refused(
    s3: S3Server, proxy: S3Proxy, tmp_path: Path
) -> None:
    bucket = s3.make_bucket()
    proxy.unconditional = True
    try:
        with pytest.raises(ServerDidNotStartError, match="If-None-Match"):
            ServerProcess(
                tmp_path / "data",
                *("--storage-uri", f"s3://{bucket}/x"),
                cwd=tmp_path,
                **s3.environment(proxy.url),
            )
    finally:
        proxy.unconditional = False
    assert not (tmp_path / "data" / "storage.uri").exists()
    assert b"executions" not in httpx2.get(f"{s3.url}/{bucket}", trust_env=False).content
