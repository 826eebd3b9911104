"""Write the reference pages that are made from the code: `make docs`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from cli_page import cli_page
from http_page import http_page, openapi_document

REFERENCE = Path(__file__).resolve().parent.parent / "reference"


def pages() -> dict[Path, str]:
    """Return each page's text by its path."""
    return {
        REFERENCE / "cli.md": cli_page(),
        REFERENCE / "http-endpoints.md": http_page(openapi_document()),
    }


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
