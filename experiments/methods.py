"""The methods that arms differ by: learning rate dropout, its controls and the paper's rivals.

A `Method` is the whole declaration of one: names, checks, hash, tables and the runner read it here.
A method of your own is such a declaration in a module of yours that `methods: [<module>]` names.
Each draws from a random stream of its own, so that turning one on changes nothing else.
"""

from __future__ import annotations

import importlib
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from inspect import signature
from typing import Any

import torch
from hydra.utils import get_method
from torch import Tensor
from torch.nn.utils import get_total_norm

import lrd
from experiments import streams
from experiments.configuration import Config, ConfigError, flatten
from lrd.mask import MASKS

NOISE_DECAY = 0.55  # γ of noisy gradient


@dataclass(frozen=True)
class Method:
    """One value of the configuration that arms differ by, and what it does.

    gradients(gradients, value, seed, step) changes a list of gradients in place, before momentum
    and second moments see them. labels(labels (N,), value, classes, generator) returns an epoch's
    labels. net(node, value) and optimizer(node, value, config) return what the net, or the
    optimizer, is built from: a dict of `_target_` and arguments. obstacle(config) returns why the
    method does not go with a configuration, or "".
    """

    key: str  # in the configuration, dotted
    suffix: str  # of the arm's name, before the number; the whole word of a switch
    neutral: float | bool | str  # the value that turns it off
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
        return flatten(config).get(self.key, self.neutral)

    def word(self, value: Any) -> str:
        """Its part of the arm's name: `sd0.9`, `rescale`, `tensor`."""
        if isinstance(value, bool):
            return self.suffix
        return f"{self.suffix}{value if isinstance(value, str) else format(value, 'g')}"


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


def add_noise(gradients: Sequence[Tensor], eta: float, seed: int, step: int) -> None:
    """Noisy gradient (NG): add N(0, σ_t²) to every coordinate at step t = 0, 1, …

    σ_t² = η / (1 + t)^γ is a variance. Neelakantan et al., https://arxiv.org/abs/1511.06807;
    η = 0.1, γ = 0.55.
    """
    deviation = (eta / (1 + step) ** NOISE_DECAY) ** 0.5
    generator = torch.Generator(gradients[0].device)
    generator.manual_seed(streams.derive(seed, "gradient_noise", step))
    for gradient in gradients:
        gradient.add_(torch.empty_like(gradient).normal_(0.0, deviation, generator=generator))


def drop_gradients(gradients: Iterable[Tensor], keep_prob: float, seed: int, step: int) -> None:
    """Gradient dropout (DG): a coordinate is 0 with probability 1 − `keep_prob`, not rescaled.

    Momentum and second moments see the zeros, where learning rate dropout masks after them.
    Paper, section 4.6.
    """
    mask_seed = streams.derive(seed, "gradient_dropout")
    for index, gradient in enumerate(gradients):
        where = {"seed": mask_seed, "step": step, "index": index, "device": gradient.device}
        gradient.mul_(lrd.keep_mask(gradient.shape, keep_prob, **where))


def clip(gradients: list[Tensor], greatest: float, seed: int, step: int) -> None:
    """Scale all gradients by one number, so that their norm is at most `greatest`."""
    factor = (greatest / get_total_norm(gradients)).clamp(max=1)
    for gradient in gradients:
        gradient.mul_(factor)


def is_number(value: Any) -> bool:
    """Whether a value of a configuration is a number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_share(value: Any) -> bool:
    return is_number(value) and 0 < value <= 1


def _is_share_or_none(value: Any) -> bool:
    return is_number(value) and 0 <= value <= 1


def _ruled(rule: str, exempt: str = "", **arguments: Callable[[float], float]) -> Any:
    """What builds an optimizer with a rule of lrd's, whose arguments are functions of the value."""

    def optimizer(node: Config, value: Any, config: Config) -> Config:
        given = {"_target_": f"lrd.{rule}"} | {name: of(value) for name, of in arguments.items()}
        seed = streams.derive(config["seed"], "mask")
        target = {"_target_": "experiments.setting.ruled", "exempt": exempt}
        return target | {"base": node, "rule": given, "seed": seed}

    return optimizer


