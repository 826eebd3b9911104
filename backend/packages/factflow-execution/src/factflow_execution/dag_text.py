"""A graph of routes as text: a tree to read, Mermaid and DOT for programs that draw.

Names come from whoever wrote the YAML. Nodes are called `n0`, `n1`, …, and names stand only in labels, in
which everything that means something to the language is spelled out.
"""

from __future__ import annotations

import re

from factflow_execution.dag import Dag, DagEdge, DagNode

_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_MERMAID = re.compile(r"[^\w .:/()=,+-]", re.ASCII)


def tree(dag: Dag) -> str:
    """Return the routes as a tree: each with its stages, under it the routes that its queues feed.

    A route that stands above already (a cycle, or two ways to one place) is named with `(above)`.
    """
    lines = [f"init -> {_line(dag.init_queue or 'nothing')}"]
    drawn: set[str] = set()
    nodes = {node.route_id: node for node in dag.nodes}
    for start in [*dag.sources(), *dag.nodes]:
        if start.route_id in drawn:
            continue
        pending: list[tuple[str, int, DagEdge | None]] = [(start.route_id, 0, None)]
        while pending:
            route, depth, edge = pending.pop()
            lines += _tree_lines(nodes[route], depth, edge, seen=route in drawn)
            if route not in drawn:
                drawn.add(route)
                onward = [edge for edge in dag.edges if edge.from_route == route]
                pending += [(edge.to_route, depth + 1, edge) for edge in reversed(onward)]
    return "\n".join(lines) + "\n"


def mermaid(dag: Dag) -> str:
    """Return a flowchart in Mermaid; dead letters go along dotted lines."""
    names = _names(dag)
    lines = ["flowchart TD"]
    if dag.init_queue is not None:
        lines.append('    init(["init"])')
    for node in dag.nodes:
        stages = "<br/>".join(_mermaid_text(stage) for stage in node.adapters)
        lines.append(f'    {names[node.route_id]}["{_mermaid_text(node.route_id)}<br/>{stages}"]')
    lines += [
        f'    init -->|"{_mermaid_text(node.queue)}"| {names[node.route_id]}'
        for node in dag.nodes
        if node.queue == dag.init_queue
    ]
    for edge in dag.edges:
        arrow = "-->" if edge.kind == "outbound" else "-.->"
        label = f'|"{_mermaid_text(edge.queue)}"|'
        lines.append(f"    {names[edge.from_route]} {arrow}{label} {names[edge.to_route]}")
    return "\n".join(lines) + "\n"


def dot(dag: Dag) -> str:
    """Return a digraph in DOT, the language of Graphviz; dead letters go along dashed lines."""
    names = _names(dag)
    lines = ["digraph pipeline {", "    node [shape=box];"]
    if dag.init_queue is not None:
        lines.append('    init [label="init", shape=oval];')
    for node in dag.nodes:
        label = "\\n".join(_dot_text(text) for text in [node.route_id, *node.adapters])
        lines.append(f'    {names[node.route_id]} [label="{label}"];')
    for node in dag.nodes:
        if node.queue == dag.init_queue:
            label = _dot_text(node.queue)
            lines.append(f'    init -> {names[node.route_id]} [label="{label}"];')
    for edge in dag.edges:
        style = "" if edge.kind == "outbound" else ", style=dashed"
        ends = f"{names[edge.from_route]} -> {names[edge.to_route]}"
        lines.append(f'    {ends} [label="{_dot_text(edge.queue)}"{style}];')
    return "\n".join([*lines, "}"]) + "\n"


def _names(dag: Dag) -> dict[str, str]:
    return {node.route_id: f"n{place}" for place, node in enumerate(dag.nodes)}


def _tree_lines(node: DagNode, depth: int, edge: DagEdge | None, *, seen: bool) -> list[str]:
    indent = "   " * depth
    arrow = f"{indent}+- " if edge else ""
    via = f"  <- {_line(edge.queue)}" if edge else ""
    if edge and edge.kind == "dead_letter":
        via += " (dead letters)"
    if seen:
        return [f"{arrow}{_line(node.route_id)} (above){via}"]
    chain = " > ".join(_line(stage) for stage in node.adapters)
    return [
        f"{arrow}{_line(node.route_id)}  [{_line(node.queue)}]{via}",
        f"{indent}{'   ' if depth else '  '}{chain}",
    ]


def _line(text: str) -> str:
    return _CONTROLS.sub(" ", text)


def _mermaid_text(text: str) -> str:
    """Return text for a quoted label; other characters by their number, as Mermaid writes them."""
    return _MERMAID.sub(lambda found: f"#{ord(found[0])};", _line(text))


def _dot_text(text: str) -> str:
    """Return text for a quoted label."""
    return _line(text).replace("\\", "\\\\").replace('"', '\\"')
