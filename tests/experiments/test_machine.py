"""What a run records of the machine and of the code that made it."""

import subprocess

import pytest

from experiments.record import machine


@pytest.mark.parametrize(
    ("path", "counts"),
    [
        ("lrd/kernels/step.c", True),
        ("conf/model/net.yaml", True),
        ("experiments/loop.py", True),
        ("models/net.py", True),
        ("data/mnist.py", True),
        ("models/my_own.py", True),  # which is not in git
        ("README.md", False),
        ("results/runs/config.yaml", False),
    ],
)
def test_a_commit_with_changes_is_none_whatever_room_they_are_in(
    tmp_path, monkeypatch, path, counts
):
    def git(*words):
        subprocess.run(["git", *words], cwd=tmp_path, check=True, capture_output=True)

    file, module = tmp_path / path, tmp_path / "experiments/record/machine.py"
    for made in (file, module):
        made.parent.mkdir(parents=True, exist_ok=True)
        made.write_text("before")
    git("init")
    git("add", "." if "own" not in path else "experiments")
    git("-c", "user.name=a", "-c", "user.email=b@c", "commit", "--message", "all")
    monkeypatch.setattr(machine, "__file__", str(module))
    if "own" in path:
        file.unlink()
    clean = machine._commit()
    file.write_text("after")
    assert len(clean) == 40
    assert machine._commit() == clean + "+changes" * counts
