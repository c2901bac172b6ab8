"""Several processes, as replicas or with shares of the parameters, do as one would."""

import copy
import itertools
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.distributed.checkpoint.state_dict import (
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.tensor import Partial, Replicate, Shard
from torch.distributed.tensor.placement_types import _StridedShard

import lrd
import sharded
from commands import ROOT, configure
from data.batches import Batches
from data.samples import SampleBatches
from experiments import distributed
from experiments import run as runner
from experiments.checks import ConfigError
from experiments.naming import run_folder
from lrd import fused, shards
from lrd.mask import flat_mask

TESTS = Path(__file__).parent


def torchrun(processes, *words):
    """The command that starts several processes, which end with it."""
    command = [sys.executable, "-m", "torch.distributed.run", f"--nproc_per_node={processes}"]
    variables = {"PYTHONPATH": f"{ROOT}:{TESTS}", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*command, *map(str, words)],
        cwd=ROOT,
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def complete(process):
    output, _ = process.communicate(timeout=200)
    assert process.returncode == 0, output
    return output


# Parts of batches and of parameters


@pytest.mark.parametrize("count", [1, 2, 7, 9])
@pytest.mark.parametrize("processes", [1, 2, 3, 4])
def test_parts_make_up_the_batch(monkeypatch, count, processes):
    monkeypatch.setattr(distributed, "size", lambda: processes)
    found = []
    for rank in range(processes):
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        mine = list(range(count))[distributed.part(count)]
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


class Mesh:
    """A mesh of processes as one of them sees it."""

    def __init__(self, shape, coordinate):
        self.shape, self._coordinate = shape, coordinate

    def get_coordinate(self):
        return self._coordinate


def chunk(tensor, processes, place, dim):
    """Of what torch.chunk gives; it leaves empty ones out."""
    chunks = tensor.chunk(processes, dim)
    return chunks[place] if place < len(chunks) else tensor.narrow(dim, 0, 0)


CASES = [
    ((7,), (4,), [Shard(0)]),
    ((1000, 3), (3,), [Shard(0)]),
    ((70, 30), (4,), [Shard(1)]),
    ((5, 6, 7), (2, 2), [Shard(0), Shard(2)]),
    ((9, 4), (2, 3), [Shard(0), Shard(0)]),
    ((8, 2, 300), (2, 2), [Replicate(), Shard(1)]),
    ((2, 3), (5,), [Shard(1)]),
    ((), (2,), [Replicate()]),
]


@pytest.mark.parametrize(("shape", "mesh", "placements"), CASES)
@pytest.mark.parametrize("block", [None, 512])
def test_a_parts_mask_is_the_matching_part_of_the_whole_mask(
    monkeypatch, shape, mesh, placements, block
):
    if block:  # so small that they begin and end inside of parts
        for module in ("lrd.mask", "lrd.shards"):
            monkeypatch.setattr(f"{module}.BLOCK", block)
        monkeypatch.setattr("lrd.shards._CHUNK", 200)
    whole = lrd.keep_mask(shape, 0.5, seed=3, step=8, index=2)
    for coordinate in itertools.product(*map(range, mesh)):
        part = shards._part(shape, Mesh(mesh, coordinate), tuple(placements))
        expected = whole
        for processes, place, placement in zip(mesh, coordinate, placements, strict=True):
            if isinstance(placement, Shard):
                expected = chunk(expected, processes, place, placement.dim)
        assert part.size == tuple(expected.shape)
        mask = shards.local_mask(torch.empty(part.size), part, 0.5, seed=3, step=8, index=2)
        assert torch.equal(mask, expected)


def test_a_mask_that_begins_anywhere_goes_on_over_the_end_of_a_block():
    first = (1 << 30) - 70_003
    mask = flat_mask(200_000, 0.5, 0, 1, 2, "cpu", start=first)
    part = shards.Part((1 << 31,), (first,), (200_000,))
    assert torch.equal(mask, shards._scattered_mask(part, 0.5, 0, 1, 2, torch.device("cpu")))
    assert not torch.equal(mask[70_003:], flat_mask(200_000 - 70_003, 0.5, 0, 1, 2, "cpu"))


def test_fused_pieces_end_where_a_block_of_the_whole_does(monkeypatch):
    monkeypatch.setattr(fused, "BLOCK", 1000)
    pieces = fused._matrices(2500, 4096, start=700)
    assert [first for first, _ in pieces] == [0, 300, 1300, 2300]
    assert sum(lines * length for _, (lines, length) in pieces) == 2500


@pytest.mark.parametrize("placement", [Partial(), _StridedShard(0, split_factor=2)])
def test_what_cannot_be_masked_is_refused(placement):
    with pytest.raises(RuntimeError, match="lrd masks parameters that are placed by Shard"):
        shards._part((8, 8), Mesh((2,), (0,)), (placement,))


@pytest.mark.parametrize("name", [name for name in sharded.RULES if name != "fused"])
def test_a_checkpoint_library_that_steps_to_build_the_state_shifts_nothing(name):
    """Decoupled weight decay too must not move the weights."""

    def start():
        nets = sharded.Nets()
        return nets, {name: sharded.RULES[name](nets[name].parameters())}

    nets, optimizers = start()
    sharded.train(nets, 0, 5, optimizers)
    state = copy.deepcopy(get_optimizer_state_dict(nets[name], optimizers[name]))
    weights = {key: value.clone() for key, value in nets.state_dict().items()}
    sharded.train(nets, 5, 10, optimizers)
    again, others = start()
    again.load_state_dict(weights)
    get_optimizer_state_dict(again[name], others[name])  # steps with a learning rate of 0
    assert all(torch.equal(weights[key], value) for key, value in again.state_dict().items())
    set_optimizer_state_dict(again[name], others[name], state)
    sharded.train(again, 5, 10, others)
    assert torch.equal(sharded.weights(nets)[name], sharded.weights(again)[name])


def test_what_several_processes_cannot_do_is_refused(monkeypatch):
    monkeypatch.setattr(distributed, "size", lambda: 3)
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(ConfigError, match="batch_size=2 is not enough for 3 processes"):
        distributed.check_batch(2)
    with pytest.raises(ConfigError, match="hydra/launcher=joblib does not go with torchrun"):
        distributed.check_launcher("joblib")
    with pytest.raises(ConfigError, match="device must be auto, cpu or cuda"):
        distributed.device("cuda:1")
    distributed.check_batch(3)
    distributed.check_launcher("basic")
    assert distributed.device("cpu").type == "cpu"


# Real processes


@pytest.mark.distributed
def test_sharded_training_and_its_checkpoints_are_as_unsharded(tmp_path):
    nets = sharded.Nets()
    sharded.train(nets, 0, sharded.STEPS)
    expected = sharded.weights(nets)
    for processes in (2, 4):  # four go on from the checkpoint of two
        complete(torchrun(processes, TESTS / "sharded.py", tmp_path))
    found = [*torch.load(tmp_path / "2.pt").values(), *torch.load(tmp_path / "4.pt").values()]
    assert len(found) == 4
    for weights, name in itertools.product(found, expected):
        torch.testing.assert_close(weights[name], expected[name], rtol=1e-12, atol=1e-14)


RULES = ["sgdm", "rmsprop", "adam", "amsgrad", "radam"]
# 50 steps; of an epoch's last batch, all but the first process have nothing
WORDS = [
    "lrd.enabled=true", "model._target_=replicas.ExactFCNet", "epochs=10", "batch_size=120",
    "data.subset=481", "data.test_subset=50", "regularizer.noisy_label=0.1",
    "regularizer.noisy_gradient=1e-6",
]  # fmt: skip


@pytest.mark.distributed
def test_replicas_train_as_a_single_process_does(tmp_path):
    for rule in RULES:
        runner.run(configure(*WORDS, f"optimizer={rule}", runs_dir=tmp_path / "1"))
    for processes in (2, 3):
        output = complete(
            torchrun(
                processes, TESTS / "replicas.py", tmp_path, "--config-path", ROOT / "conf", "-m",
                "scale=smoke", *WORDS, f"optimizer={','.join(RULES)}",
                f"runs_dir={tmp_path / str(processes)}",
            )
        )  # fmt: skip
        assert output.count("5 done\n") == 1
        for folder in tmp_path.glob("1/*/*/*/*"):
            check_replicas(tmp_path, folder, processes)


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
def test_losing_a_process_or_being_interrupted_ends_all_and_the_command_goes_on(tmp_path):
    words = ["lrd.enabled=true", "model._target_=replicas.ExactFCNet", "epochs=200"]
    command = ["-m", "experiments.run", "scale=smoke", *words, f"runs_dir={tmp_path / 'cut'}"]
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


def kill_the_second(process):
    found = subprocess.run(
        ["pgrep", "-P", str(process.pid), "-f", "experiments.run"], capture_output=True, text=True
    )
    os.kill(max(map(int, found.stdout.split())), signal.SIGKILL)


def terminate_all(process):
    process.send_signal(signal.SIGTERM)
