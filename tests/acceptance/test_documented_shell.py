"""The command lines of the documentation, typed into a shell as they stand there."""

from __future__ import annotations

import re
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from factflow_testing.server_process import Finished, ServerProcess, cli, run_command
from factflow_testing.site_process import XML, Page, served_pages, sitemap_of

bash = shutil.which("bash")
pytestmark = pytest.mark.skipif(bash is None, reason="there is no bash here")
needs_jq = pytest.mark.skipif(shutil.which("jq") is None, reason="there is no jq here")

FANNING = """
version: "1.0"
init_message: {route: split, payload: {n: 0}}
routes:
  split:
    inbound: {queue: split}
    adapters:
      - {type: fan, config: {count: 40}}
      - {type: fail, config: {numbers: [41]}}
"""
FAILING = FANNING.replace("[41]", "[7]")
SHARING = """
version: "1.0"
init_message: {route: pages, payload: {n: 0}}
routes:
  pages:
    inbound: {queue: pages}
    adapters: [{type: echo, stage: markdown}]
    outbound: documents
  embeddings_route: {inbound: {queue: documents}, adapters: [{type: echo}]}
"""
CURL = re.compile(
    r"""curl(?:[\s\\]+(?:--?[\w-]+|(?:GET|POST|PUT|PATCH|DELETE)\b|https?://[^\s\\]+|'[^']*'|"[^"]*"))+"""
)
HANGING = """
version: "1.0"
init_message: {route: hang, payload: {n: 0}}
routes:
  hang: {inbound: {queue: hang}, adapters: [{type: hang}]}
"""


def _shell(server: ServerProcess, script: str, **variables: str) -> Finished:
    """Run a script in bash, where `factflow` talks to the server."""
    return run_command(
        bash or "", "-c", script, variables={"FACTFLOW_SERVER_URL": server.url} | variables
    )


@pytest.fixture
def hanging(server: ServerProcess) -> Iterator[str]:
    """An execution that does not end by itself."""
    execution = server.run(server.create(HANGING))
    yield execution
    server.api.post(f"/executions/{execution}/cancel", json={"grace_seconds": 0})


@needs_jq
def test_run_and_wait_in_one_pipe_tells_how_it_ended(server: ServerProcess) -> None:
    script = """
        factflow config run "$CONFIG_ID" | jq -r .execution_id | xargs factflow execution wait
        echo "exit code: $?"
    """
    good = _shell(server, script, CONFIG_ID=server.create(FANNING))
    assert good.out.endswith("exit code: 0\n")
    # xargs reports 123 for any failure of the command it runs, as the reference says.
    bad = _shell(server, script, CONFIG_ID=server.create(FAILING))
    assert bad.out.endswith("exit code: 123\n")


@needs_jq
def test_run_and_wait_with_a_variable_keeps_the_exit_code(server: ServerProcess) -> None:
    script = """
        id=$(factflow config run "$CONFIG_ID" | jq -r .execution_id)
        factflow --timeout 1h execution wait "$id" > /dev/null
    """
    assert _shell(server, script, CONFIG_ID=server.create(FANNING)).code == 0
    assert _shell(server, script, CONFIG_ID=server.create(FAILING)).code == 1


def test_a_listing_cut_off_by_head_is_no_error(server: ServerProcess) -> None:
    execution = server.run(server.create(FANNING))
    server.end_of(execution)
    script = """
        set -o pipefail
        factflow storage list --execution "$EXEC_ID" | head -n 1
        echo "exit codes: ${PIPESTATUS[*]}"
        factflow storage list --execution "$EXEC_ID" --limit 1000 | head
    """
    done = _shell(server, script, EXEC_ID=execution)
    assert "exit codes: 0 0" in done.out
    assert (done.code, done.err) == (0, "")


@needs_jq
def test_the_debugging_walk_from_a_failed_execution_to_its_repair(server: ServerProcess) -> None:
    """Find the failure, follow it to the root, read the bytes that tripped the adapter, run it again."""
    execution = server.run(server.create(FAILING))
    server.end_of(execution)
    script = """
        set -eu -o pipefail
        factflow execution get "$EXEC_ID" | jq -r .status
        ID=$(factflow lineage failures --execution "$EXEC_ID" | jq -r '.entries[0].id')
        FAILED_STAGE=$(factflow lineage get "$ID" | jq -r .stage)
        factflow lineage chain "$ID" --tree
        INPUT_KEY=$(factflow lineage chain "$ID" | jq -r '.ancestors[0].metadata.input_key')
        factflow storage get "$INPUT_KEY"; echo
        factflow storage get "$(factflow lineage get "$ID" | jq -r .metadata.input_key)"; echo
        factflow lineage stats --execution "$EXEC_ID" > /dev/null
        factflow lineage audit --execution "$EXEC_ID" | jq -r .clean
        factflow execution replay "$EXEC_ID" --from-stage "$FAILED_STAGE" | jq -r .execution_id
        factflow execution replay "$EXEC_ID" --from-stage "$FAILED_STAGE" --set split.fail.numbers=[41] \\
            | jq -r .execution_id
    """
    done = _shell(server, script, EXEC_ID=execution)
    assert done.code == 0, done.err
    said = done.out.splitlines()
    assert said[0] == "failed"
    assert any(re.search(r"^> [0-9a-f]{32}  +fail  failed  \d", line) for line in said)
    assert said[-5:-2] == ['{"n":0}', '{"n":7}', "true"], "what entered, what tripped the adapter"
    unchanged, repaired = (server.end_of(replay) for replay in said[-2:])
    assert (unchanged["status"], unchanged["failed_count"]) == ("failed", 1)
    assert (repaired["status"], repaired["failed_count"]) == ("completed", 0)


