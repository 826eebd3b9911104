"""The stages a pipeline can name: one adapter per module."""
