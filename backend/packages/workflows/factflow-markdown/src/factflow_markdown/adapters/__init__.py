"""The pipeline adapters of this package, one module each."""
