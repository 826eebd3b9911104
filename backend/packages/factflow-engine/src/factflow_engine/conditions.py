"""Whether a stage's condition holds for a message.

`field` is a dotted path (`page.links.0`), looked up in the payload when that is a mapping or list, and
else in the metadata. A key that holds the whole path as it stands wins over walking it. A field that is
there with the value null exists.

| operator     | holds when the field …                                                          |
| ------------ | ------------------------------------------------------------------------------- |
| `equals`     | has this value; 1 equals 1.0, but true is not 1                                 |
| `not_equals` | has another value, or is missing                                                |
| `in`         | equals one of the listed values                                                 |
| `contains`   | is a text with this text in it, a list with this item, a mapping with this key  |
| `matches`    | is a text in which the regular expression is found anywhere (`re.search`)       |
| `exists`     | is there (value true or none) or is missing (value false)                       |
| `gt`, `lt`   | is greater, less: numbers with numbers, texts with texts by code point          |

Types that cannot be compared do not hold. Texts longer than `MAX_TEXT` characters match nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from factflow_engine.config.models import ConditionConfig

MAX_TEXT = 100_000
_MISSING: Any = object()


class Condition:
    """A condition, compiled once and asked per message."""

    def __init__(self, config: ConditionConfig) -> None:
        self._operator = config.operator
        self._field = config.field
        self._segments = config.field.split(".")
        value = config.value
        if config.operator == "matches":
            value = re.compile(config.value)
        elif config.operator == "exists":
            value = value is not False
        self._value = value

    def holds(self, payload: Any, metadata: Mapping[str, Any]) -> bool:
        """Tell whether the stage runs for a message; never raises."""
        found = self._find(payload)
        if found is _MISSING:
            found = self._find(metadata)
        if self._operator == "exists":
            return (found is not _MISSING) is self._value
        if found is _MISSING:
            return self._operator == "not_equals"
        return _TESTS[self._operator](found, self._value)

    def _find(self, container: Any) -> Any:
        """Return the field's value, `_MISSING` when there is none."""
        if isinstance(container, Mapping) and self._field in container:
            return container[self._field]
        current = container
        for segment in self._segments:
            if isinstance(current, Mapping):
                current = current.get(segment, _MISSING)
            elif isinstance(current, (list, tuple)):
                current = _item(current, segment)
            else:
                return _MISSING
        return current


def _item(items: list[Any] | tuple[Any, ...], segment: str) -> Any:
    if not (segment.isascii() and segment.isdigit()) or len(segment) > 9:
        return _MISSING
    index = int(segment)
    return items[index] if index < len(items) else _MISSING


def _equal(found: Any, value: Any) -> bool:
    """Compare as JSON does: Python would let true be 1."""
    return isinstance(found, bool) is isinstance(value, bool) and bool(found == value)


def _contains(found: Any, value: Any) -> bool:
    if isinstance(found, str):
        return isinstance(value, str) and value in found
    if isinstance(found, Mapping):
        return isinstance(value, str) and value in found
    if isinstance(found, (list, tuple)):
        return any(_equal(item, value) for item in found)
    return False


def _matches(found: Any, pattern: re.Pattern[str]) -> bool:
    return isinstance(found, str) and len(found) <= MAX_TEXT and bool(pattern.search(found))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _comparable(found: Any, value: Any) -> bool:
    both_texts = isinstance(found, str) and isinstance(value, str)
    return both_texts or (_is_number(found) and _is_number(value))


_TESTS: dict[str, Callable[[Any, Any], bool]] = {
    "equals": _equal,
    "not_equals": lambda found, value: not _equal(found, value),
    "in": lambda found, values: any(_equal(found, value) for value in values),
    "contains": _contains,
    "matches": _matches,
    "gt": lambda found, value: _comparable(found, value) and bool(found > value),
    "lt": lambda found, value: _comparable(found, value) and bool(found < value),
}
