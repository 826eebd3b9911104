"""Replay from stored artefacts; import from the modules of `factflow_replay.replay`."""
