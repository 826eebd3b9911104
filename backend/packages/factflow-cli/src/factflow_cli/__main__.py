"""`python -m factflow_cli` is `factflow`."""

from factflow_cli.app import main

if __name__ == "__main__":
    main()
