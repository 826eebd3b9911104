"""Configs on the wire."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from factflow_execution.config_service import StoredConfig
from factflow_execution.models import SourceType
from factflow_server.api.schemas.paging import PageSchema
from factflow_server.api.schemas.times import iso


class IssueSchema(BaseModel):
    """One problem of a config. `path` is where in the YAML (`routes[0].adapters[1]`), `line` from 1."""

    model_config = ConfigDict(from_attributes=True)

    severity: Literal["error", "warning"]
    code: str
    path: str
    line: int | None = None
    message: str
    suggestion: str | None = None


class ReportSchema(BaseModel):
    """What validation found; warnings do not invalidate."""

    model_config = ConfigDict(from_attributes=True)

    is_valid: bool
    issues: list[IssueSchema]
    error_count: int
    warning_count: int


class ConfigBody(BaseModel):
    """A config's text and how it is called; without `name` the YAML's own counts."""

    model_config = ConfigDict(extra="forbid")

    config_yaml: str = Field(min_length=1)
    name: str | None = Field(default=None, min_length=1, max_length=200)
    description: str | None = Field(default=None, max_length=10_000)


class NewConfigBody(ConfigBody):
    """A config to be stored."""

    source_type: SourceType = "api"
    source_path: str | None = Field(default=None, max_length=4096)


class ValidateBody(BaseModel):
    """YAML to be validated; `source` is how messages call it."""

    model_config = ConfigDict(extra="forbid")

    config_yaml: str
    source: str | None = Field(default=None, max_length=4096)


class ConfigSchema(BaseModel):
    """A stored config; the report is made anew at every read, against the adapters of today."""

    id: str
    name: str
    description: str | None
    source_type: SourceType
    source_path: str | None
    config_hash: str
    version: int
    created_at: str
    updated_at: str
    is_active: bool
    is_runnable: bool
    validation_report: ReportSchema

    @classmethod
    def of(cls, stored: StoredConfig) -> ConfigSchema:
        """Return the config as its listing shows it."""
        return cls(**_fields(stored))


class ConfigDetailSchema(ConfigSchema):
    """A stored config with its text."""

    config_yaml: str

    @classmethod
    def of(cls, stored: StoredConfig) -> ConfigDetailSchema:
        """Return the config with its text."""
        return cls(**_fields(stored), config_yaml=stored.config.config_yaml)


class ConfigPage(PageSchema):
    """A page of configs, newest first."""

    configs: list[ConfigSchema]


def _fields(stored: StoredConfig) -> dict[str, Any]:
    config = stored.config
    return {
        "id": config.id,
        "name": config.name,
        "description": config.description,
        "source_type": config.source_type,
        "source_path": config.source_path,
        "config_hash": config.config_hash,
        "version": config.version,
        "created_at": iso(config.created_at),
        "updated_at": iso(config.updated_at),
        "is_active": config.is_active,
        "is_runnable": stored.report.is_valid and config.is_active,
        "validation_report": ReportSchema.model_validate(stored.report),
    }
