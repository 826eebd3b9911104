"""Listening: the socket, the ready line, and an end in good order."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import signal
import socket
from collections.abc import Callable, Iterator
from email.utils import formatdate

import uvicorn
from starlette.types import ASGIApp
from uvicorn.server import ServerState

from factflow_server.container import Container
from factflow_server.settings import ServerSettings, ServerStartError, check_host

LINGER_SECONDS = 5
"""How long answers under way may take once executions have stopped."""
KEEP_ALIVE_SECONDS = 75
"""How long an idle connection is kept: for longer than clients keep theirs, which is often 5 seconds.
A client that reuses one just as it is closed here sees a reset instead of an answer."""


class PortInUseError(ServerStartError):
    """Another process listens there."""

    code = "port_in_use"


class AddressRefusedError(ServerStartError):
    """The system does not let us listen there."""

    code = "address_refused"


def listen(host: str, port: int, *, with_tokens: bool = False) -> socket.socket:
    """Return a listening socket; port 0 takes any free one. Beyond loopback only with access tokens.

    Raises `HostRefusedError`, `PortInUseError`, or `AddressRefusedError`.
    """
    bare = check_host(host, with_tokens=with_tokens).removeprefix("[").removesuffix("]")
    family = socket.AF_INET6 if ":" in bare else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((bare, port))
        listener.listen(2048)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise PortInUseError(
                f"port {port} on {host} is taken by another process",
                hint="--port 0 takes any free port",
            ) from error
        raise AddressRefusedError(
            f"cannot listen on {host} port {port}: {error.strerror or error}",
            hint="choose another --host or --port",
        ) from error
    listener.setblocking(False)
    return listener


def url_of(listener: socket.socket) -> str:
    """Return the URL under which a listening socket answers."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class DatedState(ServerState):
    """What uvicorn's connections share, with the date of each answer told when it is asked for."""

    @property
    def default_headers(self) -> list[tuple[bytes, bytes]]:
        """The headers of an answer that begins now."""
        return [(b"date", formatdate(usegmt=True).encode())]

    @default_headers.setter
    def default_headers(self, headers: list[tuple[bytes, bytes]]) -> None:
        """Leave the date to the answers: uvicorn would set it once a second."""


class Server(uvicorn.Server):
    """Uvicorn that calls `on_ready` when it answers, and stops executions before connections.

    An answer may wait for an execution's end, so the executions have to end first. Uvicorn's own main
    loop looks ten times a second whether it should end; this one sleeps until it is told.
    """

    def __init__(
        self,
        app: ASGIApp,
        container: Container,
        settings: ServerSettings,
        on_ready: Callable[[], None],
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                lifespan="off",  # the container is opened before and closed after
                access_log=False,
                server_header=False,
                log_level=settings.log_level,
                timeout_graceful_shutdown=LINGER_SECONDS,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
            )
        )
        self.server_state = DatedState()
        self._told_to_stop = asyncio.Event()
        self._container = container
        self._grace = settings.shutdown_grace_seconds
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start answering, then say so."""
        await super().startup(sockets)
        if self.started and not self.should_exit:
            self._on_ready()

    async def main_loop(self) -> None:
        """Answer until `stop`."""
        await self._told_to_stop.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no new connections, stop the executions, let answers under way go out."""
        for server in self.servers:
            server.close()
        await self._container.stop(self._grace)
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone: `Signals` has them, for longer than the server lives."""
        yield

    def stop(self) -> None:
        """End soon and in order; called again, without waiting for connections."""
        self.force_exit = self.should_exit
        self.should_exit = True
        self._told_to_stop.set()


class Signals:
    """Calls `act` at SIGINT and SIGTERM, from the start of the server until everything is closed."""

    def __init__(self) -> None:
        self.act: Callable[[], object] | None = None

    def __enter__(self) -> Signals:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._caught)
        return self

    def __exit__(self, *_: object) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)

    def _caught(self) -> None:
        if self.act is not None:
            self.act()
