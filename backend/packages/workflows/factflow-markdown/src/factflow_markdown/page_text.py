"""How much text a node holds, and its HTML in pieces of bearable size."""

from __future__ import annotations

from collections.abc import Iterator

from selectolax.lexbor import LexborNode

PIECE_CHARACTERS = 250_000
"""Converting one piece holds the interpreter lock, for some 20 ms."""

_WRAPPERS = frozenset({"body", "main", "article", "section", "div"})
_BLOCKS = _WRAPPERS | frozenset({"p", "h1", "h2", "h3", "h4", "h5", "h6", "pre", "table", "hr"})


def text_of(node: LexborNode) -> str:
    """Return the node's text with runs of white space made one blank."""
    return " ".join(node.text(separator=" ").split())


def text_length(node: LexborNode) -> int:
    """Return the number of characters of the node's text, white space not counted twice."""
    return len(text_of(node))


def outermost(nodes: list[LexborNode]) -> list[LexborNode]:
    """Return those of the nodes that lie in none of the others. They must be in document order."""
    chosen: list[LexborNode] = []
    ids: set[int] = set()
    for node in nodes:
        parent = node.parent
        while parent is not None and parent.mem_id not in ids:
            parent = parent.parent
        if parent is None:
            chosen.append(node)
            ids.add(node.mem_id)
    return chosen


def pieces_of(node: LexborNode) -> Iterator[str]:
    """Yield the node's HTML, a long one in pieces cut before its block elements."""
    html = node.html or ""
    if len(html) <= PIECE_CHARACTERS:
        yield html
        return
    piece: list[str] = []
    size = 0
    for child in _unwrapped(node).iter(include_text=True):
        part = child.html or ""
        if size > PIECE_CHARACTERS and child.tag in _BLOCKS:
            yield "".join(piece)
            piece, size = [], 0
        piece.append(part)
        size += len(part)
    yield "".join(piece)


def _unwrapped(node: LexborNode) -> LexborNode:
    """Go down through wrappers with nothing beside their one child."""
    while True:
        children = [child for child in node.iter(include_text=True) if not child.is_empty_text_node]
        if len(children) != 1 or children[0].tag not in _WRAPPERS:
            return node
        node = children[0]
