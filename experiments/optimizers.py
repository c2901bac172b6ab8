"""Optimizers that experiments need beside torch's and lrd's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

import lrd


class AuthorsRMSprop(torch.optim.Optimizer):
    """RMSprop with learning rate dropout as the paper's authors released it.

    V = α V + (1 − α) (G + λ W)², but W ← W − lr · D ∘ G / (√V + ε): the update is made of the raw
    gradient, so weight decay λ reaches the second moment alone. Kept apart to be measured.
    """

    def __init__(
        self,
        params: Any,
        lr: float,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        keep_prob: float,
        seed: int,
        compile: object = False,
    ) -> None:
        """`compile` is accepted as lrd's optimizers take it; there is no kernel."""
        del compile
        hyper = {"lr": lr, "alpha": alpha, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, {**hyper, "keep_prob": keep_prob, "seed": seed})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        index = 0
        for group in self.param_groups:
            for W in group["params"]:
                if W.grad is not None:
                    self._update(W, group, index)
                index += 1

    def _update(self, W: Tensor, group: dict[str, Any], index: int) -> None:
        state = self.state[W]
        if not state:
            state["step"], state["square_avg"] = torch.zeros(()), torch.zeros_like(W)
        V, decayed = state["square_avg"], W.grad + group["weight_decay"] * W
        V.mul_(group["alpha"]).addcmul_(decayed, decayed, value=1 - group["alpha"])
        step = int(state["step"])
        where = {"seed": group["seed"], "step": step, "index": index, "device": W.device}
        D = lrd.keep_mask(W.shape, group["keep_prob"], **where)
        W.addcdiv_(W.grad * D, V.sqrt() + group["eps"], value=-group["lr"])
        state["step"] += 1


class MuonAdamW(torch.optim.Optimizer):
    """torch.optim.Muon for param groups that are `hidden`, and AdamW for the others, as is meant.

    One rate and one weight decay hold for both: Muon's updates have the size of AdamW's
    (`match_rms_adamw`; Liu et al., Muon is Scalable for LLM Training, arXiv 2502.16982).
    """

    def __init__(
        self,
        params: Any,
        lr: float,
        weight_decay: float = 0.1,
        betas: Sequence[float] = (0.9, 0.99),
    ) -> None:
        hyper = {"lr": lr, "weight_decay": weight_decay, "decoupled_weight_decay": True}
        super().__init__(params, hyper)
        hidden, others = self._kinds()  # the parts complete these groups with their own defaults
        self._parts = [
            torch.optim.Muon(hidden, adjust_lr_fn="match_rms_adamw") if hidden else None,
            torch.optim.AdamW(others, betas=tuple(betas), fused=True) if others else None,
        ]

    def _kinds(self) -> list[list[dict[str, Any]]]:
        return [
            [g for g in self.param_groups if bool(g.get("hidden")) is kind]
            for kind in (True, False)
        ]

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        for part, groups in zip(self._parts, self._kinds(), strict=True):
            if part is not None:  # whose groups and state are these, which may have been loaded
                part.param_groups, part.state = groups, self.state
                part.step()
