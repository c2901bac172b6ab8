"""Learning rate dropout around any torch.optim.Optimizer, third-party ones too."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from lrd.copies import Copies
from lrd.kernels import CompilationError
from lrd.mask import Draw, check_index, check_keep_prob, check_seed, threshold
from lrd.optimizer import MaskedOptimizer, check_compile, kept_in_groups
from lrd.rules import Group
from lrd.shards import check_whole, refuse_partitions
from lrd.step import Compile, only_makes_state, refuse_capture


class LearningRateDropout(torch.optim.Optimizer):
    """Masks what `optimizer` does to its parameters: dropped ones are put back after its step.

    The inner optimizer runs unchanged, so its state is that of the plain optimizer fed the same
    gradients. Everything that its step does to a parameter is masked, decoupled weight decay
    included. If its step raises an error, all parameters are put back. Cost: one copy of the
    parameters in memory, kept between steps (`free_copies` gives it back), a pass to fill it and a
    pass to put dropped values back. The optimizers of this package need none of it.

    Args:
        optimizer: any torch.optim.Optimizer. What is done to it (groups and parameters added,
            rates changed, state loaded) is done to this one, and the other way round; methods that
            only it has, such as the `train` and `eval` of schedule-free optimizers, can be called
            on this one.
        keep_prob: probability in (0, 1] that a parameter is updated. A param group may have its
            own, and change it while training.
        seed: of the masks, an integer in [0, 2^64).
        index_offset: the index of the first parameter, for models with several optimizers: the
            number of parameters that come before in the others.
        compile: True for the kernels, False for eager operations, "auto" for the kernels where they
            can be built. Weights are the same.

    Param groups (shared with the inner optimizer) gain `keep_prob`, `mask_seed`, `index_offset` and
    `mask_steps`, the number of updates that each parameter has had; they travel in `state_dict`,
    which is the inner optimizer's. Parameters without a gradient are neither masked nor counted.

    Raises ValueError for arguments out of their range and an optimizer that masks its updates
    already; TypeError if `optimizer` is no torch.optim.Optimizer.
    """

    keep_prob, mask_seed, index_offset = map(
        kept_in_groups, ("keep_prob", "mask_seed", "index_offset")
    )

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        keep_prob: float = 0.5,
        seed: int = 0,
        *,
        index_offset: int = 0,
        compile: Compile = "auto",
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
        refuse_partitions()
        self._mask = {
            "keep_prob": check_keep_prob(keep_prob),
            "mask_seed": check_seed(seed),
            "index_offset": check_index(index_offset, "index_offset"),
        }
        self._compile = check_compile(compile)
        self.optimizer = optimizer
        self._forget()
        super().__setstate__({})  # torch's hooks, without a state or param groups of our own
        self._complete_groups()

    def _forget(self) -> None:
        """Have no copies, and take the updates that were counted from the param groups."""
        self._copies = Copies()
        self._updates: dict[Tensor, int] = {}
        self._written: list[list[int]] = []

    def __getattr__(self, name: str) -> Any:
        """What only the inner optimizer has."""
        if name == "optimizer":  # not there yet, while being unpickled
            raise AttributeError(name)
        return getattr(self.optimizer, name)

    param_groups = property(
        lambda self: self.optimizer.param_groups,
        lambda self, groups: setattr(self.optimizer, "param_groups", groups),
    )
    state = property(
        lambda self: self.optimizer.state,
        lambda self, state: setattr(self.optimizer, "state", state),
    )
    defaults = property(
        lambda self: self.optimizer.defaults,
        lambda self, defaults: setattr(self.optimizer, "defaults", defaults),
    )

    def __getstate__(self) -> dict[str, Any]:
        return {"optimizer": self.optimizer, "_mask": self._mask, "_compile": self._compile}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._forget()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.optimizer!r})"

    def add_param_group(self, param_group: Group) -> None:
        check_keep_prob(param_group.get("keep_prob", self._mask["keep_prob"]))
        self.optimizer.add_param_group(param_group)
        self._complete_groups()

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
        self.optimizer.load_state_dict(state_dict)
        self._complete_groups()
        for hook in self._optimizer_load_state_dict_post_hooks.values():
            hook(self)

    def free_copies(self) -> None:
        """Give the memory of the kept copy back; the next step takes it anew."""
        self._copies = Copies()

    def _complete_groups(self) -> None:
        """Give groups, which others may have made, loaded or changed, all that a step reads.

        A list of updates that is not of our writing was loaded and counts; ours goes by parameter,
        so that parameters may come, go and move.
        """
        written, updates = self._written, {}
        for group in self.param_groups:
            for name, value in self._mask.items():
                group.setdefault(name, value)
            threshold(group["keep_prob"]), check_seed(group["mask_seed"])
            check_index(group["index_offset"], "index_offset")
            params, steps = group["params"], group.get("mask_steps")
            for param in params:
                check_whole(param)
            if not any(steps is ours for ours in written):
                steps = [] if steps is None else steps
                if len(steps) > len(params):
                    raise ValueError(
                        f"mask_steps of a param group has {len(steps)} numbers for {len(params)} "
                        "parameters: give one for each"
                    )
                updates.update(zip(params, [*steps, *[0] * len(params)], strict=False))
        self._updates.update(updates)
        self._write_updates()

    def _write_updates(self) -> None:
        """New lists each time: whoever was handed a state_dict keeps the old ones."""
        old, self._updates, self._written = self._updates, {}, []
        for group in self.param_groups:
            group["mask_steps"] = [old.get(param, 0) for param in group["params"]]
            self._updates.update(zip(group["params"], group["mask_steps"], strict=True))
            self._written.append(group["mask_steps"])

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Let the inner optimizer step, then put dropped parameters back; returns its result."""
        if torch.compiler.is_compiling():  # inside a compiled training step: not to be traced,
            return torch.compiler.disable(self._step)(closure)  # or anew for each step's number
        return self._step(closure)

    def _step(self, closure: Callable[[], Any] | None) -> Any:
        refuse_capture()
        self._complete_groups()
        counted = not only_makes_state(self)
        # a closure, or a hook of the inner optimizer, may make the gradient
        anew = closure is not None or bool(self.optimizer._optimizer_step_pre_hooks)
        draws = [pair for pair in self._draws() if anew or pair[0].grad is not None]
        self._keep([param for param, _ in draws])
        had = {param for param, _ in draws if anew and closure is None and param.grad is not None}
        try:
            loss = self.optimizer.step() if closure is None else self.optimizer.step(closure)
        except BaseException:  # what was updated by then is not to stay, masked or unmasked
            self._copies.restore()
            raise
        if not counted:
            self._copies.restore()
            return loss
        if anew:
            draws = [pair for pair in draws if pair[0].grad is not None or pair[0] in had]
        self._copies.put_back(draws, self._compile)
        for param, _ in draws:
            self._updates[param] += 1
        self._write_updates()
        return loss

    def _keep(self, params: list[Tensor]) -> None:
        try:
            self._copies.keep(params, self._compile)
        except CompilationError as error:
            if self._compile is True:
                raise
            warnings.warn(f"{error}. Going on with eager operations", stacklevel=4)
            self._compile = False
            self._copies.keep(params, False)

    def _draws(self) -> Iterator[tuple[Tensor, Draw]]:
        """All parameters with what decides their masks at this step."""
        index = 0
        for group in self.param_groups:
            limit, seed = threshold(group["keep_prob"]), check_seed(group["mask_seed"])
            for param in group["params"]:
                place = int(group["index_offset"]) + index
                yield param, Draw(limit, seed, place, self._updates[param])
                index += 1
