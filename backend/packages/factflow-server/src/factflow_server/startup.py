"""From settings to a server that answers, and back: everything that happens once."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

from factflow_execution.database_trouble import DATABASE_TROUBLE
from factflow_foundation import interpreter, logs
from factflow_server.app import create_app
from factflow_server.container import Container, open_container
from factflow_server.databases import DatabaseUnusableError, where_of
from factflow_server.serving import Server, Signals, listen, url_of
from factflow_server.settings import ServerSettings, hide_secrets
from factflow_server.validation import check_shipped

EXIT_STOPPED_EARLY = 130

_log = logs.logger(__name__)


@contextlib.asynccontextmanager
async def running(settings: ServerSettings) -> AsyncIterator[Container]:
    """Open the container and bring the data folder in order; close it at the end.

    Raises `DataFolderLockedError`, `DataFolderUnwritableError`, `ShippedPipelinesError`, and what the
    registry says of adapter modules that cannot be used.
    """
    async with open_container(settings) as container:
        await asyncio.to_thread(check_shipped, settings, container.loader)
        orphans = await container.executions.mark_orphans()
        # Requests of other servers may be under way, where there can be such.
        await container.executions.holds.release_dead(3600.0 if container.leases else 0.0)
        if orphans:
            _log.warning("executions were interrupted", execution_ids=orphans)
        if container.leases is not None:
            container.leases.start()
            if container.runtimes.others is not None:
                container.runtimes.others.questions.start()
            if container.news is not None:
                container.news.start()
            # What another server gives back is told as a change of the execution.
            container.notifications.listen("execution", lambda _: container.recovery.look())
            container.notifications.listen("execution", lambda _: container.deleter.look())
        if container.others is not None:
            container.others.start()
        container.lineage_filler.start()
        container.deleter.start()
        container.recovery.start()
        try:
            yield container
        finally:
            await container.stop(settings.shutdown_grace_seconds)


def serve(settings: ServerSettings) -> int:
    """Serve until SIGINT or SIGTERM and return the exit code. Raises what keeps it from starting."""
    logs.configure(settings.log_level)
    with contextlib.closing(_listen(settings)) as listener:
        try:
            asyncio.run(_serve(settings, listener))
        except asyncio.CancelledError:
            return EXIT_STOPPED_EARLY
        except DATABASE_TROUBLE as error:  # it went between opening and being ready
            raise DatabaseUnusableError(where_of(settings), error) from error
    return 0


def _listen(settings: ServerSettings) -> socket.socket:
    listener = listen(settings.host, settings.port, with_tokens=bool(settings.tokens))
    hide_secrets()
    return listener


async def _serve(settings: ServerSettings, listener: socket.socket) -> None:
    task = asyncio.current_task()
    with Signals() as signals:
        signals.act = task.cancel if task else None
        async with running(settings) as container:
            ready = f"Factflow listening on {url_of(listener)} (data in {container.data_dir.root})"
            app = create_app(container)
            interpreter.settle()
            server = Server(app, container, settings, on_ready=lambda: _say(ready))
            signals.act = server.stop
            await server.serve(sockets=[listener])


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - the one line on stdout that is promised
