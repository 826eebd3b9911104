"""The ledger's tables as they are today, and how earlier ledgers come there (`factflow_infra.schema`)."""

from __future__ import annotations

from pathlib import Path

from factflow_infra.queue.ledger.tables import metadata

NAME = "queue"
METADATA = metadata
HEAD = "0002"
MIGRATIONS = Path(__file__).with_name("migrations")
