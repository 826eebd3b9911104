"""What runs for the demo: a server alone, or one with workers, on the places that these share."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import screen
from commands import Commands
from demo_process import DemoProcess
from demo_server import DemoServer
from demo_workers import check_shares, start_workers

if TYPE_CHECKING:
    from services import Services


@dataclass(frozen=True)
class Stack:
    """The processes; `services` and workers are there only where the work is shared."""

    server: DemoServer
    folder: Path
    services: Services | None = None
    workers: Sequence[DemoProcess] = ()

    @property
    def artefacts(self) -> Path:
        """The folder with what is stored, or with what is exported to be looked at."""
        if self.services is None:
            return self.folder / "data/storage"
        return self.services.artefacts or self.folder / "exported"

    @property
    def exports(self) -> bool:
        """Whether what is stored has to be exported before it can be looked at."""
        return self.services is not None and self.services.artefacts is None

    def show(self, commands: Commands) -> None:
        """Tell what runs, and under which processes."""
        screen.note(f"listens on {self.server.url} (process {self.server.pid})")
        screen.command(["export", f"FACTFLOW_SERVER_URL={self.server.url}"])
        if self.workers:
            commands.show("system", "workers")

    def is_alive(self) -> bool:
        """Tell whether all processes run."""
        return all(process.is_alive() for process in (self.server, *self.workers))

    def stop(self, promises: screen.Promises) -> None:
        """Stop all, workers first, and check that each ends in order."""
        for process in (*self.workers, self.server):
            promises.check(
                process.stop() == 0, f"{process.name} (process {process.pid}) ended in order"
            )

    def check_shares(self, promises: screen.Promises, execution: str) -> None:
        """Check that all workers had a part in an execution."""
        if self.services is not None:
            check_shares(promises, self.services.journal, self.server, self.workers, execution)

    def check_queues(
        self, promises: screen.Promises, executions: Sequence[str], queues: Sequence[str]
    ) -> None:
        """Check that executions left no queue at the broker, if it is one that can be asked."""
        if self.services is None:
            return
        from broker_queues import is_rabbitmq, left_of

        if is_rabbitmq(self.services.broker):
            left = left_of(self.services.broker, executions, queues)
            promises.check(not left, f"queues left at the broker: {', '.join(left) or 'none'}")


def start_stack(
    running: ExitStack,
    folder: Path,
    lock: int,
    services: Services | None,
    *,
    private_networks: bool,
) -> Stack:
    """Start the processes, which are stopped with `running`."""
    data, log = folder / "data", folder / "server.log"
    if services is None:
        server = DemoServer(data, log, lock, private_networks=private_networks)
        return Stack(running.enter_context(server), folder)
    services.show()
    places = services.variables
    server = DemoServer(data, log, lock, private_networks=private_networks, places=places)
    running.enter_context(server)
    workers = start_workers(running, folder, lock, private_networks=private_networks, places=places)
    return Stack(server, folder, services, workers)
