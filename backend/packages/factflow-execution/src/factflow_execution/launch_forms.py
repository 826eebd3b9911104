"""The two forms an execution has when it is launched: its row, and what the engine is asked to run."""

from __future__ import annotations

from typing import Any

from factflow_engine.config.loader import config_hash
from factflow_engine.config.models import PipelineGlobalConfig
from factflow_engine.execution_spec import ExecutionSpec, MessageSource
from factflow_execution.models import ExecutionDraft, PipelineExecution
from factflow_protocols.queue import Progress


def row_of(execution_id: str, draft: ExecutionDraft, started_at: float) -> PipelineExecution:
    """Return the row of an execution that begins to run at `started_at` (Unix seconds)."""
    return PipelineExecution(
        execution_id=execution_id,
        config_id=draft.config_id,
        config_name=draft.config_name,
        config_version=draft.config_version,
        config_hash=config_hash(draft.config_snapshot),
        config_snapshot=draft.config_snapshot,
        status="running",
        started_at=started_at,
        parent_execution_id=draft.parent_execution_id,
        replay_source=draft.replay_source,
        tag=draft.tag,
        source=draft.source,
        metadata=draft.metadata,
        trigger_context=draft.trigger_context,
        idempotency_key=draft.idempotency.key if draft.idempotency else None,
        request_hash=draft.idempotency.request_hash if draft.idempotency else None,
        skip_init=draft.skip_init,
    )


def spec_of(
    execution: PipelineExecution,
    config: PipelineGlobalConfig,
    source: MessageSource | None,
    *,
    resumed: bool = False,
) -> ExecutionSpec:
    """Return what the engine runs. `source` publishes a replay's plan; `resumed` after an interruption."""
    return ExecutionSpec(
        execution_id=execution.execution_id,
        config=config,
        config_hash=execution.config_hash,
        source=source,
        skip_init=execution.skip_init,
        is_replay=execution.source == "replay",
        resumed=resumed,
        generation=execution.generation,
    )


def resumption_of(
    execution: PipelineExecution, found: Progress | None, now: float
) -> dict[str, Any]:
    """Return what changes in the row of an execution that is taken up again; `found` is how far its
    queues say it is, None when they were lost."""
    return {
        "completed_at": None,
        "error_info": None,
        "recoveries": execution.recoveries + 1,
        "generation": execution.generation + (found is None),
        "last_recovery": {
            "at": now,
            "source": "records" if found is None else "queue",
            "announced": None if found is None else found.announced,
            "settled": None if found is None else found.settled,
        },
        # The last rows before the cut may be missing; how many is not known.
        "lineage_gap": max(execution.lineage_gap, 1),
    }
