"""The methods that arms differ by: learning rate dropout, its controls and the paper's rivals.

A `Method` is the whole declaration of one: names, checks, hash, tables and the runner read it here.
A method of your own is such a declaration in a module of yours that `methods: [<module>]` names.
Each draws from a random stream of its own, so that turning one on changes nothing else.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from inspect import signature
from typing import Any

import torch
from hydra.utils import get_method
from torch import Tensor

import lrd
from experiments import streams
from experiments.configuration import Config, ConfigError

NOISE_DECAY = 0.55  # γ of noisy gradient


@dataclass(frozen=True)
class Method:
    """One number of the configuration that arms differ by, and what it does.

    gradients(gradients, value, seed, step) changes a list of gradients in place, before momentum
    and second moments see them. labels(labels (N,), value, classes, generator) returns an epoch's
    labels. net(node, value) and optimizer(node, value, config) return what the net, or the
    optimizer, is built from: a dict of `_target_` and arguments. obstacle(config) returns why the
    method does not go with a configuration, or "".
    """

    key: str  # in the configuration, dotted
    suffix: str  # of the arm's name, before the number; the whole word of a switch
    neutral: float | bool  # the value that turns it off
    valid: Callable[[Any], bool]
    expected: str  # what `valid` asks for, in words
    control: bool = False  # two controls in one arm would have no meaning
    gradients: Callable[[list[Tensor], Any, int, int], None] | None = None
    labels: Callable[[Tensor, Any, int, torch.Generator], Tensor] | None = None
    net: Callable[[Config, Any], Config] | None = None
    optimizer: Callable[[Config, Any, Config], Config] | None = None
    obstacle: Callable[[Config], str] = lambda _: ""

    def value(self, config: Config) -> Any:
        """Its value in a configuration; neutral where there is none, or no mask to belong to."""
        if self.key.startswith("lrd.") and not masked(config):
            return self.neutral
        node: Any = config
        for name in self.key.split("."):
            node = node.get(name, self.neutral) if isinstance(node, dict) else self.neutral
        return node

    def word(self, value: Any) -> str:
        """Its part of the arm's name: `sd0.9`, `rescale`."""
        return self.suffix if isinstance(value, bool) else f"{self.suffix}{value:g}"


def masked(config: Config) -> bool:
    """Whether the arm is one with learning rate dropout; at p = 1 it is the base arm."""
    return bool(config["lrd"]["enabled"]) and config["lrd"]["p"] != 1


def declared(config: Config) -> tuple[Method, ...]:
    """All methods that a configuration can name: the suite's, and those of its own modules.

    Raises ConfigError for a module that is not there or has no METHODS.
    """
    names = config.get("methods") or []
    try:
        own = [method for name in names for method in importlib.import_module(name).METHODS]
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        text = f"methods={names!r} must be a list of modules with METHODS: {error}"
        raise ConfigError(text) from error
    return (*METHODS, *own)


def active(config: Config) -> list[tuple[Method, Any]]:
    """The methods that a configuration turns on, with their values, in the order of names."""
    values = [(method, method.value(config)) for method in declared(config)]
    return [(method, value) for method, value in values if value != method.neutral]


def gradient_change(config: Config) -> Callable[[list[Tensor], int], None] | None:
    """What the configuration does to gradients (a list, and the step's number); None if nothing."""
    changes = [(method.gradients, value) for method, value in active(config) if method.gradients]
    if not changes:
        return None

    def change(gradients: list[Tensor], step: int) -> None:
        for function, value in changes:
            function(gradients, value, config["seed"], step)

    return change


def label_change(config: Config, epoch: int) -> Callable[[Tensor], Tensor] | None:
    """What the configuration does to an epoch's labels (N,); None if nothing."""
    changes = [(method.labels, value) for method, value in active(config) if method.labels]
    if not changes:
        return None

    def change(labels: Tensor) -> Tensor:
        generator = streams.generator(config["seed"], "labels", epoch)
        for function, value in changes:
            labels = function(labels, value, config["model"]["num_classes"], generator)
        return labels

    return change


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
    """Noisy gradient (NG): add N(0, σ_t²) to every coordinate.

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

    Momentum and second moments see the zeros, where learning rate dropout masks after them.
    Paper, section 4.6.
    """
    mask_seed = streams.derive(seed, "gradient_dropout")
    for index, gradient in enumerate(gradients):
        where = {"seed": mask_seed, "step": step, "index": index, "device": gradient.device}
        gradient.mul_(lrd.keep_mask(gradient.shape, keep_prob, **where))


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


def is_number(value: Any) -> bool:
    """Whether a value of a configuration is a number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_share(value: Any) -> bool:
    return is_number(value) and 0 < value <= 1


def _is_switch(value: Any) -> bool:
    return isinstance(value, bool)


def _lacks(group: str, argument: str, meaning: str) -> Callable[[Config], str]:
    """The obstacle of a method that needs an argument of the group's function."""

    def obstacle(config: Config) -> str:
        target = config[group].get("_target_")
        if target and argument in signature(get_method(target)).parameters:
            return ""
        return f"{target or 'a task without data'} {meaning}"

    return obstacle


def _not_rmsprop(config: Config) -> str:
    name = config["optimizer"]["name"]
    return "" if name == "rmsprop" else f"the authors' variant is of rmsprop, got optimizer={name}"


def _not_classification(config: Config) -> str:
    task = config["task"]
    return "" if task == "classification" else f"it is for the task classification, not {task}"


# In the order in which they stand in an arm's name
METHODS = (
    Method("lrd.p", "lrd", 1.0, _is_share, "a number in (0, 1], the share of updates kept"),
    Method(  # by the rate, whose column in metrics.csv the runs recorded so: rescale=True keeps it
        "lrd.rescale", "rescale", False, _is_switch, "true or false", control=True,
        optimizer=lambda node, _, config: {**node, "lr": node["lr"] / config["lrd"]["p"]},
    ),
    Method(
        "lrd.authors", "authors", False, _is_switch, "true or false", control=True,
        optimizer=lambda node, *_: {**node, "_target_": f"{__name__}.AuthorsRMSprop"},
        obstacle=_not_rmsprop,
    ),
    Method(
        "lr_scale", "lr", 1.0, lambda scale: is_number(scale) and scale > 0, "a positive number",
        control=True,
        optimizer=lambda node, scale, _: {**node, "lr": node["lr"] * scale},
    ),
    Method(
        "regularizer.p_sd", "sd", 1.0, _is_share, "a number in (0, 1], the share of units kept",
        net=lambda node, p_sd: {**node, "p_sd": p_sd},
        obstacle=_lacks("model", "p_sd", "has no standard dropout, resnet34 has"),
    ),
    Method(
        "regularizer.noisy_label", "nl", 0.0, lambda rate: is_number(rate) and 0 <= rate <= 1,
        "a number in [0, 1], the share of labels drawn",
        labels=noisy_labels, obstacle=_not_classification,
    ),
    Method(
        "regularizer.noisy_gradient", "ng", 0.0, lambda eta: is_number(eta) and eta >= 0,
        "a variance, not negative", gradients=add_noise,
    ),
    Method(
        "regularizer.dropout_gradient", "dg", 1.0, _is_share,
        "a number in (0, 1], the share of gradients kept", gradients=drop_gradients,
    ),
    Method(
        "data.standardised", "standardised=false", True, _is_switch, "true or false",
        obstacle=_lacks("data", "standardised", "cannot leave pixels in [0, 1], mnist can"),
    ),
)  # fmt: skip
