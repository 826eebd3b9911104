"""One server for all tests that only need one, the command typed at it, and folders to work in."""

from __future__ import annotations

import functools
import io
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import typer.main

from factflow_cli.app import main
from factflow_testing.server_process import Finished, ServerProcess
from factflow_testing.site_process import corpus_folder

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
TREE_OF = functools.cache(typer.main.get_command)
"""What a process makes of the program once; here it serves all tests."""
ADAPTERS = ("--adapters", "factflow_testing.adapters", str(HERE / "gated_adapters.py"))


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server that may fetch from loopback and knows the tests' adapters."""
    folder = tmp_path_factory.mktemp("server")
    with ServerProcess(
        folder / "data", *ADAPTERS, "--allow-private-networks", cwd=folder
    ) as running:
        yield running


@pytest.fixture(scope="session")
def strict_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server as it comes: two executions at a time, no private networks."""
    folder = tmp_path_factory.mktemp("strict")
    with ServerProcess(
        folder / "data", *ADAPTERS, "--max-concurrent-executions", "2", cwd=folder
    ) as running:
        yield running


@pytest.fixture(scope="session")
def adapters() -> tuple[str, ...]:
    """The options that load the tests' adapters."""
    return ADAPTERS


@pytest.fixture(scope="session")
def shipped_pipeline() -> Path:
    """The pipeline that comes with Factflow."""
    return REPOSITORY / "backend" / "config" / "pipelines" / "site-to-markdown.yaml"


@pytest.fixture(scope="session")
def corpus() -> Path:
    """The folder of real input; skips where there is none."""
    folder = corpus_folder(REPOSITORY)
    if not (folder / "serve_site.py").is_file():
        pytest.skip(f"no corpus at {folder}; FACTFLOW_CORPUS names its folder")
    return folder


@pytest.fixture(scope="session")
def documents() -> str:
    """The text of the product documents that lie beside the corpus; skips where there are none."""
    folder = corpus_folder(REPOSITORY).with_name("seeds")
    found = sorted(folder.glob("*.txt")) + sorted(folder.glob("*.md"))
    if not found:
        pytest.skip(f"no product documents at {folder}")
    return "\n\n".join(path.read_text() for path in found)


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Finished]:
    """Run `factflow …` against a server as `server.cli` does, in this process: 0.3 s sooner.

    Not for commands that start processes or take signals.
    """

    def run(server: ServerProcess, *arguments: str | Path, stdin: str = "") -> Finished:
        given, out, err = (
            io.TextIOWrapper(io.BytesIO(data), "utf-8", write_through=True)
            for data in (stdin.encode(), b"", b"")
        )
        with monkeypatch.context() as changed:
            changed.setenv("FACTFLOW_SERVER_URL", server.url)
            changed.setattr(sys, "argv", ["factflow", *map(str, arguments)])
            changed.setattr(typer.main, "get_command", TREE_OF)
            for name, stream in (("stdin", given), ("stdout", out), ("stderr", err)):
                changed.setattr(sys, name, stream)
            with pytest.raises(SystemExit) as left:
                main()
        for stream in (out, err):
            stream.seek(0)
        return Finished(int(left.value.code or 0), out.read(), err.read())

    return run
