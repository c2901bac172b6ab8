"""Runs on a GPU: repeated, resumed, several at a time, and what their records say."""

import json

import pytest
import torch

from helpers.commands import command

WORDS = ("device=cuda", "deterministic=true", "lrd.enabled=true", "epochs=2")


def numbers(folder):
    return (folder / "metrics.csv").read_bytes()


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
def test_a_deterministic_run_repeats_byte_by_byte(make, tmp_path, precision):
    words = [*WORDS, f"precision={precision}"]
    folders = [make(*words, where=tmp_path / name)[1] for name in ("one", "other")]
    assert numbers(folders[0]) == numbers(folders[1])
    record = json.loads((folders[0] / "run.json").read_text())
    assert record["device"] == torch.cuda.get_device_name()
    assert record["gpu"]["convolution"] == ("tf32" if precision == "tf32" else "ieee")
    assert record["gpu"]["deterministic"]
    assert record["compile"]


def test_a_run_goes_on_from_its_checkpoint(make, interrupted_at, tmp_path):
    _, whole = make(*WORDS, where=tmp_path / "whole")
    interrupted_at(3, *WORDS, where=tmp_path / "cut")
    _, cut = interrupted_at(None, *WORDS, where=tmp_path / "cut")
    assert numbers(whole) == numbers(cut)


def test_the_second_gpu_is_used_if_it_is_named(make):
    if torch.cuda.device_count() < 2:
        pytest.skip("there is one GPU")
    status, _ = make("device=cuda:1", "lrd.enabled=true")
    assert (status, torch.cuda.current_device()) == ("done", 1)


@pytest.mark.parametrize(
    "launcher",
    [["joblib", "hydra.launcher.n_jobs=4"], ["ray", "hydra.launcher.ray.init.num_cpus=4"]],
    ids=lambda words: words[0],
)
def test_four_runs_at_a_time_share_a_gpu(tmp_path, launcher):
    name, bound = launcher
    done = command(
        "-m", "experiment=digits", "scale=smoke", "seed=0,1,2,3", "device=auto",
        f"hydra/launcher={name}", bound, f"runs_dir={tmp_path}",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    records = [json.loads(path.read_text()) for path in tmp_path.rglob("run.json")]
    assert [record["status"] for record in records] == ["done"] * 4
    assert {record["device"] for record in records} == {torch.cuda.get_device_name()}
