"""Archives that are made behind the work, as files to be fetched once they are whole.

They are kept beside the data until they are deleted, a newer one needs their place, or the server stops.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

from factflow_foundation import logs
from factflow_foundation.whole import whole
from factflow_protocols.errors import FactflowError
from factflow_protocols.storage import StorageProtocol
from factflow_server.storage_archive import ArchiveSummary, Selection, archive, count_members

ArchiveStatus = Literal["preparing", "ready", "failed", "cancelled"]

KEPT_JOBS = 4

_log = logs.logger(__name__)


class ArchiveNotFoundError(FactflowError):
    """No archive is being prepared, or was, under this id."""

    code: ClassVar[str] = "archive_not_found"

    def __init__(self, job_id: str) -> None:
        super().__init__(
            f"there is no archive job {job_id!r}",
            hint="it was deleted, or its server has stopped since: prepare it again",
        )


class ArchiveNotReadyError(FactflowError):
    """The archive is not whole."""

    code: ClassVar[str] = "archive_not_ready"

    def __init__(self, job: ArchiveJob) -> None:
        why = f": {job.error}" if job.error else ""
        super().__init__(
            f"archive {job.job_id} is {job.status}{why}",
            hint="its status tells how far it is; one that failed or was cancelled is prepared again",
        )


class TooManyArchivesError(FactflowError):
    """As many archives as may are being prepared."""

    code: ClassVar[str] = "too_many_archives"

    def __init__(self) -> None:
        super().__init__(
            f"{KEPT_JOBS} archives are being prepared already",
            hint="wait for one, or delete it; GET /api/v1/storage/archive needs no preparation",
        )


@dataclass(slots=True)
class ArchiveJob:
    """An archive and how far it is: `processed` of `total` objects and records are in it. `file_size` is in
    bytes, so far."""

    job_id: str
    filename: str
    total: int
    path: Path
    status: ArchiveStatus = "preparing"
    file_size: int = 0
    error: str | None = None
    summary: ArchiveSummary = field(default_factory=ArchiveSummary)

    @property
    def processed(self) -> int:
        """How many objects and records are in it."""
        return self.summary.objects + self.summary.records


class ArchiveJobs:
    """Prepares archives below a folder that is its own; what an earlier server left there goes first."""

    def __init__(self, storage: StorageProtocol, folder: Path) -> None:
        self._storage = storage
        self._folder = folder
        self._jobs: dict[str, ArchiveJob] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        shutil.rmtree(folder, ignore_errors=True)

    async def prepare(self, selection: Selection, filename: str) -> ArchiveJob:
        """Count what is to be in the archive, and begin to write it. The oldest that is not under way makes
        room where there are `KEPT_JOBS`. Raises `TooManyArchivesError`."""
        self._check_room()
        total = await count_members(self._storage, selection)
        self._check_room()
        if len(self._jobs) >= KEPT_JOBS:
            await self.drop(next(id_ for id_ in self._jobs if id_ not in self._tasks))
        job_id = str(uuid.uuid4())
        job = ArchiveJob(job_id, filename, total, self._folder / f"{job_id}.tar")
        self._jobs[job_id] = job
        task = asyncio.create_task(self._write(job, selection), name=f"archive-{job_id}")
        self._tasks[job_id] = task
        task.add_done_callback(lambda _: self._tasks.pop(job_id))
        return job

    def get(self, job_id: str) -> ArchiveJob:
        """Return a job. Raises `ArchiveNotFoundError`."""
        if job_id not in self._jobs:
            raise ArchiveNotFoundError(job_id)
        return self._jobs[job_id]

    def ready(self, job_id: str) -> ArchiveJob:
        """Return a job whose archive is whole. Raises `ArchiveNotFoundError`, `ArchiveNotReadyError`."""
        job = self.get(job_id)
        if job.status != "ready":
            raise ArchiveNotReadyError(job)
        return job

    async def drop(self, job_id: str) -> None:
        """Cancel a job that is under way; forget another one, and delete its archive.

        Raises `ArchiveNotFoundError`.
        """
        job = self.get(job_id)
        task = self._tasks.get(job_id)
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
            if job.status == "preparing":  # it had not even begun
                job.status = "cancelled"
            return
        del self._jobs[job_id]
        await asyncio.to_thread(job.path.unlink, missing_ok=True)

    async def close(self) -> None:
        """Stop, and delete all archives."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)

    def _check_room(self) -> None:
        if len(self._tasks) >= KEPT_JOBS:
            raise TooManyArchivesError

    async def _write(self, job: ArchiveJob, selection: Selection) -> None:
        status: ArchiveStatus = "failed"
        try:
            await asyncio.to_thread(self._folder.mkdir, parents=True, exist_ok=True)
            async for piece in archive(self._storage, selection, job.summary):
                # Whole, as what is written after a cancellation would stay.
                await whole(asyncio.to_thread(_append, job.path, piece))
                job.file_size += len(piece)
            status = "ready"
        except asyncio.CancelledError:
            status = "cancelled"
            raise
        except FactflowError as error:
            job.error = error.message
        except OSError as error:
            job.error = error.strerror or type(error).__name__
        except Exception as error:  # noqa: BLE001 - whoever asks has to be told
            _log.error("an archive was not made", job_id=job.job_id, exc_info=error)
            job.error = "something unexpected went wrong; the server's log has more"
        finally:
            if status != "ready":
                with contextlib.suppress(OSError):
                    job.path.unlink(missing_ok=True)
            job.status = status


def _append(path: Path, piece: bytes) -> None:
    with path.open("ab") as file:
        file.write(piece)
