"""Runs contenders in turn, each run in a process and a folder of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from storage_kinds import storage_variables

HERE = Path(__file__).parent
LONGEST = 1800
PLAIN, PACKED = False, True


@dataclass(frozen=True, slots=True)
class Entry:
    """A contender in a round: what is run (`contender.py` knows it), and on which storage."""

    name: str
    run: str
    packed: bool = PLAIN


class Workplace:
    """A folder for everything that is made. Nothing in it is deleted while measuring: deleting many files
    makes creating others several times slower for minutes."""

    def __init__(self, parent: Path | None) -> None:
        if parent is not None:
            parent.mkdir(parents=True, exist_ok=True)
        self.root = Path(tempfile.mkdtemp(prefix="factflow-bench-", dir=parent))

    def folder(self, name: str) -> Path:
        """Return a new, empty folder."""
        return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.root))

    def run(self, entry: Entry, count: int, size: int) -> dict[str, Any]:
        """Run a contender once and return what it printed. SystemExit when it fails."""
        folder = self.folder(entry.name)
        options = json.dumps({"count": count, "size": size, "folder": str(folder)})
        kept = {name: text for name, text in os.environ.items() if not name.startswith("FACTFLOW_")}
        done = subprocess.run(
            [sys.executable, str(HERE / "contender.py"), entry.run, options],
            env=kept | storage_variables(folder, packed=entry.packed),
            stdout=subprocess.PIPE,
            text=True,
            timeout=LONGEST,
            check=False,
        )
        if done.returncode:
            raise SystemExit(f"{entry.name} failed")
        result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        say(f"  {entry.name}: {_told(result)}")
        return result

    def alternate(
        self, entries: list[Entry], rounds: int, count: int, size: int
    ) -> dict[str, list[dict[str, Any]]]:
        """Run all of them once in every round, there and back; return what each printed by rounds."""
        results: dict[str, list[dict[str, Any]]] = {entry.name: [] for entry in entries}
        for number in range(rounds):
            say(f"round {number + 1} of {rounds}: {count} messages of {size} bytes")
            for entry in entries[:: -1 if number % 2 else 1]:
                results[entry.name].append(self.run(entry, count, size))
        return results


def say(line: str) -> None:
    """Tell how far things are, beside the table."""
    print(line, file=sys.stderr, flush=True)


def _told(result: dict[str, Any]) -> str:
    if "seconds" not in result:
        return "done"
    return f"{result['seconds']:.2f} s, {result['cpu']:.2f} s of processor time"
