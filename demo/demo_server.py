"""The demo's server: with everything in it, or one that leaves the work to workers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import screen
from demo_process import DemoProcess


class DemoServer(DemoProcess):
    """A server that is up inside its `with` block, and answers at its `url`.

    `places` are the variables that name what it shares with workers; without any it does all by itself.
    """

    def __init__(
        self,
        data: Path,
        log: Path,
        lock: int,
        *,
        private_networks: bool,
        places: Mapping[str, str] | None = None,
    ) -> None:
        arguments = ["serve", "--port", "0", "--data-dir", screen.path(data)]
        if places:
            arguments.insert(1, "--no-work")
        if private_networks:
            arguments.append("--allow-private-networks")
        super().__init__(
            "the server",
            arguments,
            ready="Factflow listening on ",
            log=log,
            lock=lock,
            variables=places or {},
        )

    @property
    def url(self) -> str:
        """Where it answers."""
        return self.line.split()[0]
