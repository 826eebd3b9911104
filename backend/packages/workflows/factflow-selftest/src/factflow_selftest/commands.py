"""`python -m factflow_selftest chaos`: what runs behind `factflow selftest chaos`.

Speaks JSON, a line each: `{"progress": …}` while it works, at the end `{"figures": …}` or
`{"error": …}`. Exit codes: 0 the proof holds, 1 it does not, 8 it could not be made.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import secrets
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import httpx2

from factflow_selftest.chaos import ChaosOptions, ChaosRunner
from factflow_selftest.server import SelftestError

EXIT_WRONG = 1
EXIT_NOT_MADE = 8
SEEDS = 1_000_000


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, _leave)
    with _folder(keep=options.keep) as folder:
        seed = secrets.randbelow(SEEDS) if options.seed is None else options.seed
        chaos = ChaosOptions(options.kills, options.seconds, seed, options.messages, options.packed)
        kept = {"folder": str(folder)} if options.keep else {}
        try:
            figures = ChaosRunner(folder, chaos, lambda said: _say({"progress": said})).run()
        except (SelftestError, httpx2.HTTPError) as error:
            _say({"error": str(error) or type(error).__name__, **kept})
            return EXIT_NOT_MADE
        _say({"figures": {"seed": seed, **figures.as_json(), **kept}})
    return EXIT_WRONG if figures.wrong else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m factflow_selftest")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    chaos = commands.add_parser(
        "chaos", help="kill a server again and again, and judge what is left"
    )
    defaults = ChaosOptions()
    chaos.add_argument("--kills", type=int, default=defaults.kills)
    chaos.add_argument("--seconds", type=float, default=defaults.seconds)
    chaos.add_argument("--seed", type=int, help="default: one is drawn")
    chaos.add_argument("--messages", type=int, default=defaults.messages)
    chaos.add_argument("--packed", action="store_true", help="have the server pack its storage")
    chaos.add_argument("--keep", action="store_true", help="leave the folder behind")
    return parser


@contextlib.contextmanager
def _folder(*, keep: bool) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="factflow-selftest-"))
    try:
        yield folder
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)


def _say(line: dict[str, Any]) -> None:
    print(json.dumps(line), flush=True)  # noqa: T201  # what is promised on stdout


def _leave(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001  # signal's shape
    """Unwind, so that the server and the folder go too."""
    sys.exit(128 + number)
