"""Parameters of which each process holds a part are masked, and trained, as whole ones."""

import copy
import itertools

import pytest
import torch
from torch.distributed.checkpoint.state_dict import (
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.tensor import Partial, Replicate, Shard
from torch.distributed.tensor.placement_types import _StridedShard

import lrd
from helpers import sharded
from helpers.commands import TESTS, complete, torchrun
from lrd import shards
from lrd.kernels import table
from lrd.mask import Draw, flat_mask, threshold


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


def parts(shape, mesh, placements, whole):
    """Each process's part of a parameter, and of `whole`, a tensor of its shape."""
    for coordinate in itertools.product(*map(range, mesh)):
        expected = whole
        for processes, place, placement in zip(mesh, coordinate, placements, strict=True):
            if isinstance(placement, Shard):
                expected = chunk(expected, processes, place, placement.dim)
        yield shards._part(shape, Mesh(mesh, coordinate), tuple(placements)), expected


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
        monkeypatch.setattr("lrd.mask._CHUNK", 256)
    whole = lrd.keep_mask(shape, 0.5, seed=3, step=8, index=2)
    for part, expected in parts(shape, mesh, placements, whole):
        assert part.size == tuple(expected.shape)
        draw = Draw(threshold(0.5), seed=3, index=2, step=8)
        mask = shards.local_mask(torch.empty(part.size), part, draw)
        assert torch.equal(mask, expected)


def test_a_mask_that_begins_anywhere_goes_on_over_the_end_of_a_block():
    draw, before, after = Draw(threshold(0.5), seed=0, index=2, step=1), 70_003, 129_997

    def mask(start, size):
        part = shards.Part((1 << 31,), (start,), (size,))
        return shards.local_mask(torch.empty(size), part, draw)

    whole = mask((1 << 30) - before, before + after)
    assert torch.equal(whole[:before], mask((1 << 30) - before, before))
    assert torch.equal(whole[before:], mask(1 << 30, after))
    assert not torch.equal(whole[before:], flat_mask(after, draw, "cpu"))


def test_a_kernel_walks_to_the_end_of_each_block_of_the_whole(monkeypatch):
    monkeypatch.setattr(table, "BLOCK", 1000)
    table.spans.cache_clear()
    spans = table.spans((2500,), (1,), shards.Part((9000,), (700,), (2500,)))
    table.spans.cache_clear()
    assert [span.begin for span in spans] == [0, 300, 1300, 2300]
    assert [(span.block, span.first) for span in spans] == [(0, 700), (1, 0), (2, 0), (3, 0)]
    assert sum(span.count for span in spans) == 2500


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


@pytest.mark.distributed
def test_sharded_and_replicated_training_and_checkpoints_are_as_one_process_has_them(tmp_path):
    nets = sharded.Nets()
    sharded.train(nets, 0, sharded.STEPS)
    expected = sharded.weights(nets)
    for processes in (2, 4):  # four go on from the checkpoint of two
        complete(torchrun(processes, TESTS / "helpers/sharded.py", tmp_path))
    found = [*torch.load(tmp_path / "2.pt").values(), *torch.load(tmp_path / "4.pt").values()]
    assert len(found) == 5  # DistributedDataParallel on two processes is the fifth
    for weights, name in itertools.product(found, expected):
        torch.testing.assert_close(weights[name], expected[name], rtol=1e-12, atol=1e-14)
