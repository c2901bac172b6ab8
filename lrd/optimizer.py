"""Algorithm 1 around any update rule: the base class of lrd's optimizers."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from lrd.fused import Plan
from lrd.kernel import CompilationError
from lrd.mask import check_keep_prob, check_seed
from lrd.rules import Group, Row, Rule, check_gradient, masked_step, scalars
from lrd.shards import local_mask, part_of

Compile = bool | Literal["auto"]
_ASSUMED_STEPS = 10_000  # of a run whose length an optimizer does not know
_WORTH = 2_000_000_000  # parameter updates after which a compilation has paid for itself


def worth_compiling(num_parameters: int, num_steps: int = _ASSUMED_STEPS) -> bool:
    """Whether `compile="auto"` compiles: by model size and run length, never by the machine."""
    return num_parameters * num_steps >= _WORTH


class MaskedOptimizer(torch.optim.Optimizer):
    """Masks the updates of a rule; subclasses name the rule and bring torch's constructor."""

    def __init__(
        self,
        params: ParamsT,
        *args: Any,
        keep_prob: float = 0.5,
        seed: int = 0,
        compile: Compile = "auto",
        **kwargs: Any,
    ) -> None:
        if not (isinstance(compile, bool) or compile == "auto"):
            raise ValueError(f"compile must be True, False or 'auto', got {compile!r}")
        self._mask = {"keep_prob": check_keep_prob(keep_prob), "seed": check_seed(seed)}
        self._compile: Compile = compile
        self._plan: Plan | None = None
        super().__init__(params, *args, **kwargs)
        self.defaults.update(self._mask)

    def __init_subclass__(cls) -> None:
        """Show torch's signature with our keywords in help() and editors."""
        if MaskedOptimizer not in cls.__bases__:
            return  # somebody's subclass of an optimizer of ours, as Lightning Fabric makes them
        ours = inspect.signature(MaskedOptimizer.__init__).parameters
        torch_class = inspect.signature(cls.__mro__[2])
        mask = [ours[name] for name in ("keep_prob", "seed", "compile")]
        cls.__signature__ = torch_class.replace(
            parameters=[*torch_class.parameters.values(), *mask]
        )

    def add_param_group(self, param_group: Group) -> None:
        for name, value in self._mask.items():
            param_group.setdefault(name, value)
        super().add_param_group(param_group)
        try:
            _check_group(self.param_groups[-1])
        except (TypeError, ValueError):
            del self.param_groups[-1]
            raise

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_mask": self._mask, "_compile": self._compile}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._plan = None
        for group in self.param_groups:  # a checkpoint of torch.optim's has neither
            for name, value in self._mask.items():
                group.setdefault(name, value)

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
        rules = [self._rule(group) for group in self.param_groups]
        states = self.state.values()
        if self._plan is None or not self._plan.fits(self.param_groups, rules, states):
            rows = self._rows(rules)
            self._plan = self._planned(rules, rows) if self._compiles() else None
        if self._plan is not None:
            self._plan.step()
            rows = self._plan.rest
        for row in rows:
            _eager_update(row)

    def _planned(self, rules: list[Rule], rows: list[Row]) -> Plan | None:
        """A plan of the fused step, or None, said once, where there is no compiler."""
        try:
            return Plan(self.param_groups, rules, self.state.values(), rows)
        except CompilationError as error:
            if self._compile is True:
                raise
            warnings.warn(f"{error}. Going on with the eager step", stacklevel=2)
            self._compile = False
            return None

    def _compiles(self) -> bool:
        if self._compile != "auto":
            return bool(self._compile)
        return worth_compiling(sum(p.numel() for g in self.param_groups for p in g["params"]))

    def _rows(self, rules: list[Rule]) -> list[Row]:
        """The parameters that have a gradient, with their state, made where it is missing."""
        rows, index = [], 0
        for number, (group, rule) in enumerate(zip(self.param_groups, rules, strict=True)):
            for param in group["params"]:
                if param.grad is not None:
                    check_gradient(param.grad)
                    state = self.state[param]
                    if len(state) != 1 + len(rule.state):
                        _fill_state(state, param, rule)
                    part = None if type(param) is torch.nn.Parameter else part_of(param)
                    rows.append(Row(param, state, index, group, number, rule, part))
                index += 1
        return rows


def _check_group(group: Group) -> None:
    check_keep_prob(group["keep_prob"])
    check_seed(group["seed"])
    for name in ("foreach", "fused", "capturable", "differentiable"):
        if group.get(name):
            raise ValueError(
                f"{name}=True chooses one of torch's own update loops, which lrd replaces: "
                "leave it out, and choose with compile=True, False or 'auto'"
            )
    if any(param.is_complex() for param in group["params"]):
        raise TypeError("lrd does not support complex parameters: optimize torch.view_as_real's")


def _fill_state(state: dict[str, Any], param: Tensor, rule: Rule) -> None:
    # SGD's checkpoint from torch has momentum and no step: it is not the first step any more
    begun = any(state.get(name) is not None for name in rule.state)
    state.setdefault("step", torch.tensor(1.0 if begun else 0.0))
    for name in rule.state:
        if state.get(name) is None:
            state[name] = torch.zeros_like(param, memory_format=torch.preserve_format)


def _eager_update(row: Row) -> None:
    """The reference: Algorithm 1 for one parameter, operation by operation."""
    W, old, group, step = row.W, row.tensors, row.group, int(row.state["step"])
    D = local_mask(W, row.part, group["keep_prob"], group["seed"], step, row.index)
    h = scalars(row.rule, group, step + 1)
    new_W, new = masked_step(row.rule, W, row.G, old, h, D)
    W.copy_(new_W)
    for tensor, value in zip(old, new, strict=True):
        tensor.copy_(value)
    row.state["step"] += 1
