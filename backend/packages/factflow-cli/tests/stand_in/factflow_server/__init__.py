"""Stands in for the server where its command line is asked for; see `__main__`."""
