"""The self-test as the command line knows it."""
