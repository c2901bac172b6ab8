"""Damaged files, hundreds of them: the right result, a clean restart, or a clear error."""

import random
import shutil

import pytest
import torch

from data.batches import DataError
from data.cifar import cifar10
from data.devkit import drawn_detection
from data.mnist import mnist
from experiments.record.checkpoint import CURRENT, CheckpointError
from experiments.record.reader import RecordError
from scripts.gather import ResultError
from scripts.tables import __main__ as tables

pytestmark = [pytest.mark.fault, pytest.mark.timeout(600)]
DAMAGES = ("truncated", "flipped", "emptied", "swapped", "appended")
RECORD = ("config.yaml", "metrics.csv", "run.json", "timing.csv")


def damage(path, kind, dice, other):
    """Damage a file in place; False if it is as it was."""
    before = path.read_bytes()
    content = bytearray(before)
    if kind == "truncated":
        content = content[: dice.randrange(len(content))]
    elif kind == "flipped":
        content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
    elif kind == "emptied":
        content = bytearray()
    elif kind == "swapped":
        content = bytearray(other.read_bytes())
    else:
        content += bytes(dice.randrange(256) for _ in range(9))
    path.unlink()
    path.write_bytes(content)
    return bytes(content) != before


def refusal(function, expected):
    """The error by which a function refuses, and which fills no screen; None if its result is as
    expected."""
    try:
        found = function()
    except (RecordError, ResultError, CheckpointError, DataError) as error:
        message = str(error)
    else:
        assert found == expected
        return None
    assert 20 < len(message) < 2000
    return message


def result(folder):
    weights = torch.load(folder / CURRENT, weights_only=True)["model"]
    return (folder / "metrics.csv").read_bytes(), [each.tolist() for each in weights.values()]


@pytest.mark.parametrize("name", [*RECORD, "checkpoint.pt"])
def test_a_damaged_file_of_an_unfinished_run(make, interrupted_at, tmp_path, name):
    """Eight cases of each damage: the same numbers and weights in the end, or an error."""
    words = ["model.hidden=8", "data.subset=200", "lrd.enabled=true"]
    _, whole = make(*words, where=tmp_path / "whole")
    _, other = make(*words, "seed=1", where=tmp_path / "whole")
    interrupted_at(4, *words, where=tmp_path / "cut")  # in the second epoch
    interrupted_at(None, *words, "seed=2", where=tmp_path / "whole")  # and nothing after
    origin = tmp_path / "cut" / whole.relative_to(tmp_path / "whole")
    assert {path.name for path in origin.iterdir()} >= {*RECORD, CURRENT}
    dice = random.Random(name)
    ends = {"continued": 0, "refused": 0}
    for kind in DAMAGES:
        for case in range(8):
            where = tmp_path / f"{kind}{case}"
            shutil.copytree(tmp_path / "cut", where)
            damage(where / origin.relative_to(tmp_path / "cut") / name, kind, dice, other / name)
            error = refusal(lambda where=where: result(make(*words, where=where)[1]), result(whole))
            ends["refused" if error else "continued"] += 1
            shutil.rmtree(where)
    print(name, ends)


@pytest.mark.parametrize("name", RECORD)
def test_a_damaged_file_of_a_finished_run_never_changes_a_table(make, tmp_path, name):
    """Its rows are those of all runs, or those without the damaged one."""
    runs, out = tmp_path / "runs", tmp_path / "out"

    def rows():
        text = tables.make_table("table1", runs, out, "smoke", "digits")
        return [line for line in text.splitlines() if line.startswith("|")]

    _, folder = make(where=runs)
    make("lrd.enabled=true", where=runs)
    _, other = make("seed=1", where=tmp_path / "other")
    shutil.copytree(folder, tmp_path / "kept")
    whole = rows()
    folder.rename(tmp_path / "aside")
    without = rows()
    (tmp_path / "aside").rename(folder)
    dice = random.Random(name)
    accepted = 0
    for kind in DAMAGES:
        for _ in range(8):
            changed = damage(folder / name, kind, dice, other / name)
            shown = rows()
            assert shown in (whole, without)
            accepted += changed and shown == whole
            shutil.copy(tmp_path / "kept" / name, folder / name)
    assert whole != without
    assert accepted <= 2  # a newline at the end may be gone, or a space another


def same_digest(root, whole):
    return cifar10(root).provenance["sha256"] == whole.provenance["sha256"]


def test_damaged_parquet_files(cifar_files):
    """Either refused, or known by another digest, by which a table tells the runs apart."""
    path = cifar_files()
    kept, whole = path.read_bytes(), cifar10(cifar_files.root)
    dice = random.Random(0)
    refused = 0
    for kind in DAMAGES:
        for _ in range(10):
            changed = damage(path, kind, dice, path.with_name("test-00000-of-00001.parquet"))
            error = refusal(lambda: same_digest(cifar_files.root, whole), not changed)
            refused += error is not None
            path.write_bytes(kept)
    assert refused >= 20


def test_damaged_idx_files(mnist_root, tmp_path):
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for path in (tmp_path.__class__(mnist_root) / "MNIST" / "raw").iterdir():
        (raw / path.name).symlink_to(path.resolve())
    labels, other = raw / "t10k-labels-idx1-ubyte", raw / "train-labels-idx1-ubyte"
    content = labels.read_bytes()
    dice = random.Random(0)
    for kind in DAMAGES:
        for _ in range(4):
            assert damage(labels, kind, dice, other)
            with pytest.raises(DataError, match="t10k-labels-idx1-ubyte"):
                mnist(str(tmp_path))
            labels.write_bytes(content)


def boxes_inside(data):
    train, _ = data.loaders(8, torch.device("cpu"))
    generators = (torch.Generator().manual_seed(0) for _ in range(2))
    return all(
        (target["boxes"] >= 0).all() and (target["boxes"] <= images.shape[-1]).all()
        for images, targets in train.epoch(*generators)
        for target in targets
    )


def test_damaged_annotations(tmp_path):
    """Refused with the file's name, or read as boxes that lie inside their image."""
    keys = {"complete": False, "size": 64, "cache": False, "workers": 0}
    drawn_detection(str(tmp_path), 8, 4, **keys)
    paths = sorted(tmp_path.rglob("Annotations/*.xml"))
    content = paths[0].read_bytes()
    dice = random.Random(0)
    refused = 0
    for kind in DAMAGES:
        for _ in range(10):
            damage(paths[0], kind, dice, paths[1])
            error = refusal(
                lambda: boxes_inside(drawn_detection(str(tmp_path), 8, 4, **keys)), True
            )
            assert error is None or paths[0].name in error
            refused += error is not None
            paths[0].write_bytes(content)
    assert refused >= 15
