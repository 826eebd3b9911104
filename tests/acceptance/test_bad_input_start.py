"""A server that cannot start says why in a line, and changes nothing."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from factflow_testing.server_process import Finished, ServerProcess, cli, run_command, serve_command


def _refused(data_dir: Path | str, *arguments: str, code: int = 2) -> str:
    """Try to start a server; return what it said."""
    finished: Finished = run_command(*serve_command("--data-dir", data_dir, *arguments))
    err = finished.refused(code)
    assert err.startswith("factflow: error: ")
    assert "hint: " in err
    return err


def test_a_port_in_use_is_named_and_no_data_folder_appears(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        said = _refused(tmp_path / "data", "--port", port)
        assert said.startswith(f"factflow: error: port {port} on 127.0.0.1 is taken")
        assert "hint: --port 0" in said
        err = cli("serve", "--port", port, "--data-dir", tmp_path / "data").refused(2)
        assert port in err
    assert not list(tmp_path.iterdir())


def test_a_data_folder_below_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    assert str(tmp_path / "file" / "data") in _refused(tmp_path / "file" / "data")
    assert (tmp_path / "file").read_text() == "mine"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="there is no /proc here")
def test_a_data_folder_that_cannot_be_made_is_named() -> None:
    assert "/proc/factflow" in _refused("/proc/factflow")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_data_folder_that_may_not_be_written_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir(mode=0o500)
    assert str(folder) in _refused(folder)


def test_a_second_server_on_a_data_folder_is_refused_with_the_firsts_pid(
    strict_server: ServerProcess,
) -> None:
    before = strict_server.manifest()
    assert f"process {strict_server.pid}" in _refused(strict_server.data_dir, code=3)
    assert strict_server.get("/system/health")["status"] == "healthy"
    assert strict_server.manifest() == before
