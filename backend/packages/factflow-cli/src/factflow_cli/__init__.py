"""The `factflow` command: talks HTTP to a server."""
