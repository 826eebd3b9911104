"""Executions and the replays made from them, as a tree."""

from __future__ import annotations

from dataclasses import dataclass, field

from factflow_execution.errors import ExecutionNotFoundError
from factflow_execution.execution_service import ExecutionService
from factflow_execution.models import ExecutionSummary

PAGE = 200


@dataclass(slots=True)
class ExecutionNode:
    """An execution, and its replays in the order they were started."""

    execution: ExecutionSummary
    replays: list[ExecutionNode] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class ExecutionTree:
    """A whole family: `root` is the first execution, `asked` the id of the one that was asked for."""

    root: ExecutionNode
    asked: str

    def below(self, execution_id: str) -> list[ExecutionNode]:
        """Return all replays of an execution, and theirs, parents before children."""
        waiting, inside = [(self.root, False)], []
        while waiting:
            node, within = waiting.pop(0)
            if within:
                inside.append(node)
            within = within or node.execution.execution_id == execution_id
            waiting += [(replay, within) for replay in node.replays]
        return inside


class ExecutionTrees:
    """Puts trees together from the list of executions."""

    def __init__(self, executions: ExecutionService) -> None:
        self._executions = executions

    async def get(self, id_or_tag: str) -> ExecutionTree:
        """Return the tree an execution stands in. Raises `ExecutionNotFoundError`."""
        return await self.of(await self._executions.get(id_or_tag))

    async def of(self, execution: ExecutionSummary) -> ExecutionTree:
        """Return the tree of an execution, from the oldest ancestor that is still there."""
        root = await self._root(execution)
        nodes = {root.execution_id: ExecutionNode(root)}
        for replay in await self._replays_since(root):
            nodes[replay.execution_id] = ExecutionNode(replay)
        for node in nodes.values():
            parent = nodes.get(node.execution.parent_execution_id or "")
            if parent is not None:
                parent.replays.append(node)
        return ExecutionTree(nodes[root.execution_id], execution.execution_id)

    async def _root(self, execution: ExecutionSummary) -> ExecutionSummary:
        while execution.parent_execution_id is not None:
            try:
                execution = await self._executions.get(execution.parent_execution_id)
            except ExecutionNotFoundError:
                break
        return execution

    async def _replays_since(self, root: ExecutionSummary) -> list[ExecutionSummary]:
        """Return all replays that were started after an execution, oldest first."""
        found: list[ExecutionSummary] = []
        offset = 0
        while True:
            page = await self._executions.list(None, PAGE, offset, deleted=True)
            found += [row for row in page.rows if row.source == "replay"]
            offset += len(page.rows)
            older = bool(page.rows) and page.rows[-1].started_at < root.started_at
            if older or not page.has_more:
                break
        unique = {row.execution_id: row for row in found if row.execution_id != root.execution_id}
        return sorted(unique.values(), key=lambda row: (row.started_at, row.execution_id))
