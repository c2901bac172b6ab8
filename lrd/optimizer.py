"""Algorithm 1 around any update rule: the base class of lrd's optimizers."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterable
from functools import partial
from itertools import zip_longest
from typing import Any

import torch
from torch.optim.optimizer import ParamsT

from lrd.kernels.build import CompilationError
from lrd.plan import Mask, Plan, mask_of
from lrd.rules import Group, Rule
from lrd.shards import check_whole, refuse_partitions
from lrd.step import (
    Compile,
    check_compile,
    counter,
    only_makes_state,
    refuse_capture,
    rows_of,
    update,
)

_MASK = Mask._fields


def kept_in_groups(name: str) -> property:
    """A property that refuses to be read or set: an attribute of that name would do nothing."""

    def refuse(self: Any, *_: Any) -> None:
        raise AttributeError(
            f"{type(self).__name__} keeps {name} for each param group: read or set "
            f"optimizer.param_groups[i]['{name}']"
        )

    return property(refuse, refuse)


def by_kernels(optimizer: Any, work: Callable[[Compile], Any]) -> Any:
    """Do a step's work by kernels; eagerly from now on where one that is not required is missing,
    with a warning."""
    try:
        return work(optimizer._compile)
    except CompilationError as error:
        if optimizer._compile is True:
            raise
        warnings.warn(f"{error}. Going on with eager operations", stacklevel=6)
        optimizer._compile = False
        return work(False)


def complete(group: Group, mask: dict[str, Any]) -> None:
    """Give a param group what it lacks of what decides its masks."""
    for name, value in mask.items():
        group.setdefault(name, value)


def settings(groups: Iterable[Group], names: Iterable[str]) -> list[dict[str, Any]]:
    """What each param group has of these names: a checkpoint without them is not to change it."""
    return [{name: group[name] for name in names if name in group} for group in groups]


class MaskedOptimizer(torch.optim.Optimizer):
    """Masks the updates of a rule; subclasses name the rule and bring torch's constructor."""

    keep_prob, seed, index_offset, mask, rescale = map(kept_in_groups, _MASK)
    _plan: Plan | None = None

    def __init__(
        self,
        params: ParamsT,
        *args: Any,
        keep_prob: float = 0.5,
        seed: int = 0,
        index_offset: int = 0,
        mask: str = "element",
        rescale: bool = False,
        compile: Compile = "auto",
        **kwargs: Any,
    ) -> None:
        refuse_partitions()
        self._compile = check_compile(compile)
        self._mask = mask_of(Mask(keep_prob, seed, index_offset, mask, rescale)._asdict())._asdict()
        super().__init__(params, *args, **kwargs)
        self.defaults.update(self._mask)

    def __init_subclass__(cls) -> None:
        """Show torch's signature with our keywords in help() and editors."""
        if MaskedOptimizer not in cls.__bases__:
            if cls.__init__ is not MaskedOptimizer.__init__:
                cls.__signature__ = None  # not ours, which it would inherit
            return  # somebody's subclass of an optimizer of ours, as Lightning Fabric makes them
        ours = inspect.signature(MaskedOptimizer.__init__).parameters
        torch_class = inspect.signature(cls.__mro__[2])
        mask = [ours[name] for name in (*_MASK, "compile")]
        cls.__signature__ = torch_class.replace(
            parameters=[*torch_class.parameters.values(), *mask]
        )

    def add_param_group(self, param_group: Group) -> None:
        super().add_param_group(param_group)
        complete(self.param_groups[-1], self._mask)
        try:
            _check_group(self.param_groups[-1])
        except (TypeError, ValueError, RuntimeError):
            del self.param_groups[-1]
            raise

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_mask": self._mask, "_compile": self._compile}

    def __setstate__(self, state: dict[str, Any]) -> None:
        own = settings(self.__dict__.get("param_groups", ()), _MASK)
        super().__setstate__(state)
        # a checkpoint of torch.optim's has none of them
        for group, mask in zip_longest(self.param_groups, own, fillvalue=self._mask):
            complete(group, {**self._mask, **mask})
        for of_param in self.state.values():
            if isinstance(of_param, dict) and "step" in of_param:
                of_param["step"] = counter(of_param["step"])

    def _rule(self, group: Group) -> Rule:
        raise NotImplementedError

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update the parameters that have a gradient; returns what `closure` returned."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        if torch.compiler.is_compiling():  # inside a compiled training step: not to be traced
            torch.compiler.disable(self._update)()
        else:
            self._update()
        return loss

    def _update(self) -> None:
        refuse_capture()
        for group in self.param_groups:  # which others may have put in the place of ours
            complete(group, self._mask)
        uncounted = only_makes_state(self)
        rules = [self._rule(group) for group in self.param_groups]
        plan, self._plan = self._plan, None
        if plan is not None and plan.repeat(self.param_groups, rules, self.state):
            self._plan = plan
            return
        rows = list(rows_of(self.param_groups, rules, self.state))
        if uncounted or not rows:
            return
        placed, runs = by_kernels(self, partial(update, rows))
        if placed:
            self._plan = Plan(self.param_groups, rules, self.state, placed, runs)


def _check_group(group: Group) -> None:
    group.update(mask_of(group)._asdict())
    for name in ("foreach", "fused", "capturable", "differentiable"):
        if group.get(name):
            raise ValueError(
                f"{name}=True chooses one of torch's own update loops, which lrd replaces: "
                "leave it out, and choose with compile=True, False or 'auto'"
            )
    for param in group["params"]:
        check_whole(param)
        if param.is_complex():
            raise TypeError(
                "lrd does not support complex parameters: optimize torch.view_as_real's"
            )
