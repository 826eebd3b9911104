"""The lineage tables, for SQLite and PostgreSQL alike.

Derived ids are random: an index of them has each new row touch a page anywhere in it, which costs more
than the row itself, and more with every row there is. So there is as little of that as can be:

- Rows stand in *blocks*: an execution belongs to the block that was current when its first row came, and
  a block covers about `ROWS_PER_BLOCK` rows or one large execution. What is found by an id is indexed by
  (block, id), and new rows touch the pages of the executions of these days only. Whoever asks for an id
  without its execution looks into every block.
- A row knows its parent by number, and numbers are given in the order of writing. A row whose parent is
  not there yet (an *orphan*) is told the number when the parent comes.
- Only the row with which a message `enters` is indexed by message; the others are found from it.

SQLite's indexes end with the number of the row by themselves, which is what rows of equal start are ordered
by; PostgreSQL's are told to. SQLite takes the index that the most conditions fit; PostgreSQL may go through
all rows by time to find those of an execution, as it takes them for evenly spread, which they never are. So
there the indexes over all rows are of a time written otherwise (`overall`), and serve who asks for it.
"""

from __future__ import annotations

import uuid
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from factflow_lineage.hex_text import HexText
from factflow_lineage.turns import take_turn

ROWS_PER_BLOCK = 100_000

FORM = 1
"""Of these tables: to be counted up when they change, as what a PostgreSQL database holds is told by it."""
_FORM_TOLD = "Factflow lineage, form "

schema = sa.MetaData()


def _number(*, given: bool = False) -> sa.Column[int]:
    # SQLite counts by itself only in a column that is called INTEGER.
    kind = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    return sa.Column("number", kind, primary_key=True, autoincrement=not given)


executions = sa.Table(
    "lineage_executions",
    schema,
    _number(),
    sa.Column("execution_id", sa.Text, nullable=False, unique=True),
    sa.Column("block", sa.Integer, nullable=False),
)

COUNTED = (
    *("pending", "processing", "completed", "failed", "cancelled"),
    *("filtered", "settled", "waiting"),
)
"""Rows by status; of the committed ones also those filtered, those that settled their message, and of the
completed ones those that wait for a child to be completed."""

stages = sa.Table(
    "lineage_stages",
    schema,
    _number(),
    sa.Column("execution_number", sa.BigInteger, nullable=False),
    *(sa.Column(name, sa.Text, nullable=False) for name in ("route_id", "stage", "adapter")),
    *(
        sa.Column(name, sa.BigInteger, nullable=False, server_default="0")
        for name in (*COUNTED, "duration_us")
    ),
    sa.UniqueConstraint("execution_number", "route_id", "stage", "adapter"),
)

durations = sa.Table(
    "lineage_durations",
    schema,
    sa.Column("stage_number", sa.BigInteger, primary_key=True),
    sa.Column("bucket", sa.Integer, primary_key=True),
    sa.Column("rows", sa.BigInteger, nullable=False),
)

