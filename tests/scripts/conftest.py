"""Shared by the tests of what is made from runs."""

import pytest

from experiments import identity
from experiments.record.reader import read_runs
from helpers.claims import HEAD
from scripts.verdicts.claims import read_claims
from scripts.verdicts.judge import judge


@pytest.fixture(autouse=True)
def short_runs(monkeypatch):
    """Synthetic runs have few epochs, which would stand in their arms' names."""
    monkeypatch.setattr(identity, "_IN_NO_NAME", identity._IN_NO_NAME | {"epochs"})


@pytest.fixture
def runs(tmp_path):
    return tmp_path / "runs"


@pytest.fixture
def unchecked(monkeypatch):
    """Runs are read though a test has edited them, or left a column out."""
    monkeypatch.setattr("experiments.record.reader.faults", lambda run: [])


@pytest.fixture
def claims(tmp_path):
    """The claims of a text in the form of conf/claims.yaml."""

    def read(text):
        path = tmp_path / "claims.yaml"
        path.write_text(HEAD + text)
        return read_claims(path)

    return read


@pytest.fixture
def verdicts_of(claims, runs):
    """What follows for the claims of a text from the runs that were made."""

    def judged(text, scale="paper"):
        folder = "lite" if scale == "mid" else scale  # MNIST has no scale mid
        return judge(claims(text), read_runs(runs, scale=folder), scale)

    return judged
