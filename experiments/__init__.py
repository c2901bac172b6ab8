"""The runner, its tasks and the record of a run."""
