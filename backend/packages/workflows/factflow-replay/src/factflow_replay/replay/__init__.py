"""A new execution that continues from what another one stored."""
