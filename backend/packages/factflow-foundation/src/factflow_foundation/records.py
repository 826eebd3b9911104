"""The outcome record: how one stage ended for one message. Its creation is the commit.

It is the artefact's sidecar, and holds everything that lineage, replay and recovery need, so that
both the queue and the lineage database can be lost and rebuilt.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from factflow_foundation import ids, keys
from factflow_protocols.errors import RecordDamagedError

Outcome = Literal["stored", "fanned_out", "filtered", "failed", "passed"]
"""`passed` ends a chain whose last stages were all skipped by their conditions."""


class ErrorInfo(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why a stage failed: exception class, its message, and the traceback of the adapter's frames."""

    type: str
    message: str
    traceback: str = ""


class Child(msgspec.Struct, frozen=True, omit_defaults=True):
    """A message that this outcome announces: where it goes and which artefact it starts from.

    A stored record leaves `input_key` out when that is its own `output_key`, whose name only the write
    decides; records that are read or committed have it filled in.
    """

    message_id: str
    origin_id: str
    route: str
    entry_stage: str
    input_key: str = ""
    input_hash: str = ""
    content_type: str = "application/json"
    name: str = ""
    """What the child is called among its siblings: `=<key>` or `@<ordinal>`."""
    metadata: dict[str, Any] = {}


class OutcomeRecord(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One stage's end for one message. Hashes are SHA-256 in hex, times Unix seconds, size in bytes."""

    execution_id: str
    route: str
    stage: str
    adapter: str
    adapter_version: str
    message_id: str
    origin_id: str
    parent_id: str | None = None
    """Lineage id of the row this one follows, within the execution."""
    root_id: str | None = None
    replayed_from: str | None = None
    """Lineage id in the source execution, on the first rows of a replay."""
    outcome: Outcome
    input_key: str | None = None
    input_hash: str | None = None
    input_content_type: str | None = None
    output_key: str | None = None
    output_hash: str | None = None
    content_type: str | None = None
    size: int = 0
    children: list[Child] = []
    children_keys: list[str] = []
    """Objects that list the children, part by part, when they are too many to stand here."""
    children_count: int = 0
    passed: list[str] = []
    """Stages before this one that their condition skipped, since the last record."""
    error: ErrorInfo | None = None
    attempts: int = 1
    generation: int = 1
    started_at: float = 0.0
    completed_at: float = 0.0
    config_hash: str = ""
    batch_id: str | None = None
    metadata: dict[str, Any] = {}

    @property
    def lineage_id(self) -> str:
        """Return the id of this outcome's lineage row."""
        return ids.lineage_id(self.execution_id, self.route, self.stage, self.message_id)

    @property
    def key(self) -> str:
        """Return the storage key this record stands under."""
        return keys.stage_key(self.execution_id, self.route, self.stage, self.message_id)

    def with_input_keys(self) -> OutcomeRecord:
        """Return the record with every child told which artefact it starts from."""
        if (
            self.output_key is None
            or not self.children
            or all(child.input_key for child in self.children)
        ):
            return self
        return msgspec.structs.replace(
            self,
            children=[
                child
                if child.input_key
                else msgspec.structs.replace(child, input_key=self.output_key)
                for child in self.children
            ],
        )

    def to_metadata(self) -> dict[str, Any]:
        """Return the record as JSON-able metadata, with its `lineage_id` and `key` for readers."""
        built: dict[str, Any] = msgspec.to_builtins(self)
        built["lineage_id"] = self.lineage_id
        built["key"] = self.key
        return built


def from_metadata(metadata: dict[str, Any], key: str | None = None) -> OutcomeRecord:
    """Read a record back; unknown fields are ignored. Raises `RecordDamagedError`.

    `key` is where it was found, for the error.
    """
    try:
        return msgspec.convert(metadata, OutcomeRecord).with_input_keys()
    except msgspec.ValidationError as error:
        place = key or str(metadata.get("key", "?"))
        raise RecordDamagedError(place, str(error)) from error
