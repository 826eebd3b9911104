"""`python -m factflow_server`."""

from __future__ import annotations

import sys

from factflow_server.commands import main

if __name__ == "__main__":
    sys.exit(main())
