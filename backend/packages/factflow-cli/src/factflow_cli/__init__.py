"""The `factflow` command: what a person or a script asks of a Factflow server, over HTTP.

Nothing here imports server code. Modules load what they need when they need it, so that `--help`
and completion stay quick.
"""
