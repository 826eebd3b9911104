"""Stored objects and their records: `/api/v1/storage`."""

from __future__ import annotations

import mimetypes
from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import StreamingResponse

from factflow_execution.errors import ExecutionDeletedError, LaunchRefusedError
from factflow_foundation import keys
from factflow_foundation.clock import isoformat
from factflow_lineage.filters import LineageFilter
from factflow_protocols.errors import FactflowError, ObjectDamagedError, ObjectNotFoundError
from factflow_protocols.storage import ObjectInfo, StorageProtocol
from factflow_server.api.dependencies import Services
from factflow_server.api.schemas.paging import Cursor, Limit, Offset
from factflow_server.api.schemas.storage import (
    LevelEntrySchema,
    LevelPage,
    ObjectMetadataSchema,
    ObjectPage,
    ObjectSchema,
)
from factflow_server.container import Container
from factflow_server.storage_archive import Selection, archive
from factflow_server.storage_levels import LevelCounter
from factflow_server.storage_selection import stage_prefixes

router = APIRouter(prefix="/storage", tags=["storage"])

FOREIGN_CONTENT = {"Content-Security-Policy": "sandbox; default-src 'none'"}
"""What was crawled is not ours: a browser that shows it must run nothing of it in our name."""
UNKNOWN_TYPE = "application/octet-stream"
ARCHIVE_TYPE = "application/x-tar"
COUNTING_SECONDS = 0.5
"""How long an answer may count what lies below the prefixes of a level."""


@router.get("/objects", operation_id="list_objects")
async def list_objects(
    *,
    services: Services,
    execution_id: str | None = None,
    prefix: str | None = None,
    limit: Limit = 100,
    offset: Offset = 0,
    cursor: Cursor = None,
    count: bool = False,
    include_metadata: bool = False,
) -> ObjectPage:
    """List objects in the order of their keys, below an execution or a prefix.

    `cursor` goes on behind a page, at the cost of that page; `offset` and `count` look at all before.
    """
    where = (await _prefix(services, execution_id, prefix) or keys.ROOT).rstrip("/")
    after = "" if cursor is None else keys.check_key(cursor)
    if offset or count:
        found, total = await _counted(services.storage, where, after, offset + limit + 1, count)
        found = found[offset:]
    else:
        found, total = list(await services.storage.page(where, after=after, limit=limit + 1)), None
    more = len(found) > limit
    if not (more or offset or after):
        total = len(found)
    objects = [await _object(services.storage, info, include_metadata) for info in found[:limit]]
    return ObjectPage(
        total=total,
        limit=limit,
        offset=offset,
        has_more=more,
        next_cursor=objects[-1].key if more else None,
        objects=objects,
    )


@router.get("/browse", operation_id="browse_objects")
async def browse_objects(
    *,
    services: Services,
    execution_id: str | None = None,
    prefix: str | None = None,
    limit: Limit = 100,
    cursor: Cursor = None,
    count: bool = False,
) -> LevelPage:
    """List one level of the tree of keys: objects, and prefixes with how much lies below them.

    An answer counts for a moment only and says where it has not come to an end; `count` lets it.
    """
    where = (await _prefix(services, execution_id, prefix) or "").rstrip("/")
    after = "" if cursor is None else cursor
    if after:
        keys.check_key(after.removesuffix("/"))
    found = list(await services.storage.level(where, after=after, limit=limit + 1))
    more = len(found) > limit
    counter = LevelCounter(services.storage, None if count else COUNTING_SECONDS)
    entries = [
        LevelEntrySchema.model_validate(await counter.entry(item), from_attributes=True)
        for item in found[:limit]
    ]
    return LevelPage(
        prefix=where and f"{where}/",
        limit=limit,
        has_more=more,
        next_cursor=entries[-1].key if more else None,
        entries=entries,
    )


@router.get(
    "/archive",
    operation_id="get_archive",
    response_class=StreamingResponse,
    responses={200: {"content": {ARCHIVE_TYPE: {}}, "description": "A tar archive."}},
)
async def get_archive(
    *,
    services: Services,
    execution_id: str | None = None,
    prefix: str | None = None,
    route: str | None = None,
    stage: str | None = None,
) -> StreamingResponse:
    """Get all objects and records below an execution or a prefix, or of the whole store, as plain files
    in a tar archive; of an execution also those of one route, one stage, or a stage of one route.

    Its last member, `.factflow-tmp-archive.json`, says how many are in it, which records are not because
    they cannot be read, and which artefacts are missing.
    """
    if route is None and stage is None:
        prefixes = [(await _prefix(services, execution_id, prefix) or "").rstrip("/")]
    elif execution_id is None or prefix is not None:
        raise LaunchRefusedError(
            "route and stage are of an execution", hint="give execution_id, and no prefix"
        )
    else:
        prefixes = stage_prefixes(await services.executions.stored(execution_id), route, stage)
    pieces = archive(services.storage, Selection(prefixes))
    first = await anext(pieces)  # what is wrong at the start has its own status

    async def body() -> AsyncIterator[bytes]:
        yield first
        async for piece in pieces:
            yield piece

    return StreamingResponse(body(), media_type=ARCHIVE_TYPE)


# Before the endpoint of the bytes, whose key would match this path as well.
@router.get("/objects/{key:path}/metadata", operation_id="get_object_metadata")
async def get_object_metadata(key: str, services: Services) -> ObjectMetadataSchema:
    """Get an object's record: how its stage ended, hashes, times."""
    return await get_metadata(key, services)


