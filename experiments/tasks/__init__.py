"""The tasks: each a module with `loss` and `evaluate`."""