rows = sa.Table(
    "lineage_rows",
    schema,
    _number(given=True),
    sa.Column("block", sa.Integer, nullable=False),
    sa.Column("execution_number", sa.BigInteger, nullable=False),
    sa.Column("stage_number", sa.BigInteger, nullable=False),
    sa.Column("id", HexText, nullable=False),
    sa.Column("message_id", HexText, nullable=False),
    sa.Column("parent_id", HexText),
    # null as long as the parent's row is not there, or when there is none
    sa.Column("parent_number", sa.BigInteger),
    # 1 if the row before is not of the same message or was not there when this one came, else null
    sa.Column("enters", sa.Integer),
    sa.Column("origin_id", HexText, nullable=False),
    sa.Column("root_id", HexText),
    sa.Column("replayed_from", HexText),
    sa.Column("adapter_version", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    # 1 while the row is neither failed nor completed with all below it, else null
    sa.Column("unfinished", sa.Integer),
    sa.Column("outcome", sa.Text),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("generation", sa.Integer, nullable=False),
    sa.Column("input_hash", HexText),
    sa.Column("output_hash", HexText),
    sa.Column("input_key", sa.Text),
    sa.Column("output_key", sa.Text),
    sa.Column("output_size", sa.BigInteger),
    sa.Column("content_type", sa.Text),
    sa.Column("output_count", sa.BigInteger, nullable=False),
    sa.Column("pending_children", sa.BigInteger, nullable=False),
    sa.Column("error", sa.JSON(none_as_null=True)),
    sa.Column("started_at", sa.Double, nullable=False),
    sa.Column("completed_at", sa.Double),
    sa.Column("duration_ms", sa.Double),
    sa.Column("batch_id", sa.Text),
    sa.Column("metadata", sa.JSON, nullable=False),
    comment=f"{_FORM_TOLD}{FORM}",
)

late_ends = sa.Table(
    "lineage_late_ends",
    schema,
    _number(given=True),  # out of the same numbers as those of rows
    sa.Column("row_number", sa.BigInteger, nullable=False, unique=True),
    sa.Column("execution_number", sa.BigInteger, nullable=False),
)
"""When rows that had been written before they were committed turned so; see `outcome_log`."""

identity = sa.Table("lineage_identity", schema, sa.Column("name", sa.Text, nullable=False))
"""One row, drawn when the tables were made: numbers mean nothing in other tables than these."""


class overall(FunctionElement[float]):  # noqa: N801 - a function of SQL
    """A time by which all rows are indexed, whichever execution they are of."""

    type = sa.Double()
    inherit_cache = True


@compiles(overall, "sqlite")
def _overall_in_sqlite(element: overall, compiler: Any, **how: Any) -> str:
    told: str = compiler.process(element.clauses, **how)
    return told


@compiles(overall, "postgresql")
def _overall_in_postgresql(element: overall, compiler: Any, **how: Any) -> str:
    return f"({compiler.process(element.clauses, **how)} + 0)"


def _index(
    name: str, *columns: sa.ColumnElement[Any], where: sa.ColumnElement[bool] | None = None
) -> None:
    """Add an index in whose order rows are listed; of the few rows that a condition holds for, if given."""
    name = f"lineage_rows_{name}"
    plain = [next(iter(c.clauses)) if isinstance(c, overall) else c for c in columns]
    sa.Index(name, *plain, sqlite_where=where).ddl_if("sqlite")
    sa.Index(name, *columns, rows.c.number, postgresql_where=where).ddl_if("postgresql")


_c = rows.c
sa.Index("lineage_rows_by_id", _c.block, _c.id, unique=True)
_index("by_time", overall(_c.started_at))
_index("by_execution", _c.execution_number, _c.started_at)
_index("by_stage", _c.stage_number, _c.started_at)
_index("by_parent", _c.parent_number, where=_c.parent_number.is_not(None))
_orphan = sa.and_(_c.parent_number.is_(None), _c.parent_id.is_not(None))
_index("orphans", _c.block, _c.parent_id, where=_orphan)
_index("by_message", _c.block, _c.message_id, where=_c.enters.is_not(None))
_failed = _c.status == "failed"
_index("failed", overall(_c.completed_at), where=_failed)
_index("failed_in", _c.execution_number, _c.completed_at, where=_failed)
_index("failed_by_start", _c.execution_number, _c.started_at, where=_failed)
_index("with_error", _c.execution_number, _c.started_at, where=_c.error.is_not(None))
_index("unfinished", _c.execution_number, _c.started_at, where=_c.unfinished.is_not(None))
_root = _c.parent_id.is_(None)
_index("all_roots", overall(_c.started_at), where=_root)
_index("roots", _c.execution_number, _c.started_at, where=_root)
_index("by_batch", _c.batch_id, where=_c.batch_id.is_not(None))


async def create_schema(database: AsyncEngine | AsyncConnection) -> None:
    """Create the tables and indexes that are missing; on a connection, in its transaction."""
    if isinstance(database, AsyncConnection):
        await take_turn(database)  # who looks for tables at the same time would create them, too
        await database.run_sync(schema.create_all)
        if await tables_identity(database) is None:
            await database.execute(identity.insert().values(name=uuid.uuid4().hex))
        return
    async with database.begin() as connection:
        await create_schema(connection)


async def drop_older_schema(connection: AsyncConnection) -> None:
    """Remove the tables of an earlier version with all that is in them, unless another one just has."""
    await take_turn(connection)
    if await schema_is_older(connection):
        await connection.run_sync(schema.drop_all)


async def tables_identity(connection: AsyncConnection) -> str | None:
    """Return what tells these tables from others that are made after them; None if nothing does."""
    return (await connection.execute(sa.select(identity.c.name))).scalar()


async def schema_is_missing(connection: AsyncConnection) -> bool:
    """Tell whether the database holds no lineage tables (a new file, or a lost one)."""
    return not await connection.run_sync(lambda sync: sa.inspect(sync).has_table(rows.name))


async def schema_is_older(connection: AsyncConnection) -> bool:
    """Tell whether the database holds lineage in the form of an earlier version.

    PostgreSQL, which may be shared with others, tells more: raises `ForeignTablesError` for the form of a
    later version, and for tables of somebody else.
    """

    def look(sync: sa.Connection) -> bool:
        found = sa.inspect(sync)
        if not found.has_table(rows.name):
            return False
        if sync.dialect.supports_comments:
            return _form(found.get_table_comment(rows.name)["text"]) < FORM
        return {column["name"] for column in found.get_columns(rows.name)} != set(rows.c.keys())

    return await connection.run_sync(look)


def _form(told: str | None) -> int:
    """Return the form that the comment of the table of rows tells of."""
    number = (told or "").removeprefix(_FORM_TOLD)
    if not number.isdecimal():
        raise ForeignTablesError(f"the database has a table {rows.name} that is none of Factflow's")
    if int(number) > FORM:
        raise ForeignTablesError(
            f"the lineage tables have form {number}; this version of Factflow knows form {FORM}"
        )
    return int(number)


class ForeignTablesError(OSError):
    """The database holds tables of our names that are not ours to change."""
