"""What a snapshot says of its routes, whether or not its adapters are still installed."""

from __future__ import annotations

import functools

from factflow_engine.config.loader import load_snapshot
from factflow_engine.config.models import PipelineGlobalConfig


@functools.lru_cache(maxsize=32)
def snapshot_config(text: str) -> PipelineGlobalConfig:
    """Return a snapshot as models; the same text gives the same object.

    Raises `ConfigurationError`: as it ran once, this version of Factflow reads pipelines otherwise.
    """
    return load_snapshot(text)
