"""What is wrong with a configuration: one issue per problem, all of them in a report."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

from factflow_protocols.errors import FactflowError

Severity = Literal["error", "warning"]

PathParts = tuple[str | int, ...]
"""Keys and list indices from the top of the YAML down."""


@dataclass(frozen=True, slots=True)
class ConfigIssue:
    """One problem. `code` is stable (`docs/reference/validation-codes.md`); `path` is the YAML path
    ('' for the whole text); `line` counts from 1 and is None when there is no text to point into."""

    severity: Severity
    code: str
    path: str
    line: int | None
    message: str
    suggestion: str = ""

    def __str__(self) -> str:
        where = ", ".join(
            part for part in (f"line {self.line}" if self.line else "", self.path) if part
        )
        text = f"{self.code} {where}: {self.message}" if where else f"{self.code} {self.message}"
        return f"{text} ({self.suggestion})" if self.suggestion else text


class ValidationReport:
    """All issues of one configuration: errors first, each kind in the order of its lines."""

    def __init__(self, issues: Iterable[ConfigIssue] = ()) -> None:
        self.issues: tuple[ConfigIssue, ...] = tuple(
            sorted(issues, key=lambda issue: (issue.severity != "error", issue.line or 0))
        )

    @property
    def errors(self) -> tuple[ConfigIssue, ...]:
        """Return the issues that keep the configuration from running."""
        return tuple(issue for issue in self.issues if issue.severity == "error")

    @property
    def warnings(self) -> tuple[ConfigIssue, ...]:
        """Return the issues that do not."""
        return tuple(issue for issue in self.issues if issue.severity == "warning")

    @property
    def is_valid(self) -> bool:
        """Tell whether there is no error; warnings may remain."""
        return not self.errors

    @property
    def error_count(self) -> int:
        """Return the number of errors."""
        return len(self.errors)

    @property
    def warning_count(self) -> int:
        """Return the number of warnings."""
        return len(self.warnings)

    @property
    def is_readable(self) -> bool:
        """Tell whether the text is YAML that can be read at all (no E0xx)."""
        return not any(issue.code.startswith("E0") for issue in self.issues)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON-able data: is_valid, issues, error_count, warning_count."""
        return {
            "is_valid": self.is_valid,
            "issues": [asdict(issue) for issue in self.issues],
            "error_count": self.error_count,
            "warning_count": self.warning_count,
        }


class ConfigurationError(FactflowError):
    """A configuration cannot be used; `report` says everything that is wrong with it."""

    code: ClassVar[str] = "config_invalid"

    def __init__(self, report: ValidationReport, source: str = "<yaml>") -> None:
        count = report.error_count
        head = f"{source}: {count} error{'' if count == 1 else 's'}"
        super().__init__(
            "\n".join([head, *(f"  {issue}" for issue in report.errors)]),
            hint="factflow config validate FILE shows the same, with warnings",
        )
        self.report = report
        self.source = source


def format_path(parts: Sequence[str | int]) -> str:
    """Return a YAML path as text: `routes.a.adapters[1].config`; odd keys are quoted in brackets."""
    text = ""
    for part in parts:
        if isinstance(part, int):
            text += f"[{part}]"
        elif part.replace("_", "").replace("-", "").isalnum() or not part:
            text += f".{part}" if text else part
        else:
            text += f"[{shorten(part)!r}]"
    return text


def shorten(text: str, limit: int = 80) -> str:
    """Return the text, cut to `limit` characters: messages must not carry a megabyte of input."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that looks most like this one, None when none does."""
    matches = difflib.get_close_matches(name[:100], list(known), n=1, cutoff=0.6)
    return matches[0] if matches else None


def suggest_name(name: str, known: Iterable[str]) -> str:
    """Return a sentence that names the nearest known name, or else lists them all."""
    names = sorted(known)
    match = nearest(name, names)
    if match:
        return f"did you mean {match!r}?"
    return f"known: {', '.join(names)}" if names else ""