def _beside_lrd(config: Config) -> str:
    return "it is instead of learning rate dropout: lrd.enabled=false" if masked(config) else ""


def _rescaled(node: Config, _: Any, config: Config) -> Config:
    """Of the kernels by the rate, as the runs are recorded: `rescale` would show another."""
    return node | ({"rescale": True} if "base" in node else {"lr": node["lr"] / config["lrd"]["p"]})


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
    if config["lrd"]["compile"] is True:
        return "the authors' variant has no kernel, got lrd.compile=true"
    return "" if name == "rmsprop" else f"the authors' variant is of rmsprop, got optimizer={name}"


def _not_classification(config: Config) -> str:
    task = config["task"]
    if task != "classification":
        return f"it is for the task classification, not {task}"
    return "" if "num_classes" in config["model"] else "it needs model.num_classes"


_SWITCH = (lambda value: isinstance(value, bool), "true or false")

# In the order in which they stand in an arm's name
METHODS = (
    Method("lrd.p", "lrd", 1.0, _is_share, "a number in (0, 1], the share of updates kept"),
    Method(
        "lrd.mask", "", "element", lambda mask: mask in MASKS, f"one of {', '.join(MASKS)}",
        optimizer=lambda node, mask, _: {**node, "mask": mask},
    ),
    Method("lrd.rescale", "rescale", False, *_SWITCH, control=True,
           optimizer=_rescaled),
    Method(
        "lrd.authors", "authors", False, *_SWITCH, control=True,
        optimizer=lambda node, *_: {**node, "_target_": "experiments.optimizers.AuthorsRMSprop"},
        obstacle=_not_rmsprop,
    ),
    Method(
        "lr_scale", "lr", 1.0, lambda scale: is_number(scale) and scale > 0, "a positive number",
        control=True,
        optimizer=lambda node, scale, _: {**node, "lr": node["lr"] * scale},
    ),
    Method(
        "update.magma", "magma", 0.0, _is_share_or_none,
        "a number in [0, 1], the share of tensors kept",
        optimizer=_ruled("Magma", exempt="embedding", keep_prob=float), obstacle=_beside_lrd,
    ),
    Method(
        "update.cautious", "cautious", False, *_SWITCH,
        optimizer=_ruled("Cautious"), obstacle=_beside_lrd,
    ),
    Method(
        "update.cautious_decay", "cautious_decay", False, *_SWITCH,
        optimizer=_ruled("CautiousDecay"), obstacle=_beside_lrd,
    ),
    Method(
        "update.noise", "noise", 0.0, _is_share_or_none, "a number in [0, 1], the p of the mask",
        optimizer=_ruled("Noise", mean=float, std=lambda p: math.sqrt(p * (1 - p))),
        obstacle=_beside_lrd,
    ),
    Method(
        "regularizer.p_sd", "sd", 1.0, _is_share, "a number in (0, 1], the share of units kept",
        net=lambda node, p_sd: {**node, "p_sd": p_sd},
        obstacle=_lacks("model", "p_sd", "has no standard dropout, resnet34 has"),
    ),
    Method(
        "regularizer.noisy_label", "nl", 0.0, _is_share_or_none,
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
        "regularizer.clip", "clip", math.inf, lambda norm: is_number(norm) and norm > 0,
        "a positive number, the greatest norm of all gradients", gradients=clip,
    ),
    Method(
        "data.standardised", "standardised=false", True, *_SWITCH,
        obstacle=_lacks("data", "standardised", "cannot leave pixels in [0, 1], mnist can"),
    ),
    Method("step_of", "step_of_", "",
        lambda word: isinstance(word, str) and bool(re.fullmatch(r"(\w[\w.]*)?", word)),
        "a method of an arm's name, as magma0.5", control=True,
        obstacle=lambda config: "" if config["best_rate"] else "it needs best_rate=true",
    ),
    Method("best_rate", "best", False, *_SWITCH),
)  # fmt: skip
