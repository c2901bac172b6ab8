"""Learning rate dropout around any torch.optim.Optimizer, third-party ones too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lrd.mask import check_keep_prob, check_seed
from lrd.optimizer import MaskedOptimizer
from lrd.shards import local, local_mask, part_of


class LearningRateDropout(torch.optim.Optimizer):
    """Masks what `optimizer` does to its parameters: dropped ones are put back after its step.

    The inner optimizer runs unchanged, so its state is that of the plain optimizer fed the same
    gradients. Everything that its step does to a parameter is masked, decoupled weight decay
    included. Cost: one copy of the parameters in memory, kept between steps, a pass to fill it, the
    masks, and a pass to put dropped values back. The optimizers of this package need none of it.

    Param groups (shared with the inner optimizer) gain `keep_prob`, `mask_seed` and `mask_steps`,
    the number of updates that each parameter has had; they travel in `state_dict`, which is the
    inner optimizer's. Parameters without a gradient are neither masked nor counted.

    Raises ValueError for a keep_prob outside (0, 1], a negative seed, or an optimizer that masks
    its updates already; TypeError if `optimizer` is no torch.optim.Optimizer.
    """

    def __init__(
        self, optimizer: torch.optim.Optimizer, keep_prob: float = 0.5, seed: int = 0
    ) -> None:
        if not isinstance(optimizer, torch.optim.Optimizer):
            raise TypeError(
                f"optimizer must be a torch.optim.Optimizer, got {type(optimizer).__name__}"
            )
        masked = isinstance(optimizer, (MaskedOptimizer, LearningRateDropout))
        if masked or any("mask_seed" in group for group in optimizer.param_groups):
            raise ValueError(
                f"{type(optimizer).__name__} already has learning rate dropout: give it the "
                "keep_prob, or wrap a plain optimizer"
            )
        self._mask = {"keep_prob": check_keep_prob(keep_prob), "mask_seed": check_seed(seed)}
        self._copies: dict[Tensor, Tensor] = {}
        self.optimizer = optimizer
        super().__setstate__({})  # torch's hooks, without a state or param groups of our own
        self._complete_groups()

    param_groups = property(lambda self: self.optimizer.param_groups)
    state = property(lambda self: self.optimizer.state)
    defaults = property(lambda self: self.optimizer.defaults)

    def __getstate__(self) -> dict[str, Any]:
        return {"optimizer": self.optimizer, "_mask": self._mask, "_copies": {}}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.optimizer!r})"

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        check_keep_prob(param_group.get("keep_prob", self._mask["keep_prob"]))
        self.optimizer.add_param_group(param_group)
        self._complete_groups()

    def zero_grad(self, set_to_none: bool = True) -> None:
        self.optimizer.zero_grad(set_to_none)

    def state_dict(self) -> dict[str, Any]:
        return self.optimizer.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a wrapped optimizer's state, or a plain one's, whose masks then start at step 0."""
        self.optimizer.load_state_dict(state_dict)
        self._complete_groups()

    def _complete_groups(self) -> None:
        for group in self.param_groups:
            for name, value in self._mask.items():
                group.setdefault(name, value)
            check_keep_prob(group["keep_prob"])
            group.setdefault("mask_steps", [0] * len(group["params"]))

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Let the inner optimizer step, then put dropped parameters back; returns its result."""
        if torch.compiler.is_compiling():  # inside a compiled training step: not to be traced,
            return torch.compiler.disable(self._step)(closure)  # or anew for each step's number
        return self._step(closure)

    def _step(self, closure: Callable[[], Any] | None) -> Any:
        params = [
            param
            for group in self.param_groups
            for param in group["params"]
            if param.grad is not None or closure is not None  # a closure may make the gradient
        ]
        old = self._snapshot(params)
        loss = self.optimizer.step() if closure is None else self.optimizer.step(closure)
        index = 0
        for group in self.param_groups:
            for number, param in enumerate(group["params"]):
                if param in old and param.grad is not None:
                    _put_back(param, old[param], group, number, index)
                    group["mask_steps"][number] += 1
                index += 1
        return loss

    def _snapshot(self, params: list[Tensor]) -> dict[Tensor, Tensor]:
        """Copies of `params`, in memory that is kept: getting it anew costs more than copying."""
        kept, self._copies = self._copies, {}
        for param in params:
            copy, W = kept.get(param), local(param)
            fits = copy is not None and _kind(copy) == _kind(W)
            self._copies[param] = copy if fits else torch.empty_like(W)
        if params:
            torch._foreach_copy_(list(self._copies.values()), [local(param) for param in params])
        return self._copies


def _kind(tensor: Tensor) -> tuple[Any, ...]:
    return tensor.shape, tensor.dtype, tensor.device


def _put_back(param: Tensor, old: Tensor, group: dict[str, Any], number: int, index: int) -> None:
    step, seed = group["mask_steps"][number], group["mask_seed"]
    W = local(param)
    mask = local_mask(W, part_of(param), group["keep_prob"], seed, step, index)
    torch.where(mask, W, old, out=W)
