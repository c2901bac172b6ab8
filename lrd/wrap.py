"""Masked updates around any torch.optim.Optimizer, third-party ones too."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from lrd.copies import Copies
from lrd.family import Bernoulli, Rule
from lrd.mask import Draw, check_index, check_seed, check_switch, unit_of
from lrd.optimizer import MaskedOptimizer, by_kernels, complete, kept_in_groups, settings
from lrd.rules import Group
from lrd.shards import check_whole, refuse_partitions
from lrd.step import Compile, check_compile, refuse_capture
from lrd.turn import Turn, change_all, is_decoupled, is_hooked, step_and_gradients, update_of


def _inner(name: str) -> property:
    """An attribute that is the inner optimizer's."""
    return property(
        lambda self: getattr(self.optimizer, name),
        lambda self, value: setattr(self.optimizer, name, value),
    )


class MaskedUpdate(torch.optim.Optimizer):
    """Lets a rule change what `optimizer` does to its parameters, after its step.

    The inner optimizer's state is that of the plain optimizer fed the same gradients. The update
    is all that its step does to a parameter, decoupled weight decay included, but for rules that
    say otherwise. If its step fails, parameters that are masked are put back. Cost: one copy of the
    parameters in memory, kept between steps (`free_copies` gives it back), a pass to fill it and a
    pass to change what was updated.

    Args:
        optimizer: any torch.optim.Optimizer. What is done to it (groups and parameters added,
            rates changed, state loaded) is done to this one, and the other way round; methods that
            only it has, such as the `train` and `eval` of schedule-free optimizers, can be called
            on this one.
        rule: lrd.Bernoulli, Noise, Cautious, CautiousDecay or Magma.
        seed: of the masks, an integer in [0, 2^64).
        index_offset: the number of parameters that come before, in a model's other optimizers.
        compile: True for the kernels, False for eager operations, "auto" for what can be built.

    Param groups (shared with the inner optimizer) gain the rule's arguments, `mask_seed` and
    `index_offset`, which each may have for itself and change while training, and `mask_steps`, the
    number of updates that each parameter has had, with Magma `mask_scales`, its s; all travel in
    `state_dict`, which is the inner optimizer's. A group with ``"masked": False`` is left to the
    inner optimizer, as are parameters without a gradient; neither is counted.

    Magma's momentum is the inner optimizer's state `exp_avg` or `momentum_buffer`, else an average
    of gradients of its own (0.9), in the state as `mask_momentum`. Cautious and CautiousDecay must
    know whether weight decay is decoupled: of torch's optimizers they do, of others a group with
    weight decay must have ``"decoupled_weight_decay"``, True only where a step multiplies weights
    by 1 − lr · weight_decay.

    Hooks after the step belong on this one: the inner optimizer's run before the rule.

    Raises ValueError for arguments out of their range and an optimizer that masks its updates
    already; TypeError if `optimizer` is no torch.optim.Optimizer or `rule` no rule of lrd's.
    """

    _step_supports_amp_scaling = False  # GradScaler would hand this one what the inner one needs

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        rule: Rule,
        seed: int = 0,
        *,
        index_offset: int = 0,
        compile: Compile = "auto",
    ) -> None:
        if not isinstance(optimizer, torch.optim.Optimizer):
            name = type(optimizer).__name__
            raise TypeError(f"optimizer must be a torch.optim.Optimizer, got {name}")
        if not isinstance(rule, Rule):
            raise TypeError(f"rule must be one such as lrd.Bernoulli(0.5), got {rule!r}")
        masked = isinstance(optimizer, (MaskedOptimizer, MaskedUpdate))
        if masked or any("mask_seed" in group for group in optimizer.param_groups):
            raise ValueError(
                f"{type(optimizer).__name__} already has learning rate dropout: give it the "
                "keep_prob, or wrap a plain optimizer"
            )
        if taken := {field.name for field in dataclasses.fields(rule)} & {*optimizer.defaults}:
            raise ValueError(
                f"{type(optimizer).__name__} has {', '.join(sorted(taken))} of its own, which "
                f"{type(rule).__name__} would share in the param groups: take another rule"
            )
        refuse_partitions()
        self.rule = rule
        self._mask = {
            **dataclasses.asdict(rule),
            "mask_seed": check_seed(seed),
            "index_offset": check_index(index_offset, "index_offset"),
        }
        self._compile = check_compile(compile)
        self.optimizer = optimizer
        self._forget()
        super().__setstate__({})  # torch's hooks, without a state or param groups of our own
        self._complete_groups()

    def _forget(self) -> None:
        """Have no copies, and take numbers of parameters from the param groups."""
        self._copies = Copies()
        self._start: dict[str, float] = {"mask_steps": 0}
        if self.rule.state:
            self._start[self.rule.state] = 0.0
        self._numbers: dict[str, dict[Tensor, float]] = {name: {} for name in self._start}
        self._written: list[list[float]] = []

    def __getattr__(self, name: str) -> Any:
        """What only the inner optimizer has."""
        if name == "optimizer":  # not there yet, while being unpickled
            raise AttributeError(name)
        own = getattr(type(self), name, None)
        return own.fget(self) if isinstance(own, property) else getattr(self.optimizer, name)

    param_groups, state, defaults = map(_inner, ("param_groups", "state", "defaults"))

    def __getstate__(self) -> dict[str, Any]:
        return {name: self.__dict__[name] for name in ("optimizer", "rule", "_mask", "_compile")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._forget()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.optimizer!r}, {self.rule})"

    def add_param_group(self, param_group: Group) -> None:
        self.optimizer.add_param_group(param_group)
        try:
            self._complete_groups()
        except Exception:
            del self.param_groups[-1]
            raise

    def zero_grad(self, set_to_none: bool = True) -> None:
        self.optimizer.zero_grad(set_to_none)

    def state_dict(self) -> dict[str, Any]:
        for hook in self._optimizer_state_dict_pre_hooks.values():
            hook(self)
        self._complete_groups()
        state_dict = self.optimizer.state_dict()
        for hook in self._optimizer_state_dict_post_hooks.values():
            changed = hook(self, state_dict)
            state_dict = state_dict if changed is None else changed
        return state_dict

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a wrapped optimizer's state, or a plain one's, whose masks then start at step 0."""
        for hook in self._optimizer_load_state_dict_pre_hooks.values():
            changed = hook(self, state_dict)
            state_dict = state_dict if changed is None else changed
        own = settings(self.param_groups, (*self._mask, "masked"))
        self.optimizer.load_state_dict(state_dict)
        for group, mask in zip(self.param_groups, own, strict=True):
            complete(group, mask)
        self._complete_groups()
        for hook in self._optimizer_load_state_dict_post_hooks.values():
            hook(self)

    def free_copies(self) -> None:
        """Give the memory of the kept copy back; the next step takes it anew."""
        self._copies = Copies()

    def _rule(self, group: Group) -> Rule:
        """The rule of a param group; ValueError for arguments out of their range."""
        names = [field.name for field in dataclasses.fields(self.rule)]
        check_switch("masked", group.get("masked", True))
        return type(self.rule)(**{name: group[name] for name in names})

    def _complete_groups(self) -> None:
        """Give groups, which others may have made, loaded or changed, all that a step reads.

        A list of numbers that is not of our writing was loaded and counts; ours goes by parameter,
        so that parameters may come, go and move. A group that is refused leaves all as they were.
        """
        for group in self.param_groups:
            self._check({**self._mask, **group})
            for name in self._start:
                self._read(group, name)
        for group in self.param_groups:
            complete(group, self._mask)
        self._write_numbers()

    def _check(self, group: Group) -> None:
        rule, masked = self._rule(group), group.get("masked", True)
        check_seed(group["mask_seed"]), check_index(group["index_offset"], "index_offset")
        if rule.apart and masked:
            is_decoupled(self.optimizer, group)
        for param in group["params"]:
            check_whole(param)
            if masked and param.is_complex() and not isinstance(rule, Bernoulli):
                raise TypeError(f"{rule} is not for complex parameters: exempt their group")

    def _read(self, group: Group, name: str) -> None:
        params, numbers = group["params"], group.get(name)
        if any(numbers is ours for ours in self._written):
            return
        numbers = [] if numbers is None else numbers
        if len(numbers) > len(params):
            raise ValueError(
                f"{name} of a param group has {len(numbers)} numbers for {len(params)} "
                "parameters: give one for each"
            )
        rest = [self._start[name]] * len(params)
        self._numbers[name].update(zip(params, [*numbers, *rest], strict=False))

    def _write_numbers(self) -> None:
        """New lists each time: whoever was handed a state_dict keeps the old ones."""
        self._written = []
        for name, start in self._start.items():
            old, self._numbers[name] = self._numbers[name], {}
            for group in self.param_groups:
                group[name] = [old.get(param, start) for param in group["params"]]
                self._numbers[name].update(zip(group["params"], group[name], strict=True))
                self._written.append(group[name])

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Let the inner optimizer step, then the rule change its updates; returns its result."""
        if torch.compiler.is_compiling():  # inside a compiled training step: not to be traced,
            return torch.compiler.disable(self._step)(closure)  # or anew for each step's number
        return self._step(closure)

    def _step(self, closure: Callable[[], Any] | None) -> Any:
        refuse_capture()
        self._complete_groups()
        # a closure, or a hook before the inner optimizer's step, may make the gradient
        anew = closure is not None or is_hooked(self.optimizer)
        turns = [turn for turn in self._turns() if anew or turn.param.grad is not None]
        params = [turn.param for turn in turns]
        kernels = {name for turn in turns for name in turn.rule.kernels}
        by_kernels(self, lambda compile: self._copies.keep(params, compile, kernels))
        try:
            loss, grads, counted = step_and_gradients(self.optimizer, closure, turns)
            turns = [turn for turn in turns if turn.param in grads]
            known = (self.optimizer, self._copies, grads, self._compile)
            updates = [update_of(turn, *known) for turn in turns]
            if counted:
                change_all(turns, updates, self._numbers.get(self.rule.state, {}))
        except BaseException:  # what was updated by then is not to stay, masked or unmasked
            self._copies.restore()
            raise
        if not counted:
            self._copies.restore()
            return loss
        for turn in turns:
            self._numbers["mask_steps"][turn.param] += 1
        self._write_numbers()
        return loss

    def _turns(self) -> Iterator[Turn]:
        """All parameters that are not exempted, with what decides their masks at this step."""
        index = 0
        for group in self.param_groups:
            rule, seed = self._rule(group), check_seed(group["mask_seed"])
            limit, offset = rule.limit, int(group["index_offset"]) + index
            for place, param in enumerate(group["params"] if group.get("masked", True) else ()):
                step = int(self._numbers["mask_steps"][param]) // rule.hold
                unit = unit_of(rule.mask, param.shape)
                yield Turn(param, group, rule, Draw(limit, seed, offset + place, step, unit))
            index += len(group["params"])


_FIELDS = [field.name for rule in Rule.__subclasses__() for field in dataclasses.fields(rule)]
for _name in (*_FIELDS, "mask_seed", "index_offset"):
    setattr(MaskedUpdate, _name, kept_in_groups(_name))


class LearningRateDropout(MaskedUpdate):
    """Masks what `optimizer` does to its parameters: dropped ones are put back after its step.

    MaskedUpdate, whose other arguments it takes, with the rule Bernoulli(keep_prob, mask, rescale).
    The optimizers of this package need no copy of the parameters.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        keep_prob: float = 0.5,
        seed: int = 0,
        *,
        mask: str = "element",
        rescale: bool = False,
        index_offset: int = 0,
        compile: Compile = "auto",
    ) -> None:
        where = {"index_offset": index_offset, "compile": compile}
        super().__init__(optimizer, Bernoulli(keep_prob, mask, rescale), seed, **where)
