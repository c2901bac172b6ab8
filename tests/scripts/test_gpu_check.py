"""The check of a GPU, as far as it goes without one."""

import pytest
import torch

from scripts.benchmark import gpu

CPU = torch.device("cpu")
SMALL = {
    "mnist": {},
    "cifar10": {"model": {"_target_": "models.resnet.resnet34", "num_classes": 10, "width": 4}},
    "pspnet": {
        "data": {"crop": 64},
        "model": {
            "_target_": "models.pspnet.pspnet",
            "num_classes": 21,
            "encoder": "resnet18",
            "encoder_weights": None,
            "psp_channels": 8,
        },
    },
    "ssd": {
        "data": {"size": 300},
        "model": {
            "_target_": "models.ssd.ssd",
            "num_classes": 20,
            "width": 4,
            "encoder_weights": None,
        },
    },
}


@pytest.mark.slow
@pytest.mark.parametrize("experiment", SMALL)
def test_every_task_trains_on_random_images(experiment):
    assert gpu.training(experiment, "bf16", CPU, batch_size=2, **SMALL[experiment]) > 0


def test_all_experiments_precisions_and_rules_are_measured():
    names = list(gpu.measurements(lambda: 60.0))
    assert names[0] == "tests/gpu"
    assert sum("training" in name for name in names) == 15
    assert sum("step" in name for name in names) == 12


@pytest.fixture
def check(monkeypatch, tmp_path):
    """Check a GPU whose measurements are these functions; returns status and lines by name."""
    gpu_of = {"device": "NVIDIA H100", "gpu": {}, "versions": {"torch": "2.14.1"}}
    monkeypatch.setattr(gpu, "environment", lambda _: gpu_of)

    def run(measurements, seconds=60):
        monkeypatch.setattr(gpu, "measurements", lambda _: measurements)
        status = gpu.check(tmp_path, seconds)
        return status, {line.what: line.value for line in gpu.read(tmp_path)}

    run.table = tmp_path / "gpu.md"
    return run


def test_a_failure_is_a_line_and_the_only_one_that_is_measured_again(check):
    counts = {"good": 0, "bad": 0}

    def good():
        counts["good"] += 1
        return 3.5, "images/s", ""

    def bad():
        counts["bad"] += 1
        if counts["bad"] == 1:
            raise RuntimeError("out of\nmemory")
        return 2.0, "s", ""

    assert check({"bad": bad, "good": good}) == (1, {"good": 3.5, "bad": None})
    assert "| bad | **failed** | RuntimeError: out of memory |" in check.table.read_text()
    assert check({"bad": bad, "good": good}) == (0, {"good": 3.5, "bad": 2.0})
    assert counts == {"good": 1, "bad": 2}


def test_a_failure_on_another_gpu_is_none_of_this_one(check):
    gpu.write([gpu.Line("bad", None, "", "", "NVIDIA H200", "2.14.1")], check.table.parent)
    gone = gpu.Line("gone", None, "", "a | b", "NVIDIA H100", "2.14.1")  # nobody measures it now
    gpu.write([*gpu.read(check.table.parent), gone], check.table.parent)
    status, lines = check({"good": lambda: (3.5, "s", "")})
    assert (status, lines) == (0, {"bad": None, "gone": None, "good": 3.5})
    assert r"| gone | **failed** | a \| b | NVIDIA H100 | 2.14.1 |" in check.table.read_text()


def test_without_time_what_was_measured_stays_and_the_rest_is_missing(check):
    one, other = (lambda: (1.0, "s", "")), (lambda: (2.0, "s", ""))
    assert check({"one": one}) == (0, {"one": 1.0})
    assert check({"one": one, "other": other}, seconds=0) == (1, {"one": 1.0})
    assert check({"one": one, "other": other}) == (0, {"one": 1.0, "other": 2.0})


def test_without_a_gpu_it_says_so(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit, match="torch finds no GPU here"):
        gpu.main([])
