"""The ledger's tables, in SQLAlchemy Core, for SQLite and PostgreSQL alike.

A message's row outlives the message: it is what tells a second delivery that the first one settled.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Integer,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
)

PUBLISHER_NONE, PUBLISHER_OPEN, PUBLISHER_ENDED = 0, 1, 2
STANDING, SETTLED, FAILED = 0, 1, 2

metadata = MetaData()

scopes = Table(
    "queue_scope",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("execution_id", String(64), nullable=False),
    Column("generation", Integer, nullable=False),
    Column("owner_epoch", BigInteger, nullable=False),  # only its newest owner may write
    Column("publisher", SmallInteger, nullable=False),
    Column("cursor", BigInteger, nullable=False),
    Column("clean", SmallInteger, nullable=False),  # 1 when its owner let go of it in order
    Column("crashed", SmallInteger, nullable=False),  # 1 from its first unclean end on
    Column("doomed", SmallInteger, nullable=False),  # 1 while it is being deleted
    Column("boot", Text),  # run of the machine it is good for; NULL: for any
    UniqueConstraint("execution_id", "generation", name="uq_queue_scope_name"),
)

queues = Table(
    "queue_name",
    metadata,
    Column("scope", Integer, primary_key=True),
    Column("name", String(200), primary_key=True),
    Column("announced", BigInteger, nullable=False),
    Column("settled", BigInteger, nullable=False),
    Column("failed", BigInteger, nullable=False),
    Column("made", SmallInteger, nullable=False, server_default="1"),  # 0 until the broker has it
)

messages = Table(
    "queue_message",
    metadata,
    Column("scope", Integer, primary_key=True),
    Column("message_id", String(255), primary_key=True),
    Column("queue", String(200), nullable=False),
    Column("state", SmallInteger, nullable=False),  # STANDING, SETTLED, FAILED
    Column("claimed", SmallInteger, nullable=False),  # 1 while it is handled, where that is counted
    Column("claimant", BigInteger, nullable=False, server_default="0"),  # who claimed it last
    Column("crashes", SmallInteger, nullable=False),  # unclean ends that found it claimed
    Column(
        "laps", SmallInteger, nullable=False, server_default="0"
    ),  # attempts that gave way to the next
)
