"""Replay from stored artefacts."""
