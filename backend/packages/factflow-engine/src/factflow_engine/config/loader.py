"""YAML text in; a checked pipeline, or everything that is wrong with it at once, out."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

from pydantic import ValidationError

from factflow_engine.config.checks import check_pipeline
from factflow_engine.config.field_errors import MAX_ISSUES, pipeline_issues
from factflow_engine.config.issues import ConfigIssue, ConfigurationError, ValidationReport
from factflow_engine.config.models import PipelineGlobalConfig
from factflow_engine.config.yaml_document import YamlDocument
from factflow_engine.config.yaml_source import read_yaml
from factflow_engine.registry import AdapterRegistry


@dataclass(frozen=True, slots=True)
class LoadedConfig:
    """What came of a text. `config` is None when the report has errors; `name` is the text's own
    top-level `name` whenever that can be read."""

    report: ValidationReport
    config: PipelineGlobalConfig | None
    config_hash: str
    name: str | None
    source: str


class PipelineConfigLoader:
    """Checks pipelines against the adapters of a registry.

    `environ` is where `${NAME}` references are looked up, the process's environment by default.
    """

    def __init__(self, registry: AdapterRegistry, environ: Mapping[str, str] | None = None) -> None:
        self._registry = registry
        self._environ = os.environ if environ is None else environ

    def validate(self, text: str, source: str = "<yaml>") -> LoadedConfig:
        """Check a text and report every problem, up to `MAX_ISSUES`; nothing is raised for any text.

        `source` names the text in error messages. Adapter modules not used so far are imported.
        """
        document = read_yaml(text)
        models: list[PipelineGlobalConfig] = []
        issues = list(islice(self._issues(document, models), MAX_ISSUES + 1))
        if len(issues) > MAX_ISSUES:
            issues[MAX_ISSUES] = ConfigIssue(
                "error", "E009", "", None, f"more than {MAX_ISSUES} problems; the rest is not shown"
            )
        report = ValidationReport(issues)
        return LoadedConfig(
            report=report,
            config=models[0] if models and report.is_valid else None,
            config_hash=config_hash(text),
            name=_name(document),
            source=source,
        )

    def load(self, text: str, source: str = "<yaml>") -> PipelineGlobalConfig:
        """Return the pipeline. Raises `ConfigurationError` with the report when there are errors."""
        loaded = self.validate(text, source)
        if loaded.config is None:
            raise ConfigurationError(loaded.report, source)
        return loaded.config

    def _issues(
        self, document: YamlDocument, models: list[PipelineGlobalConfig]
    ) -> Iterator[ConfigIssue]:
        """Yield the issues of a text; put the pipeline into `models` if it is one."""
        yield from _structure_issues(document, models)
        if isinstance(document.data, dict):
            yield from check_pipeline(document, self._registry, self._environ)


def load_snapshot(text: str, source: str = "<snapshot>") -> PipelineGlobalConfig:
    """Return a pipeline that passed validation when it was stored, without looking at adapters.

    So a snapshot can be read although its adapters are gone. Raises `ConfigurationError` when the text
    is not a pipeline.
    """
    models: list[PipelineGlobalConfig] = []
    issues = list(_structure_issues(read_yaml(text), models))
    if issues:
        raise ConfigurationError(ValidationReport(issues), source)
    return models[0]


def config_hash(text: str) -> str:
    """Return the SHA-256 of a pipeline's text (UTF-8), in hex."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def _structure_issues(
    document: YamlDocument, models: list[PipelineGlobalConfig]
) -> Iterator[ConfigIssue]:
    yield from document.issues
    if document.root is None:
        return
    if not isinstance(document.data, dict):
        yield ConfigIssue(
            "error",
            "E002",
            "",
            document.root.line,
            "a pipeline is a block of keys",
            'start with: version: "1.0"',
        )
        return
    try:
        models.append(PipelineGlobalConfig.model_validate(document.data))
    except ValidationError as error:
        yield from pipeline_issues(error, document)


def _name(document: YamlDocument) -> str | None:
    name = document.data.get("name") if isinstance(document.data, dict) else None
    return name if isinstance(name, str) else None
