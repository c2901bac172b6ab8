"""Several processes that torchrun starts train as one would."""

import json
import os
import signal
import subprocess

import pytest
import torch

from data.batches import Batches
from data.samples import SampleBatches
from experiments import processes
from experiments import run as runner
from experiments.configuration import ConfigError
from experiments.identity import run_folder
from experiments.tasks import classification, toy
from helpers.commands import ROOT, TESTS, complete, configure, torchrun
from helpers.replicas import ExactFCNet


@pytest.mark.parametrize("count", [1, 2, 7, 9])
@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_parts_make_up_the_batch(monkeypatch, count, size):
    monkeypatch.setattr(processes, "size", lambda: size)
    found = []
    for rank in range(size):
        monkeypatch.setattr(processes, "rank", lambda rank=rank: rank)
        mine = list(range(count))[processes.part(count)]
        if rank >= count:  # one that only keeps the process busy
            assert mine == [0]
        else:
            found += mine
    assert found == list(range(count))


@pytest.mark.parametrize("kind", ["tensors", "samples"])
@pytest.mark.parametrize("start", [0, 2])
def test_processes_see_their_parts_of_the_same_batches(kind, start):
    if kind == "tensors":
        images = torch.arange(23 * 16.0).view(23, 1, 4, 4)
        batches = Batches(images, torch.arange(23), 5, padding=1)
    else:
        samples = [(torch.tensor([float(number)]), number) for number in range(23)]

        def transform(image, number):
            return image + torch.rand(1), torch.tensor(number)

        def collate(samples):
            return tuple(map(torch.stack, zip(*samples, strict=True)))

        cpu = torch.device("cpu")
        batches = SampleBatches(samples, transform, collate, lambda batch, _: batch, 5, cpu)

    def epoch(part):
        streams = (torch.Generator().manual_seed(seed) for seed in (1, 2))
        return list(batches.epoch(*streams, start, part=part))

    whole = epoch(None)
    assert [len(labels) for _, labels in whole] == batches.counts(start)
    halves = epoch(lambda count: slice(0, count // 2)), epoch(lambda count: slice(count // 2, None))
    for batch, first, second in zip(whole, *halves, strict=True):
        for all_of_it, one, other in zip(batch, first, second, strict=True):
            assert torch.equal(all_of_it, torch.cat([one, other]))


def test_what_several_processes_cannot_do_is_refused(monkeypatch):
    monkeypatch.setattr(processes, "size", lambda: 3)
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(ConfigError, match="batch_size=2 is not enough for 3 processes"):
        processes.check_run(2, classification)
    with pytest.raises(ConfigError, match=r"has no weight\(model, batch\)"):
        processes.check_run(3, toy)
    with pytest.raises(ConfigError, match="hydra/launcher=joblib does not go with torchrun"):
        processes.check_launcher("joblib")
    with pytest.raises(ConfigError, match="device must be auto, cpu or cuda"):
        processes.device("cuda:1")
    processes.check_run(3, classification)
    processes.check_launcher("basic")
    assert processes.device("cpu").type == "cpu"


RULES = ["sgdm", "rmsprop", "adam", "amsgrad", "radam"]
# 50 steps; of an epoch's last batch, all but the first process have nothing
WORDS = [
    "lrd.enabled=true", "epochs=10", "batch_size=120",
    "data.subset=481", "data.test_subset=50", "regularizer.noisy_label=0.1",
    "regularizer.noisy_gradient=1e-6",
]  # fmt: skip


@pytest.mark.distributed
def test_replicas_train_as_a_single_process_does(tmp_path, monkeypatch):
    monkeypatch.setattr("models.fcnet.fcnet", ExactFCNet)
    for rule in RULES:
        runner.run(configure(*WORDS, f"optimizer={rule}", runs_dir=tmp_path / "1"))
    for size in (2, 3):
        output = complete(
            torchrun(
                size, TESTS / "helpers/replicas.py", tmp_path, "--config-path", ROOT / "conf", "-m",
                "scale=smoke", *WORDS, f"optimizer={','.join(RULES)}",
                f"runs_dir={tmp_path / str(size)}",
            )
        )  # fmt: skip
        assert output.count("5 done\n") == 1
        for folder in tmp_path.glob("1/*/*/*/*"):
            check_replicas(tmp_path, folder, size)


def check_replicas(root, single, processes):
    folder = root / str(processes) / single.relative_to(root / "1")
    arm = single.parent.name
    ranks = [torch.load(root / f"{arm}-{rank}-of-{processes}.pt") for rank in range(processes)]
    one = torch.load(single / "checkpoint.pt")["model"]
    kept = torch.load(folder / "checkpoint.pt")["model"]
    for name, weights in one.items():
        torch.testing.assert_close(kept[name], weights, rtol=1e-9, atol=1e-11)
        for each in ranks:  # to the bit, so that their masks were the same
            assert torch.equal(each[name], kept[name])
    rows, expected = (
        [
            list(map(float, line.split(",")))
            for line in (where / "metrics.csv").open().readlines()[1:]
        ]
        for where in (folder, single)
    )
    torch.testing.assert_close(torch.tensor(rows), torch.tensor(expected))
    info, before = (json.loads((where / "run.json").read_text()) for where in (folder, single))
    assert (info["processes"], before["processes"]) == (processes, 1)
    assert info["hash"] == before["hash"]


@pytest.mark.distributed
def test_losing_a_process_or_being_interrupted_ends_all_and_the_command_goes_on(
    tmp_path, monkeypatch
):
    words = ["lrd.enabled=true", "epochs=200"]
    command = [TESTS / "helpers/replicas.py", tmp_path, "--config-path", ROOT / "conf"]
    command += ["scale=smoke", *words, f"runs_dir={tmp_path / 'cut'}"]
    monkeypatch.setattr("models.fcnet.fcnet", ExactFCNet)
    for hit in (kill_the_second, terminate_all):
        process = torchrun(2, *command)
        for line in process.stdout:
            if "epoch 5" in line:
                break
        hit(process)
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 1
        (cut,) = (path.parent for path in tmp_path.rglob("run.json"))
        info = json.loads((cut / "run.json").read_text())
        assert info["status"] == "failed"
        if hit is kill_the_second:
            assert "error: process 0 of 2 has lost another one" in output
            assert info["error"].startswith("LostProcess: process 0 of 2 has lost another one")
        else:
            assert output.count("interrupted: the same command goes on with what is not done") == 1
            assert info["error"] == "Interrupted: interrupted by SIGTERM"
    config = configure(*words, runs_dir=tmp_path / "cut")
    runner.run(config)  # one process takes up where two have ended
    whole = configure(*words, runs_dir=tmp_path / "whole")
    runner.run(whole)
    first, second = (
        torch.load(run_folder(each) / "checkpoint.pt")["model"] for each in (config, whole)
    )
    for name in first:
        torch.testing.assert_close(first[name], second[name], rtol=1e-6, atol=1e-8)
    info = json.loads((cut / "run.json").read_text())
    assert (info["status"], info["processes_so_far"]) == ("done", [2, 1])


@pytest.mark.distributed
def test_what_cannot_be_run_is_told_once_and_the_sweep_goes_on(tmp_path):
    words = ["-m", "scale=smoke", "precision=tf32,fp32", f"runs_dir={tmp_path}"]
    process = torchrun(2, "-m", "experiments.run", *words)
    output, _ = process.communicate(timeout=200)
    assert process.returncode == 1
    assert output.count("error: precision=tf32 is an arithmetic of GPUs") == 1, output
    assert output.count("1 done, 1 failed") == 1, output


def kill_the_second(process):
    found = subprocess.run(
        ["pgrep", "-P", str(process.pid), "-f", "replicas.py"], capture_output=True, text=True
    )
    os.kill(max(map(int, found.stdout.split())), signal.SIGKILL)


def terminate_all(process):
    process.send_signal(signal.SIGTERM)
