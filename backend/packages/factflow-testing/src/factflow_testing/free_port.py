"""A port of loopback that nobody listens on."""

from __future__ import annotations

import socket


def free_port() -> int:
    """Return a free port; another process may take it before it is used."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port
