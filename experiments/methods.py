"""The methods that the paper compares learning rate dropout with, and the controls it lacks.

Standard dropout is in the net (models/resnet.py). Every method draws from a stream of its own, so
that turning one on changes nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

import lrd
from experiments import streams
from experiments.identity import Config

NOISE_DECAY = 0.55  # γ of noisy gradient


def noisy_labels(labels: Tensor, rate: float, classes: int, generator: torch.Generator) -> Tensor:
    """Noisy label (NL): with probability `rate` a label is drawn from the other classes.

    `labels` (N,) of one epoch, so that a sample's label is drawn anew each time that it is seen;
    uniform over the `classes` − 1 others. Paper, section 4.5 (Xie et al., DisturbLabel).
    """
    count = len(labels)
    changed = torch.rand(count, generator=generator) < rate
    shift = torch.randint(1, classes, (count,), generator=generator)
    return (labels + torch.where(changed, shift, 0).to(labels.device)) % classes


def noise_variance(eta: float, step: int) -> float:
    """σ_t² = η / (1 + t)^γ of noisy gradient at step t = 0, 1, …"""
    return eta / (1 + step) ** NOISE_DECAY


def add_noise(gradients: Iterable[Tensor], eta: float, seed: int, step: int) -> None:
    """Noisy gradient (NG): add N(0, σ_t²) to every coordinate, before the accumulators see it.

    σ_t² is a variance. Neelakantan et al., https://arxiv.org/abs/1511.06807; η = 0.1, γ = 0.55.
    """
    deviation = noise_variance(eta, step) ** 0.5
    generator = None
    for gradient in gradients:
        if generator is None:
            generator = torch.Generator(gradient.device)
            generator.manual_seed(streams.derive(seed, "gradient_noise", step))
        noise = torch.empty_like(gradient).normal_(0.0, deviation, generator=generator)
        gradient.add_(noise)


def drop_gradients(gradients: Iterable[Tensor], keep_prob: float, seed: int, step: int) -> None:
    """Gradient dropout (DG): a coordinate is 0 with probability 1 − `keep_prob`, not rescaled.

    Before the accumulators, so that momentum and second moments see the zeros; learning rate
    dropout masks after them. Paper, section 4.6.
    """
    mask_seed = streams.derive(seed, "gradient_dropout")
    for index, gradient in enumerate(gradients):
        kept = lrd.keep_mask(
            gradient.shape,
            keep_prob,
            seed=mask_seed,
            step=step,
            index=index,
            device=gradient.device,
        )
        gradient.mul_(kept)


def gradient_change(config: Config) -> Callable[[list[Tensor], int], None] | None:
    """What the configuration does to gradients (a list, and the step's number); None if nothing."""
    regularizer, seed = config["regularizer"], config["seed"]
    eta, keep_prob = regularizer["noisy_gradient"], regularizer["dropout_gradient"]
    if eta == 0 and keep_prob == 1:
        return None

    def change(gradients: list[Tensor], step: int) -> None:
        if eta != 0:
            add_noise(gradients, eta, seed, step)
        if keep_prob != 1:
            drop_gradients(gradients, keep_prob, seed, step)

    return change


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
        """`compile` is accepted as lrd's optimizers take it; there is no fused step."""
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
        D = lrd.keep_mask(
            W.shape,
            group["keep_prob"],
            seed=group["seed"],
            step=int(state["step"]),
            index=index,
            device=W.device,
        )
        W.addcdiv_(W.grad * D, V.sqrt() + group["eps"], value=-group["lr"])
        state["step"] += 1
