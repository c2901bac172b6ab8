"""Learning Rate Dropout: torch.optim's optimizers with a keep mask on the final update.

Lin et al., Learning Rate Dropout, https://arxiv.org/abs/1912.00144, Algorithm 1. At each step a
parameter is updated with probability `keep_prob` and left alone otherwise; momentum, second
moments and step counters see every gradient. The updates that are kept are not rescaled.

    optimizer = lrd.Adam(model.parameters(), lr=1e-3, keep_prob=0.5, seed=0)

Each class takes the arguments of torch.optim's class of that name and adds three keywords:
    keep_prob: probability in (0, 1] that a parameter is updated; 1 is the plain optimizer. A
        param group may have its own.
    seed: of the masks; nothing else, torch's global generator least of all, affects them.
    compile: True for the fused step (torch.compile), False for the eager one, "auto" to choose by
        the number of parameters. Masks are the same, weights agree to float rounding.

Checks of arguments and state_dict are torch's own; param groups gain `keep_prob` and `seed`, and
SGD's state gains `step`, so that the masks go on exactly where a restart finds them. A checkpoint
of the torch.optim optimizer can be loaded. Parameters may be DTensors (FSDP2's fully_shard, with or
without replicas): each process masks its part as it would be masked in the whole, and the fused
step takes parts along the first dimension, the eager one any. Errors: ValueError for a keep_prob
outside (0, 1], a negative seed and torch's switches between its own loops (foreach, fused,
capturable, differentiable); TypeError for complex parameters; RuntimeError for sparse gradients
and for DTensors placed otherwise than by Shard and Replicate.
"""

from __future__ import annotations

import functools

import torch

from lrd import rules
from lrd.optimizer import MaskedOptimizer
from lrd.rules import Group, Rule


@functools.cache
def _sgdm(momentum: bool, nesterov: bool, maximize: bool) -> Rule:
    state = ("momentum_buffer",) if momentum else ()
    flags = (("momentum", momentum), ("nesterov", nesterov))
    return Rule(rules.sgdm, rules.sgdm_scalars, state, flags, maximize=maximize)


@functools.cache
def _rmsprop(momentum: bool, centered: bool, maximize: bool) -> Rule:
    state = ("square_avg",) + ("grad_avg",) * centered + ("momentum_buffer",) * momentum
    flags = (("momentum", momentum), ("centered", centered))
    return Rule(rules.rmsprop, rules.rmsprop_scalars, state, flags, maximize=maximize)


@functools.cache
def _adam(amsgrad: bool, decoupled: bool, maximize: bool) -> Rule:
    state = ("exp_avg", "exp_avg_sq") + ("max_exp_avg_sq",) * amsgrad
    flags = (("amsgrad", amsgrad),)
    return Rule(rules.adam, rules.adam_scalars, state, flags, decoupled, maximize)


@functools.cache
def _radam(decoupled: bool, maximize: bool) -> Rule:
    state = ("exp_avg", "exp_avg_sq")
    return Rule(rules.radam, rules.radam_scalars, state, (), decoupled, maximize)


class SGD(MaskedOptimizer, torch.optim.SGD):
    """torch.optim.SGD with learning rate dropout; with momentum, the paper's SGDM."""

    def _rule(self, group: Group) -> Rule:
        return _sgdm(group["momentum"] != 0, group["nesterov"], group["maximize"])


class RMSprop(MaskedOptimizer, torch.optim.RMSprop):
    """torch.optim.RMSprop with learning rate dropout; its momentum, if any, sees all updates."""

    def _rule(self, group: Group) -> Rule:
        return _rmsprop(group["momentum"] != 0, group["centered"], group["maximize"])


class Adam(MaskedOptimizer, torch.optim.Adam):
    """torch.optim.Adam, with amsgrad=True AMSGrad, with learning rate dropout."""

    def _rule(self, group: Group) -> Rule:
        return _adam(group["amsgrad"], group["decoupled_weight_decay"], group["maximize"])


class AdamW(MaskedOptimizer, torch.optim.AdamW):
    """torch.optim.AdamW with learning rate dropout: a dropped parameter does not decay either."""

    def _rule(self, group: Group) -> Rule:
        return _adam(group["amsgrad"], True, group["maximize"])


class RAdam(MaskedOptimizer, torch.optim.RAdam):
    """torch.optim.RAdam with learning rate dropout, in its rectified and unrectified steps."""

    def _rule(self, group: Group) -> Rule:
        return _radam(group["decoupled_weight_decay"], group["maximize"])
