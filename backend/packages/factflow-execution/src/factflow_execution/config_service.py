"""Stored configs: kept in every version, judged anew at every read, and the origin of executions."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Any

from factflow_engine.config.issues import ConfigurationError, ValidationReport
from factflow_engine.config.loader import LoadedConfig, PipelineConfigLoader
from factflow_execution.config_repository import ActiveFilter, ConfigRepository
from factflow_execution.errors import ConfigInactiveError, ConfigNotFoundError
from factflow_execution.idempotency import Idempotency
from factflow_execution.models import ExecutionDraft, Page, PipelineConfig, SourceType
from factflow_foundation import ids
from factflow_foundation.clock import Clock, SystemClock

DEFAULT_NAME = "pipeline"
REMEMBERED_REPORTS = 500


class ConfigUnreadableError(ConfigurationError):
    """The text is not YAML that can be read, so there is nothing to store."""


@dataclass(frozen=True, slots=True)
class StoredConfig:
    """A config and what validation says of it today."""

    config: PipelineConfig
    report: ValidationReport


class ConfigService:
    """Creates, edits and finds configs. Errors in a pipeline do not keep it from being stored."""

    def __init__(
        self,
        repository: ConfigRepository,
        loader: PipelineConfigLoader,
        clock: Clock | None = None,
    ) -> None:
        self._repository = repository
        self._loader = loader
        self._clock = clock or SystemClock()
        self._reports: OrderedDict[str, ValidationReport] = OrderedDict()

    async def create(
        self,
        config_yaml: str,
        *,
        name: str | None = None,
        description: str | None = None,
        source_type: SourceType = "api",
        source_path: str | None = None,
    ) -> StoredConfig:
        """Store a config; `name` defaults to the YAML's own. Raises `ConfigUnreadableError`."""
        loaded = await self._read(config_yaml, source_path or name or DEFAULT_NAME)
        now = self._clock.now()
        config = PipelineConfig(
            id=ids.execution_id(),
            name=name or loaded.name or DEFAULT_NAME,
            description=description,
            source_type=source_type,
            source_path=source_path,
            config_yaml=config_yaml,
            config_hash=loaded.config_hash,
            version=1,
            created_at=now,
            updated_at=now,
            is_active=True,
        )
        await self._repository.insert(config)
        return StoredConfig(config, loaded.report)

    async def update(
        self,
        config_id: str,
        config_yaml: str,
        *,
        name: str | None = None,
        description: str | None = None,
    ) -> StoredConfig:
        """Store a new version; name and description stay unless given.

        Raises `ConfigNotFoundError` and `ConfigUnreadableError`.
        """
        loaded = await self._read(config_yaml, name or config_id)
        while True:
            present = await self._find(config_id)
            edited = replace(
                present,
                name=name or present.name,
                description=present.description if description is None else description,
                config_yaml=config_yaml,
                config_hash=loaded.config_hash,
                version=present.version + 1,
                updated_at=self._clock.now(),
            )
            if await self._repository.save_version(edited):
                return StoredConfig(edited, loaded.report)

    async def get(self, config_id: str) -> StoredConfig:
        """Return a config, inactive ones too. Raises `ConfigNotFoundError`."""
        return await self._judged(await self._find(config_id))

    async def list(
        self, active: ActiveFilter = "true", limit: int = 100, offset: int = 0
    ) -> Page[StoredConfig]:
        """Return a page of configs, newest first."""
        page = await self._repository.list(active, limit, offset)
        return Page([await self._judged(row) for row in page.rows], page.total, limit, offset)

    async def deactivate(self, config_id: str) -> None:
        """Take a config out of use; its executions stay. Raises `ConfigNotFoundError`."""
        if not await self._repository.deactivate(config_id, self._clock.now()):
            raise ConfigNotFoundError(config_id)

    async def validate(self, config_yaml: str, source: str) -> ValidationReport:
        """Return what is wrong with a text, without storing it."""
        return (await self._load(config_yaml, source)).report

    async def draft(
        self,
        config_id: str,
        *,
        init: dict[str, Any] | None = None,
        skip_init: bool = False,
        tag: str | None = None,
        metadata: dict[str, Any] | None = None,
        trigger_context: dict[str, Any] | None = None,
        loaded_code: bool = False,
        idempotency: Idempotency | None = None,
    ) -> ExecutionDraft:
        """Return the draft of an execution of the newest version.

        Raises `ConfigNotFoundError`, and `ConfigInactiveError` for one that was deactivated.
        """
        config = await self._find(config_id)
        if not config.is_active:
            raise ConfigInactiveError(config_id)
        return ExecutionDraft(
            config_id=config.id,
            config_name=config.name,
            config_version=config.version,
            config_snapshot=config.config_yaml,
            tag=tag,
            metadata=metadata or {},
            trigger_context=trigger_context,
            init=init,
            skip_init=skip_init,
            loaded_code=loaded_code,
            idempotency=idempotency,
        )

    async def _load(self, config_yaml: str, source: str) -> LoadedConfig:
        # A text may be megabytes; messages must not wait until it is parsed.
        return await asyncio.to_thread(self._loader.validate, config_yaml, source)

    async def _read(self, config_yaml: str, source: str) -> LoadedConfig:
        loaded = await self._load(config_yaml, source)
        if not loaded.report.is_readable:
            raise ConfigUnreadableError(loaded.report, source)
        return loaded

    async def _find(self, config_id: str) -> PipelineConfig:
        config = await self._repository.get(config_id)
        if config is None:
            raise ConfigNotFoundError(config_id)
        return config

    async def _judged(self, config: PipelineConfig) -> StoredConfig:
        """Validate, or remember: the adapters of this process do not change, so equal text is equal."""
        report = self._reports.get(config.config_hash)
        if report is None:
            report = (await self._load(config.config_yaml, config.name)).report
            self._reports[config.config_hash] = report
            if len(self._reports) > REMEMBERED_REPORTS:
                self._reports.popitem(last=False)
        return StoredConfig(config, report)
