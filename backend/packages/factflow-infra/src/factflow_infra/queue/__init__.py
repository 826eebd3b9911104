"""Queues: the embedded one is the default and needs nothing but a file."""

from factflow_infra.queue.embedded import EmbeddedQueue

__all__ = ["EmbeddedQueue"]
