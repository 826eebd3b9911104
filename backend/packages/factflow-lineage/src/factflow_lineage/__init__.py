"""One row per message per stage: models, writer, queries."""
