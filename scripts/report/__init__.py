"""The report of all runs."""