def test_wait_ends_as_the_execution_does(server: ServerProcess, hanging: str) -> None:
    failed = server.run(server.create(FAILING))
    assert server.cli("execution", "wait", failed).code == 1
    early = server.cli("--timeout", "1s", "execution", "wait", hanging)
    assert "goes on" in early.refused(4)
    assert server.get(f"/executions/{hanging}")["status"] == "running"
    assert server.cli("execution", "cancel", hanging, "--grace", "0").code == 0
    assert server.cli("execution", "wait", hanging).code == 3
    again = server.cli("execution", "cancel", hanging).done()
    assert (again["previous_status"], again["current_status"]) == ("cancelled", "cancelled")
    assert "failed" in server.cli("execution", "cancel", failed).refused(7)


def _default_port_is_taken() -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", 8000)) == 0


@pytest.mark.long
def test_run_without_a_server_starts_a_private_one_and_leaves_nothing_running(
    shipped_pipeline: Path, tmp_path: Path
) -> None:
    if _default_port_is_taken():
        pytest.skip("something listens on port 8000, so there is a server")
    body = b"<main><h1>Bees</h1><p>They make honey, and they dance.</p></main>"
    pages = {"/bees": Page(body), "/wasps": Page(body.replace(b"Bees", b"Wasps"))}
    with served_pages(pages) as site:
        pages["/sitemap.xml"] = Page(sitemap_of(*(site + path for path in pages)), XML)
        init = f"sitemap_url={site}/sitemap.xml"
        options = ("--init", init, "--allow-private-networks")
        ran = cli("run", shipped_pipeline, *options, cwd=tmp_path)
    assert ran.done()["status"] == "completed"
    private = re.search(r"private server: (http://\S+) \(pid (\d+)\)", ran.err)
    assert private
    assert not _is_alive(int(private[2]))
    assert cli("system", "health", server=private[1]).code == 5
    with ServerProcess(tmp_path / ".factflow") as server:
        stored = server.rows(ran.json["execution_id"], stage="html_to_markdown")
        assert sorted(row["metadata"]["url"].rpartition("/")[2] for row in stored) == [
            "bees",
            "wasps",
        ]


def _is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


@pytest.mark.long
def test_run_of_a_pipeline_that_hangs_gives_up_in_time_and_stops_its_server(
    tmp_path: Path,
) -> None:
    if _default_port_is_taken():
        pytest.skip("something listens on port 8000, so there is a server")
    file = tmp_path / "hang.yaml"
    file.write_text(HANGING)
    options = ("--adapters", "factflow_testing.adapters", "--timeout", "1s")
    err = cli("run", file, *options, cwd=tmp_path).refused(4)
    private = re.search(r"pid (\d+)", err)
    assert private
    assert not _is_alive(int(private[1]))


def test_the_documented_requests_of_curl_start_and_replay(server: ServerProcess) -> None:
    """As they stand on the pages, but for the port and the ids."""
    if shutil.which("curl") is None:
        pytest.skip("there is no curl here")
    started = _shell(
        server,
        """curl -s -X POST $FACTFLOW_SERVER_URL/api/v1/executions \\
  -H 'Content-Type: application/json' \\
  -d '{"config_id": "'$CONFIG_ID'"}'""",
        CONFIG_ID=server.create(FANNING),
    ).json
    assert started["status"] == "running"
    source = started["execution_id"]
    server.end_of(source)
    replayed = _shell(
        server,
        """curl -X POST -s $FACTFLOW_SERVER_URL/api/v1/executions/$SRC_ID/replay \\
  -H 'Content-Type: application/json' \\
  -d '{"from_stage": "fan", "to_route": "split"}'""",
        SRC_ID=source,
    ).json
    assert replayed["parent_execution_id"] == source
    server.end_of(replayed["execution_id"])
    for path in (
        f"lineage?execution_id={source}&status=failed",
        "lineage/failures",
        f"lineage/stats?execution_id={source}",
    ):
        told = _shell(server, f"curl -s '$FACTFLOW_SERVER_URL/api/v1/{path}'".replace("'", '"'))
        assert "error_code" not in told.json, path


@pytest.mark.long
def test_every_curl_line_of_the_product_documents_does_what_it_says(
    documents: str, tmp_path: Path, adapters: tuple[str, ...]
) -> None:
    """Byte for byte, on the port they name, ids alone put in where placeholders stand."""
    if shutil.which("curl") is None:
        pytest.skip("there is no curl here")
    # Pages that were copied as one long line have a blank where a line went on.
    commands = [found[0].replace("\\ -", "\\\n-") for found in CURL.finditer(documents)]
    assert commands
    ports = {re.search(r"localhost:(\d+)/", command)[1] for command in commands}  # type: ignore[index]  # all have one
    assert ports == {"8000"}
    if _default_port_is_taken():
        pytest.skip("something listens on port 8000 already")
    with ServerProcess(tmp_path / "data", *adapters, "--port", "8000") as server:
        config = server.create(SHARING)
        source = server.run(config)
        server.end_of(source)
        for command in commands:
            line = command.replace("CONFIG_ID", config).replace("SRC_ID", source)
            assert not re.search(r"\b[A-Z]+_ID\b", line), f"a placeholder nobody knows: {line}"
            answer = run_command(bash or "", "-c", line)
            started = answer.done()
            assert started.get("status") == "running", f"{line}: {answer.out}"
            assert started["execution_id"] != source
            assert server.end_of(started["execution_id"])["status"] == "completed"
