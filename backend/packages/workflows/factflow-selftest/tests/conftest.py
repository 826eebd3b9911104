"""One calm run with all its evidence, for judges to look at before and after it was tampered with."""

from __future__ import annotations

import contextlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from factflow_selftest.client import Client
from factflow_selftest.evidence import Evidence
from factflow_selftest.figures import Figures
from factflow_selftest.judge import Judge
from factflow_selftest.pipeline import STATUS, pipeline_yaml
from factflow_testing.server_process import ServerProcess


@dataclass
class Trial:
    """An execution that has ended: what it left, and what the API said of it."""

    evidence: Evidence
    execution: dict[str, Any]
    rows: list[dict[str, Any]]

    def verdict(self) -> Figures:
        """Have it judged."""
        return Judge(self.evidence).judge([self.execution], lambda _: self.rows, STATUS)

    def file(self, pattern: str) -> Path:
        """Return the first file of the execution that fits."""
        folder = self.evidence.storage / "executions" / self.execution["execution_id"]
        found: Path = min(folder.glob(pattern))
        return found


@pytest.fixture(scope="session")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the evidence of a run that nothing interfered with."""
    folder = tmp_path_factory.mktemp("calm")
    evidence = Evidence(folder)
    with ServerProcess(evidence.data_dir, cwd=None, **evidence.variables) as server:
        execution = server.run(server.create(pipeline_yaml(evidence.journal, 10)))
        server.end_of(execution)
        with contextlib.closing(Client(server.url)) as client:
            said = {"execution": client.execution(execution), "rows": client.rows(execution)}
        assert server.stop() == 0
    (folder / "said.json").write_text(json.dumps(said))
    return folder


@pytest.fixture
def trial(calm: Path, tmp_path: Path) -> Trial:
    """The same, to tamper with."""
    shutil.copytree(calm, tmp_path / "trial")
    said = json.loads((tmp_path / "trial" / "said.json").read_text())
    return Trial(Evidence(tmp_path / "trial"), said["execution"], said["rows"])


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that will never come are not waited for."""
    monkeypatch.setattr("factflow_selftest.judge.LINEAGE_SECONDS", 0.0)
