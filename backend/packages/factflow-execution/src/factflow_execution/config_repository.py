"""Configs in the database: one row each, and one row for every version there ever was."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from sqlalchemy import Connection, RowMapping, Select, func, select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from factflow_execution.database_reads import DatabaseReads
from factflow_execution.models import ConfigVersion, Page, PipelineConfig
from factflow_execution.tables import config_versions, configs

ActiveFilter = Literal["true", "false", "all"]


class ConfigRepository:
    """Reads and writes configs; every write is one transaction."""

    def __init__(self, engine: AsyncEngine, reads: DatabaseReads | None = None) -> None:
        self._engine = engine
        self._reads = reads or DatabaseReads(engine)

    async def insert(self, config: PipelineConfig) -> None:
        """Store a new config as its first version."""
        async with self._engine.begin() as connection:
            await connection.execute(configs.insert().values(_config_row(config)))
            await connection.execute(config_versions.insert().values(_version_row(config)))

    async def save_version(self, config: PipelineConfig) -> bool:
        """Make `config` the newest version; False when another version came first."""
        changed = (
            update(configs)
            .where(configs.c.id == config.id, configs.c.version == config.version - 1)
            .values(_config_row(config))
        )
        async with self._engine.begin() as connection:
            if (await connection.execute(changed)).rowcount != 1:
                return False
            await connection.execute(config_versions.insert().values(_version_row(config)))
        return True

    async def get(self, config_id: str) -> PipelineConfig | None:
        """Return the newest version of a config, inactive ones too; None when there is none."""
        query = _joined().where(configs.c.id == config_id)
        row = await self._reads.run(lambda c: c.execute(query).mappings().one_or_none())
        return None if row is None else _to_config(row)

    async def versions(self, config_id: str) -> list[ConfigVersion]:
        """Return all versions, oldest first."""
        query = (
            select(config_versions)
            .where(config_versions.c.config_id == config_id)
            .order_by(config_versions.c.version)
        )
        rows = await self._reads.run(lambda c: c.execute(query).mappings().all())
        return [ConfigVersion(**row) for row in rows]

    async def list(self, active: ActiveFilter, limit: int, offset: int) -> Page[PipelineConfig]:
        """Return a page of configs, newest first."""
        query = _joined()
        count = select(func.count()).select_from(configs)
        if active != "all":
            wanted = configs.c.is_active.is_(active == "true")
            query, count = query.where(wanted), count.where(wanted)
        query = query.order_by(configs.c.created_at.desc(), configs.c.id.desc())

        def read(connection: Connection) -> tuple[int, Sequence[RowMapping]]:
            total = connection.execute(count).scalar_one()
            return total, connection.execute(query.limit(limit).offset(offset)).mappings().all()

        total, rows = await self._reads.run(read)
        return Page([_to_config(row) for row in rows], total, limit, offset)

    async def texts_naming(self, text: str, limit: int = 50) -> Sequence[str]:
        """Return the YAML of every version, newest first, that has this text in it; at most `limit`."""
        query = (
            select(config_versions.c.config_yaml)
            .where(config_versions.c.config_yaml.contains(text, autoescape=True))
            .order_by(config_versions.c.created_at.desc())
            .limit(limit)
        )
        return await self._reads.run(lambda c: c.execute(query).scalars().all())

    async def deactivate(self, config_id: str, at: float) -> bool:
        """Mark a config inactive; False when there is no such config."""
        query = (
            update(configs).where(configs.c.id == config_id).values(is_active=False, updated_at=at)
        )
        async with self._engine.begin() as connection:
            return (await connection.execute(query)).rowcount == 1


def _joined() -> Select[Any]:
    return select(
        configs,
        config_versions.c.name,
        config_versions.c.config_yaml,
        config_versions.c.config_hash,
    ).join(
        config_versions,
        (config_versions.c.config_id == configs.c.id)
        & (config_versions.c.version == configs.c.version),
    )


def _to_config(row: RowMapping) -> PipelineConfig:
    return PipelineConfig(**row)


def _config_row(config: PipelineConfig) -> dict[str, Any]:
    return {column.name: getattr(config, column.name) for column in configs.columns}


def _version_row(config: PipelineConfig) -> dict[str, Any]:
    return {
        "config_id": config.id,
        "version": config.version,
        "name": config.name,
        "config_yaml": config.config_yaml,
        "config_hash": config.config_hash,
        "created_at": config.updated_at,
    }
