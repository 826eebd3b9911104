"""Validating pipeline files without a server: for `validate` and for those shipped with Factflow."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from factflow_engine.config.issues import ConfigIssue, ValidationReport
from factflow_engine.config.loader import PipelineConfigLoader
from factflow_engine.registry import AdapterRegistry
from factflow_foundation import logs
from factflow_server.settings import ServerSettings, ServerStartError

SUFFIXES = frozenset({".yaml", ".yml"})
MAX_FILE_BYTES = 4 * 1024 * 1024

_log = logs.logger(__name__)


class ShippedPipelinesError(ServerStartError):
    """A pipeline in the folder that is validated at start is invalid."""

    code = "pipelines_invalid"


@dataclass(frozen=True, slots=True)
class FileReport:
    """What is wrong with one file."""

    source: str
    report: ValidationReport


@dataclass(frozen=True, slots=True)
class FileReports:
    """What is wrong with each of several files."""

    files: list[FileReport]

    @property
    def is_valid(self) -> bool:
        """Tell whether no file has an error."""
        return all(file.report.is_valid for file in self.files)

    def as_json(self) -> str:
        """Return `{"files": [{source, is_valid, issues, error_count, warning_count}]}`."""
        files: list[dict[str, Any]] = [
            {"source": file.source, **file.report.to_dict()} for file in self.files
        ]
        return json.dumps({"files": files}, indent=2, ensure_ascii=False)

    def as_text(self) -> str:
        """Return one line for each file and one for each issue."""
        lines = []
        for file in self.files:
            lines.append(f"{file.source}: {'valid' if file.report.is_valid else 'invalid'}")
            lines += [f"  {issue.severity} {issue}" for issue in file.report.issues]
        return "\n".join(lines)


def validate_files(paths: Iterable[Path], modules: Sequence[str]) -> FileReports:
    """Validate files, and the YAML files of folders, against the adapters that are installed."""
    loader = PipelineConfigLoader(AdapterRegistry.discover(modules))
    return FileReports([_validate(path, loader) for given in paths for path in _files(given)])


def check_shipped(settings: ServerSettings, loader: PipelineConfigLoader) -> None:
    """Validate the shipped pipelines: refuse to start, or only warn, as the settings say.

    Raises `ShippedPipelinesError` with all errors.
    """
    folder = settings.pipelines or _shipped_folder()
    if folder is None:
        return
    if not folder.is_dir():
        raise ShippedPipelinesError(
            f"no folder of pipelines at {folder}", hint="--pipelines DIR names another"
        )
    reports = FileReports([_validate(path, loader) for path in _files(folder)])
    invalid = [file for file in reports.files if not file.report.is_valid]
    if not invalid:
        return
    text = FileReports(invalid).as_text()
    if settings.config_validator_strict:
        raise ShippedPipelinesError(
            f"pipelines in {folder} are invalid:\n{text}",
            hint="mend them, or set FACTFLOW_CONFIG_VALIDATOR_STRICT=0 to start all the same",
        )
    _log.warning("shipped pipelines are invalid", folder=str(folder), report=text)


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    return sorted(found for found in path.rglob("*") if found.suffix in SUFFIXES)


def _validate(path: Path, loader: PipelineConfigLoader) -> FileReport:
    source = str(path)
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
        if len(data) > MAX_FILE_BYTES:
            return _unreadable(source, f"the file is larger than {MAX_FILE_BYTES} bytes")
        text = data.decode("utf-8-sig")
    except OSError as error:
        return _unreadable(source, f"the file cannot be read: {error.strerror or error}")
    except UnicodeDecodeError as error:
        return _unreadable(source, f"the file is not UTF-8 text: byte {error.start} does not fit")
    return FileReport(source, loader.validate(text, source).report)


def _unreadable(source: str, why: str) -> FileReport:
    issue = ConfigIssue("error", "E001", "", None, why)
    return FileReport(source, ValidationReport([issue]))


def _shipped_folder() -> Path | None:
    """Return `config/pipelines` of the repository this runs from; None when it is installed alone."""
    for parent in Path(__file__).resolve().parents:
        folder = parent / "config" / "pipelines"
        if parent.name == "backend" and folder.is_dir():
            return folder
    return None
