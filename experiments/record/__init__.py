"""The record of a run: one folder, written, read and checked."""
