"""What each process of a test of sharding does: torchrun sharded.py <folder>."""

import os
import sys
from functools import partial
from pathlib import Path

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import nn
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import Shard
from torch.nn.parallel import DistributedDataParallel

import lrd
from lrd.shards import whole

STEPS, HALF = 50, 25
RULES = {
    "sgdm": partial(lrd.SGD, lr=0.1, momentum=0.9, weight_decay=1e-3),
    "rmsprop": partial(lrd.RMSprop, lr=1e-3),
    "adam": partial(lrd.Adam, lr=1e-3),
    "amsgrad": partial(lrd.Adam, lr=1e-3, amsgrad=True),
    "adamw": partial(lrd.AdamW, lr=1e-3, weight_decay=0.1),
    "radam": partial(lrd.RAdam, lr=0.03),
    # compiled on two processes, eager elsewhere: both do the same
    "fused": partial(lrd.Adam, lr=1e-3, seed=9, compile=os.environ.get("WORLD_SIZE") == "2"),
    "rows": partial(lrd.Adam, lr=1e-3, seed=2, mask="row", rescale=True),
    "tensors": partial(lrd.RMSprop, lr=1e-3, mask="tensor", compile=False),
    "magma": lambda params: lrd.MaskedUpdate(torch.optim.RMSprop(params, lr=1e-3), lrd.Magma()),
    "noise": lambda params: lrd.MaskedUpdate(torch.optim.Adam(params), lrd.Noise(0.5, 0.5), 3),
    "decay": lambda params: lrd.MaskedUpdate(torch.optim.AdamW(params), lrd.CautiousDecay()),
    "cautious": lambda params: lrd.MaskedUpdate(torch.optim.AdamW(params), lrd.Cautious()),
    "wrapped": lambda params: lrd.LearningRateDropout(torch.optim.AdamW(params, lr=1e-3), seed=5),
}


class Nets(nn.ModuleDict):
    """A net for each rule, so that all of them are gathered at once."""

    def __init__(self):
        super().__init__({name: _net() for name in RULES})
        self.double()

    def forward(self, inputs, targets):
        """The sum of the nets' losses, which gives each its own gradients."""
        return sum(((net(inputs) - targets) ** 2).mean() for net in self.values())


def _net():
    """Layers that 2 and 4 processes share unevenly, some with nothing left for the last one."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 21), nn.Tanh(), nn.Linear(21, 8), nn.Tanh(), nn.Linear(8, 3))


def shard(nets, replicas=1):
    """Most parameters along their first dimension, the first layers' weights along the second."""
    shape = (replicas, dist.get_world_size() // replicas)
    mesh = init_device_mesh("cpu", shape, mesh_dim_names=("replicas", "shards"))

    def place(param):
        return Shard(1) if param.shape == (21, 8) else None

    return fully_shard(
        nets, mesh=mesh if replicas > 1 else mesh["shards"], shard_placement_fn=place
    )


def train(nets, first, last, optimizers=None, rank=0, world=1):
    """Steps `first` … `last` on batches of 12, of which each process has its part."""
    optimizers = optimizers or make_optimizers(nets)
    for step in range(first, last):
        stream = torch.Generator().manual_seed(step)
        inputs = torch.randn(12, 8, generator=stream, dtype=torch.float64)
        targets = torch.randn(12, 3, generator=stream, dtype=torch.float64)
        nets.zero_grad()
        nets(inputs.chunk(world)[rank], targets.chunk(world)[rank]).backward()
        for optimizer in optimizers.values():
            optimizer.step()
        torch.rand(rank)  # draws of its own change nothing


def make_optimizers(nets):
    return {name: rule(nets[name].parameters()) for name, rule in RULES.items()}


def weights(nets):
    """The flat weights of each net, whole."""
    return {
        name: torch.cat([whole(param.detach()).flatten() for param in net.parameters()])
        for name, net in nets.items()
    }


def states(nets, optimizers):
    pairs = {name: get_state_dict(nets[name], optimizer) for name, optimizer in optimizers.items()}
    return {name: {"net": net, "optimizer": state} for name, (net, state) in pairs.items()}


def main(folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    rank, world = dist.get_rank(), dist.get_world_size()
    nets, found = shard(Nets()), {}
    optimizers = make_optimizers(nets)
    train(nets, 0, HALF, optimizers, rank, world)
    if world == 2:
        dcp.save(states(nets, optimizers), checkpoint_id=folder / "saved")
        replicated = Nets()
        made = make_optimizers(replicated)
        train(DistributedDataParallel(replicated), 0, STEPS, made, rank, world)
        found["replicated"] = weights(replicated)
    train(nets, HALF, STEPS, optimizers, rank, world)
    found["sharded"] = weights(nets)
    if world == 4:
        nets = shard(Nets(), replicas=2)
        train(nets, 0, STEPS, None, rank, world)
        found["sharded and replicated"] = weights(nets)
        nets = shard(Nets())
        optimizers = make_optimizers(nets)
        loaded = states(nets, optimizers)  # lets the optimizers step, for a state to load into
        dcp.load(loaded, checkpoint_id=folder / "saved")
        for name, optimizer in optimizers.items():
            net, state = loaded[name].values()
            set_state_dict(nets[name], optimizer, model_state_dict=net, optim_state_dict=state)
        train(nets, HALF, STEPS, optimizers, rank, world)
        found["continued"] = weights(nets)
    if rank == 0:
        torch.save(found, folder / f"{world}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
