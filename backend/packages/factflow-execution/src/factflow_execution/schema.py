"""What the tables of configs and executions are today, and how databases of earlier versions come there.

A database has the version of its newest migration in a table of its own. To change a table: change it in
`tables`, write the next module of `migrations/versions`, and name it in `HEAD`. A test compares what the two
make.
"""

from __future__ import annotations

from pathlib import Path

from factflow_execution.tables import metadata

NAME = "execution"
METADATA = metadata
HEAD = "0004"
MIGRATIONS = Path(__file__).with_name("migrations")
