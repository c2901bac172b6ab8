"""Shared by the tests of the runner: a finished run, which is trained once."""

import shutil

import pytest

from experiments import run as runner
from experiments.identity import run_folder
from helpers.commands import configure


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    root = tmp_path_factory.mktemp("trained")
    assert runner.run(configure(runs_dir=root)) == "done"
    return root


@pytest.fixture
def finished(trained, tmp_path):
    """The folder that `make()` leaves, to which a test may do what it likes."""
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    return run_folder(configure(runs_dir=tmp_path))