@router.get("/metadata/{key:path}", operation_id="get_metadata")
async def get_metadata(key: str, services: Services) -> ObjectMetadataSchema:
    """Get the record of a key, with or without extension; of failed and filtered messages too.

    One that cannot be read is refused with `record_damaged`.
    """
    storage = services.storage
    keys.check_key(key)
    record = await _record_or_none(storage, key)
    info = await _info(storage, key)
    if info is None and record is not None and isinstance(record.get("output_key"), str):
        info = await _info(storage, record["output_key"])
    if record is None:
        if info is None:
            raise ObjectNotFoundError(key)
        record = await _as_child(services, key)
    if info is not None:
        record |= {"size": info.size, "last_modified": isoformat(info.modified_at)}
    shown = {"size": None, "last_modified": None, **record}
    shown |= {"key": info.key if info else key, "content_type": _content_type(key, record)}
    return ObjectMetadataSchema(**shown)


@router.get(
    "/objects/{key:path}",
    operation_id="get_object",
    response_class=Response,
    responses={200: {"content": {"*/*": {}}, "description": "The object's bytes."}},
)
async def get_object(key: str, services: Services) -> Response:
    """Get an object's bytes, by its full name or by its key without extension."""
    storage = services.storage
    keys.check_key(key)
    record = await _record(storage, key)
    try:
        data = await storage.read(key)
    except ObjectNotFoundError:
        named = (record or {}).get("output_key")
        if isinstance(named, str) and named != key:
            data = await _read_or_say(services, named)
        else:
            data = await _read_or_say(services, key)
    return Response(
        data, media_type=_content_type(key, record) or UNKNOWN_TYPE, headers=FOREIGN_CONTENT
    )


async def _prefix(services: Container, execution_id: str | None, prefix: str | None) -> str | None:
    """Return the prefix that an execution's id or tag and one within it, or beside it, mean."""
    if execution_id is None:
        return prefix
    execution = await services.executions.stored(execution_id)
    where = keys.execution_prefix(execution.execution_id)
    if prefix is None:
        return where
    return prefix if prefix.startswith(where + "/") else f"{where}/{prefix}"


async def _read_or_say(services: Container, key: str) -> bytes:
    """Return an object's bytes. Raises `ExecutionDeletedError` instead of `ObjectNotFoundError` for what
    went on purpose."""
    try:
        return await services.storage.read(key)
    except ObjectNotFoundError:
        execution_id = keys.execution_of(key)
        gone = await services.executions.deletions.find([execution_id] if execution_id else [])
        for deletion in gone.values():
            raise ExecutionDeletedError(deletion.sentence) from None
        raise


async def _counted(
    storage: StorageProtocol, where: str, after: str, wanted: int, to_the_end: bool
) -> tuple[list[ObjectInfo], int | None]:
    """Return the first objects behind a key, and how many there are in all when that is wanted."""
    found: list[ObjectInfo] = []
    total = 0
    async for info in storage.list(where):
        total += 1
        if info.key > after and len(found) < wanted:
            found.append(info)
        if len(found) == wanted and not to_the_end:
            return found, None
    return found, total


async def _object(storage: StorageProtocol, info: ObjectInfo, with_record: bool) -> ObjectSchema:
    record = await _record(storage, info.key) if with_record else None
    return ObjectSchema(
        key=info.key,
        size=info.size,
        content_type=_content_type(info.key, record) or UNKNOWN_TYPE,
        last_modified=isoformat(info.modified_at),
        metadata=record,
    )


async def _record(storage: StorageProtocol, key: str) -> dict[str, Any] | None:
    """Return a key's record; for one that cannot be read, a note that says so."""
    try:
        return await _record_or_none(storage, key)
    except ObjectDamagedError as error:
        return {"note": error.message}


async def _record_or_none(storage: StorageProtocol, key: str) -> dict[str, Any] | None:
    try:
        return await storage.metadata(key)
    except ObjectNotFoundError:
        return None


async def _as_child(services: Container, key: str) -> dict[str, Any]:
    """Return what is known of an object without a record: an emitted child's artefact, which its
    parent's record names. Lineage leads there, as the key alone does not."""
    record: dict[str, Any] = {
        "note": "emitted by the stage of its key; its parent's record names it"
    }
    message_id = key.rpartition("/")[2].partition(".")[0].partition("~")[0]
    try:
        rows = await services.lineage_repository.list(LineageFilter(message_id=message_id, limit=1))
        if not rows.entries or rows.entries[0].parent_id is None:
            return record
        parent = await services.lineage_repository.get(rows.entries[0].parent_id)
    except FactflowError:
        return record
    emitter = keys.stage_key(parent.execution_id, parent.route_id, parent.stage, parent.message_id)
    stored = await _record(services.storage, str(emitter))
    if stored is None:
        return record
    child: dict[str, Any] = next(
        (c for c in stored.get("children", ()) if c.get("message_id") == message_id), {}
    )
    kept = (
        "execution_id",
        "route",
        "stage",
        "adapter",
        "adapter_version",
        "config_hash",
        "completed_at",
    )
    return {
        **record,
        **{name: stored[name] for name in kept if name in stored},
        "message_id": message_id,
        "emitted_by": str(emitter),
        "output_hash": child.get("input_hash"),
        "content_type": child.get("content_type"),
        "metadata": {**stored.get("metadata", {}), **child.get("metadata", {})},
    }


async def _info(storage: StorageProtocol, key: str) -> ObjectInfo | None:
    try:
        return await storage.info(key)
    except ObjectNotFoundError:
        return None


def _content_type(key: str, record: dict[str, Any] | None) -> str | None:
    named = (record or {}).get("content_type")
    return named if isinstance(named, str) else mimetypes.guess_type(key)[0]
