"""Makes code blocks of many generators look alike: `<pre><code class="language-x">`."""

from __future__ import annotations

import re

from selectolax.lexbor import LexborNode

_NUMBERED = "table.highlighttable,table.codehilitetable,table.rouge-table,table.lntable"
_LANGUAGE_ATTRIBUTES = ("data-lang", "data-language", "data-code-lang")
_PREFIXED = re.compile(r"(?:language|lang|highlight-source|highlight|src)-(.+)", re.IGNORECASE)
_FOLLOWS = frozenset({"sourcecode", "brush:", "hljs", "code-block"})
_NAME = re.compile(r"[A-Za-z0-9+#._-]{1,30}")
_ALIASES = {"python3": "python", "ipython3": "python", "py": "python", "shell-session": "console"}
_NOT_LANGUAGES = frozenset(
    {"default", "none", "nohighlight", "notranslate", "numbers", "wrap", "height"}
)
_ENCLOSING = frozenset({"div", "figure", "td", "section", "span"})
"""Elements that generators put around a block, with its language on them."""


def normalise_code(main: LexborNode) -> None:
    """Unpack line-number tables and put each block's language where the converter reads it."""
    for table in main.css(_NUMBERED):
        blocks = table.css("pre")
        if blocks:
            _set_language(blocks[-1])
            table.replace_with(blocks[-1], move=True)
    for block in main.css("pre"):
        _set_language(block)


def _set_language(block: LexborNode) -> None:
    language = _language_of(block)
    code = block.css_first("code")
    for node in (block, code):
        if node is not None and "class" in node.attributes:
            del node.attrs["class"]
    if language:
        (code if code is not None else block).attrs["class"] = f"language-{language}"


def _language_of(block: LexborNode) -> str:
    """Return the language named on the code, the block or up to three nodes around it; '' if none."""
    nodes = [node for node in (block.css_first("code"), block) if node is not None]
    ancestor = block.parent
    while ancestor is not None and ancestor.tag in _ENCLOSING and len(nodes) < 5:
        nodes.append(ancestor)
        ancestor = ancestor.parent
    return next((found for node in nodes if (found := _named_on(node))), "")


def _named_on(node: LexborNode) -> str:
    attributes = node.attributes
    candidates = [attributes.get(name) or "" for name in _LANGUAGE_ATTRIBUTES]
    words = (attributes.get("class") or "").split()
    for index, word in enumerate(words):
        if prefixed := _PREFIXED.fullmatch(word):
            candidates.append(prefixed[1])
        elif word.lower() in _FOLLOWS and index + 1 < len(words):
            candidates.append(words[index + 1].rstrip(";"))
    for candidate in candidates:
        name = candidate.strip().lower().removeprefix("language-")
        if _NAME.fullmatch(name) and name not in _NOT_LANGUAGES:
            return _ALIASES.get(name, name)
    return ""
