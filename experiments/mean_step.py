"""How far an optimizer moves the parameters in a step, as a share of what its base would."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class MeanStep:
    """|applied update| / |base update| of an optimizer's last step, summed over all parameters.

    The base update is what the optimizer inside did, where there is one (`lrd.MaskedUpdate`); of a
    plain optimizer the ratio is 1. Cost with one inside: a copy of the parameters and some passes
    over them.
    """

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self._parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self._base = self._applied = torch.ones((), device=self._parameters[0].device)
        inner = getattr(optimizer, "optimizer", None)
        if inner is not None:
            optimizer.register_step_pre_hook(self._keep)
            inner.register_step_post_hook(self._inner_done)
            optimizer.register_step_post_hook(self._done)

    def _keep(self, *_: Any) -> None:
        self._before = [parameter.detach().clone() for parameter in self._parameters]

    def _inner_done(self, *_: Any) -> None:
        self._base = self._moved()

    def _done(self, *_: Any) -> None:
        self._applied = self._moved()

    def _moved(self) -> Tensor:
        moved = torch._foreach_sub([p.detach() for p in self._parameters], self._before)
        return torch.stack(torch._foreach_norm(moved, 1)).sum()

    def ratio(self) -> Tensor:
        """Of the last step, a scalar on the device; NaN where the base has not moved."""
        return self._applied / self._base
