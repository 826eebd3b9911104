"""Archives made behind the work: `/api/v1/content/archive`."""

from __future__ import annotations

from fastapi import APIRouter, Response
from fastapi.responses import FileResponse

from factflow_server.api.dependencies import Services
from factflow_server.api.schemas.content import (
    ArchiveStatusResponse,
    PrepareBody,
    PrepareResponse,
)
from factflow_server.api.storage import ARCHIVE_TYPE
from factflow_server.storage_archive import Selection
from factflow_server.storage_selection import folders

router = APIRouter(prefix="/content", tags=["content"])


@router.post("/archive/prepare", operation_id="archive_prepare")
async def archive_prepare(body: PrepareBody, services: Services) -> PrepareResponse:
    """Begin to write a tar archive of what an execution stored. Its status tells when it is ready.

    `GET /storage/archive` gives the same without preparation, while it is being made.
    """
    execution = await services.executions.stored(body.execution_id)
    selection = Selection(
        folders(execution, body.routes, body.stage_names),
        path=(body.path or "").lstrip("/"),
        endings=body.endings,
        records=body.include_metadata,
    )
    filename = f"execution-{execution.execution_id}.tar"
    return PrepareResponse.of(await services.archives.prepare(selection, filename))


@router.get("/archive/{job_id}/status", operation_id="archive_status")
async def archive_status(job_id: str, services: Services) -> ArchiveStatusResponse:
    """Get how far an archive is: `preparing`, then `ready`, `failed` or `cancelled`."""
    return ArchiveStatusResponse.of(services.archives.get(job_id))


@router.get(
    "/archive/{job_id}/download",
    operation_id="archive_download",
    response_class=FileResponse,
    responses={200: {"content": {ARCHIVE_TYPE: {}}, "description": "A tar archive."}},
)
async def archive_download(job_id: str, services: Services) -> FileResponse:
    """Get an archive that is ready, or a range of its bytes. It stays until it is deleted."""
    job = services.archives.ready(job_id)
    return FileResponse(job.path, media_type=ARCHIVE_TYPE, filename=job.filename)


@router.delete(
    "/archive/{job_id}", status_code=204, response_class=Response, operation_id="archive_cancel"
)
async def archive_cancel(job_id: str, services: Services) -> None:
    """Cancel an archive that is being prepared, or delete one that is not."""
    await services.archives.drop(job_id)
