"""`python -m factflow_selftest`."""

from __future__ import annotations

import sys

from factflow_selftest.commands import main

if __name__ == "__main__":
    sys.exit(main())
