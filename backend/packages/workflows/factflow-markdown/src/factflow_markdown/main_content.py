"""Finds the node that holds what a page is about.

Pages say it themselves: by role, by element, or by an id that their generators share. Only when none
of that holds a fair share of the text, the page's own densest part is looked for: from the body down to
the child that has nearly all the text outside links, never leaving the main heading behind.
"""

from __future__ import annotations

from dataclasses import dataclass

from selectolax.lexbor import LexborHTMLParser, LexborNode

from factflow_markdown.page_text import outermost, text_length

MAIN_SELECTORS = (
    "[role=main]",
    "main",
    "article",
    "[itemprop=articleBody]",
    "#mw-content-text",
    "#main-content",
    "#content",
    ".markdown-body",
    ".main-content",
    ".post-content",
    ".entry-content",
    "#main",
)
"""Tried in this order."""

FAIR_SHARE = 0.2
"""Of the page's text (navigation gone), what a candidate must hold."""
LEADING_SHARE = 0.6
"""Of several candidates' text, what the largest must hold to stand for all."""
DENSE_SHARE = 0.8
MAX_DESCENT = 30


@dataclass(frozen=True, slots=True)
class MainNode:
    """The chosen node, and the selector that found it (`density` or `body` without one)."""

    node: LexborNode
    found_by: str


def find_main(
    tree: LexborHTMLParser, body: LexborNode, selectors: tuple[str, ...] = MAIN_SELECTORS
) -> MainNode:
    """Return the main node of a page whose navigation is already gone."""
    total = text_length(body)
    for selector in selectors:
        node = _standing_for(outermost(tree.css(selector)))
        if node is not None and text_length(node) >= max(1, FAIR_SHARE * total):
            return MainNode(_narrowed(node), selector)
    dense = _densest(body)
    return MainNode(dense, "body" if dense.mem_id == body.mem_id else "density")


def _standing_for(nodes: list[LexborNode]) -> LexborNode | None:
    """Return the node to take for all: the leading one, or what encloses them."""
    if len(nodes) < 2:
        return nodes[0] if nodes else None
    sizes = [text_length(node) for node in nodes]
    largest: LexborNode = nodes[sizes.index(max(sizes))]
    if max(sizes) >= LEADING_SHARE * sum(sizes):
        return largest
    ancestor = largest
    while ancestor.parent is not None and ancestor.tag != "body":
        ancestor = ancestor.parent
        if text_length(ancestor) >= sum(sizes):
            break
    return ancestor


def _narrowed(node: LexborNode) -> LexborNode:
    """Go on to the one article inside, if it has most of the text and the main heading."""
    articles = [one for one in outermost(node.css("article")) if one.mem_id != node.mem_id]
    if len(articles) != 1:
        return node
    article = articles[0]
    leading = text_length(article) >= LEADING_SHARE * text_length(node)
    return article if leading and _keeps_headings(node, article) else node


def _keeps_headings(outer: LexborNode, inner: LexborNode) -> bool:
    return len(outer.css("h1")) == len(inner.css("h1"))


def _prose_length(node: LexborNode) -> int:
    links = sum(text_length(link) for link in node.css("a"))
    return text_length(node) - links


def _densest(body: LexborNode) -> LexborNode:
    node = body
    for _ in range(MAX_DESCENT):
        children = [
            child for child in node.iter() if child.tag not in {"p", "pre", "ul", "ol", "table"}
        ]
        if not children:
            return node
        sizes = [_prose_length(child) for child in children]
        best = children[sizes.index(max(sizes))]
        if max(sizes) < DENSE_SHARE * max(1, _prose_length(node)) or not _keeps_headings(
            node, best
        ):
            return node
        node = best
    return node
