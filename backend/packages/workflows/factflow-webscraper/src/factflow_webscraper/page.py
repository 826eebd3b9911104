"""What a page says about itself: title and language."""

from __future__ import annotations

import re
from dataclasses import dataclass

from selectolax.lexbor import LexborHTMLParser

_HEAD_CHARACTERS = 256 * 1024
_MAX_TITLE = 500
_LANGUAGE = re.compile(r"[A-Za-z]{2,8}([-_][A-Za-z0-9]{1,8})*")


@dataclass(frozen=True, slots=True)
class PageFacts:
    """Title with single blanks ('' without one) and BCP 47 language (None when not said)."""

    title: str
    language: str | None


def page_facts(html: str) -> PageFacts:
    """Read the start of an HTML page, where both stand."""
    if "<" not in html:
        return PageFacts("", None)
    tree = LexborHTMLParser(html[:_HEAD_CHARACTERS])
    node = tree.css_first("head > title") or tree.css_first("body > title")
    title = " ".join(node.text().split())[:_MAX_TITLE] if node is not None else ""
    root = tree.css_first("html")
    said = (root.attributes.get("lang") or "").strip() if root is not None else ""
    language = said.replace("_", "-") if _LANGUAGE.fullmatch(said) else None
    return PageFacts(title, language)
