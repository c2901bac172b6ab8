"""Learning Rate Dropout: torch.optim's optimizers with a keep mask on the final update.

Lin et al., Learning Rate Dropout, https://arxiv.org/abs/1912.00144, Algorithm 1. At each step a
parameter is updated with probability `keep_prob` and left alone otherwise; momentum, second
moments and step counters see every gradient. The updates that are kept are not rescaled, unless
rescale=True asks for it.

    optimizer = lrd.Adam(model.parameters(), lr=1e-3, keep_prob=0.5, seed=0)

The classes take the arguments of torch.optim's and keep_prob, seed, index_offset, mask, rescale and
compile, which the docstring of each explains. Checks of arguments and state_dict are torch's own; a
checkpoint of the torch.optim optimizer can be loaded. Parameters may be DTensors (FSDP2's
fully_shard, with or without replicas): each process masks its part as it would be masked in the
whole.
"""

from __future__ import annotations

import torch

from lrd import rules
from lrd.optimizer import MaskedOptimizer
from lrd.rules import Group, Rule

_ARGUMENTS = """
    Args:
        params, ...: as torch.optim.{name} takes them, but for the switches between its own loops
            (`foreach`, `fused`, `capturable`, `differentiable`).
        keep_prob (float): probability in (0, 1] that a parameter is updated in a step, drawn for
            each scalar parameter; 1 is the plain optimizer. Default: 0.5
        seed (int): of the masks, in [0, 2^64). Nothing else decides them, torch's global generator
            least of all: the same seed gives the same masks on any device. Default: 0
        index_offset (int): the index of the first parameter. Masks of parameters differ by their
            index, the position over all param groups; with several optimizers for one model, give
            each the number of parameters in those before it. Default: 0
        mask (str): what one draw decides on: an "element", a "row" (all behind one index of the
            first dimension; of a vector, an element) or the whole "tensor". Default: "element"
        rescale (bool): whether updates that are kept are multiplied by 1/keep_prob, decoupled
            weight decay with them, so that the mean update is the plain optimizer's; with
            mask="tensor", SkipUpdate (https://arxiv.org/abs/2602.15322). Default: False
        compile (bool or "auto"): True for a kernel, which makes the mask in registers and reads
            each tensor once; False for the eager reference; "auto" for the kernel where there is
            one: on CPUs with a C compiler, on GPUs with Triton. Masks are the same, weights
            agree to float rounding. Default: "auto"

    **Param groups** may have each of these but compile for themselves. To exempt biases and norms::

        lrd.{name}([{{"params": weights}}, {{"params": biases_and_norms, "keep_prob": 1.0}}], ...)

    **To change p while training**, set ``optimizer.param_groups[i]["keep_prob"]``, which holds from
    the next step on. An attribute of the optimizer would do nothing and cannot be set.

    **Weight decay** is masked with the update, be it decoupled or a term of the gradient: a dropped
    parameter does not decay in that step. Momentum and second moments see every gradient.

    **load_state_dict** brings the checkpoint's keep_prob, seed, index_offset, mask and rescale with
    the learning rate and the rest of its param groups, and the counters, so that the masks go on
    where they were. What a checkpoint lacks, as torch.optim.{name}'s does, it keeps of this
    optimizer.

    **Raises** ValueError for arguments out of their range; TypeError for complex parameters;
    RuntimeError for sparse gradients, parameters that FSDP1 flattened, DTensors placed otherwise
    than by Shard and Replicate, and inside ZeroRedundancyOptimizer; CompilationError at the first
    step if compile=True and there is no kernel.
"""


class SGD(MaskedOptimizer, torch.optim.SGD):
    """torch.optim.SGD with learning rate dropout; with momentum, the paper's SGDM."""

    def _rule(self, group: Group) -> Rule:
        momentum = bool(group["momentum"] != 0)
        flags = (("momentum", momentum), ("nesterov", group["nesterov"]))
        state = ("momentum_buffer",) * momentum
        return Rule(rules.sgdm, rules.sgdm_scalars, state, flags, False, group["maximize"])


class RMSprop(MaskedOptimizer, torch.optim.RMSprop):
    """torch.optim.RMSprop with learning rate dropout; its momentum, if any, sees all updates."""

    def _rule(self, group: Group) -> Rule:
        momentum, centered = bool(group["momentum"] != 0), bool(group["centered"])
        state = ("square_avg",) + ("grad_avg",) * centered + ("momentum_buffer",) * momentum
        flags = (("momentum", momentum), ("centered", centered))
        return Rule(rules.rmsprop, rules.rmsprop_scalars, state, flags, False, group["maximize"])


class Adam(MaskedOptimizer, torch.optim.Adam):
    """torch.optim.Adam, with amsgrad=True AMSGrad, with learning rate dropout."""

    def _rule(self, group: Group) -> Rule:
        return _adam(group, group.get("decoupled_weight_decay", False))  # torch 2.6 has none


class AdamW(MaskedOptimizer, torch.optim.AdamW):
    """torch.optim.AdamW with learning rate dropout: a dropped parameter does not decay either."""

    def _rule(self, group: Group) -> Rule:
        return _adam(group, True)


class RAdam(MaskedOptimizer, torch.optim.RAdam):
    """torch.optim.RAdam with learning rate dropout, in its rectified and unrectified steps."""

    def _rule(self, group: Group) -> Rule:
        decoupled, state = group["decoupled_weight_decay"], ("exp_avg", "exp_avg_sq")
        return Rule(rules.radam, rules.radam_scalars, state, (), decoupled, group["maximize"])


def _adam(group: Group, decoupled: bool) -> Rule:
    state = ("exp_avg", "exp_avg_sq") + ("max_exp_avg_sq",) * bool(group["amsgrad"])
    flags = (("amsgrad", group["amsgrad"]),)
    return Rule(rules.adam, rules.adam_scalars, state, flags, decoupled, group["maximize"])


for _class in (SGD, RMSprop, Adam, AdamW, RAdam):
    _class.__doc__ = f"{_class.__doc__}\n{_ARGUMENTS.format(name=_class.__name__)}"
