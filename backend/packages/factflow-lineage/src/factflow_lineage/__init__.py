"""One row per message per stage: models, writer, queries."""

from factflow_lineage.chain import Descendant, LineageChain
from factflow_lineage.errors import (
    LineageFilterError,
    LineageNotFoundError,
    LineageUnavailableError,
)
from factflow_lineage.filters import LineageFilter
from factflow_lineage.listing import LineagePage
from factflow_lineage.metadata_search import MetadataCondition
from factflow_lineage.models import PipelineLineageEntry, StageStatus, entry_from_record
from factflow_lineage.repository import PipelineLineageRepository
from factflow_lineage.stats import ExecutionCounts, RouteCounts, StageStats
from factflow_lineage.tables import create_schema
from factflow_lineage.writer import LineageHealth, LineageService

__all__ = [
    "Descendant",
    "ExecutionCounts",
    "LineageChain",
    "LineageFilter",
    "LineageFilterError",
    "LineageHealth",
    "LineageNotFoundError",
    "LineagePage",
    "LineageService",
    "LineageUnavailableError",
    "MetadataCondition",
    "PipelineLineageEntry",
    "PipelineLineageRepository",
    "RouteCounts",
    "StageStats",
    "StageStatus",
    "create_schema",
    "entry_from_record",
]
