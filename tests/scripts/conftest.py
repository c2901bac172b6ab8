"""Shared by the tests of what is made from runs."""

import pytest

from experiments import identity


@pytest.fixture(autouse=True)
def short_runs(monkeypatch):
    """Synthetic runs have few epochs, which would stand in their arms' names."""
    monkeypatch.setattr(identity, "_IN_NO_NAME", identity._IN_NO_NAME | {"epochs"})
