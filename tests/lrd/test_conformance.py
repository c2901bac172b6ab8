"""The kit finds each known fault on an optimizer that has it, and none on ours."""

import random

import numpy as np
import pytest
import torch

import lrd
from helpers.optimizers import CASES as OURS
from helpers.optimizers import RULES, torch_twin
from lrd import conformance
from lrd.conformance.__main__ import main

MOMENTUM, GRADIENT, FOREVER, SWAPPED, FIRST, REPLICAS, RESTART, GENERATOR, DECAY, SCALE = (
    "moments do not see every gradient",
    "the gradient is masked instead",
    "one mask is kept for ever",
    "p is swapped, or another",
    "first steps are not masked",
    "replicas differ",
    "masks restart after a resume",
    "the global generator is used",
    "dropped parameters decay",
    "survivors' scale is another than said",
)

# Faults of which nothing can be told beside another.
HIDDEN = {
    MOMENTUM: {SCALE},
    GRADIENT: {MOMENTUM, FOREVER, SWAPPED, FIRST, SCALE},
    FOREVER: {SWAPPED},
    FIRST: {DECAY},
}


class Faulty(torch.optim.SGD):
    """SGD with momentum and masked updates, but for one fault."""

    def __init__(self, params, fault="", keep_prob=0.3):
        super().__init__(params, lr=0.1, momentum=0.9)
        self.fault, self.p, self.mine = fault, keep_prob, {}
        self.number = torch.randint(1 << 30, ()).item() if fault == REPLICAS else 0

    def mask(self, W, index, step):
        if self.fault == GENERATOR:
            return torch.rand(W.shape) < self.p
        if self.fault == RESTART:  # a counter that no state_dict has
            self.mine[index] = self.mine.get(index, -1) + 1
            step = self.mine[index]
        p, seed = 1 - self.p if self.fault == SWAPPED else self.p, self.number
        step = {FOREVER: 0}.get(self.fault, step)
        D = lrd.keep_mask(W.shape, p, seed=seed, step=step, index=index)
        return D | (self.fault == FIRST and step < 3)

    @torch.no_grad()
    def step(self):
        (group,) = self.param_groups
        for index, W in enumerate(group["params"]):
            state = self.state[W]
            step = state["step"] = state.get("step", -1) + 1
            D, G = self.mask(W, index, step), W.grad
            if self.fault == DECAY:
                W.mul_(1 - 0.1 * group["weight_decay"])
            else:
                G = G + group["weight_decay"] * W
            G = G * D if self.fault == GRADIENT else G
            M = state["momentum_buffer"] = 0.9 * state.get("momentum_buffer", 0.0) + G
            if self.fault == MOMENTUM:
                M *= D
            W -= (
                0.1 * M * (1 if self.fault == GRADIENT else D) / (0.3 if self.fault == SCALE else 1)
            )


def base(params):
    return torch.optim.SGD(params, lr=0.1, momentum=0.9)


def faults(findings):
    return {finding.fault for finding in findings if finding.found}


@pytest.mark.parametrize(
    ("fault", "also"),
    [
        ("", set()),
        *((fault, set()) for fault in (MOMENTUM, GRADIENT, FOREVER, SWAPPED, FIRST, DECAY, SCALE)),
        (REPLICAS, set()),
        (RESTART, set()),
        (GENERATOR, {REPLICAS, RESTART}),  # which come of it
    ],
)
def test_each_fault_is_found_and_no_other(fault, also):
    found = conformance.check(lambda params: Faulty(params, fault), base, 0.3)
    assert len(found) == 10
    assert faults(found) == also | ({fault} if fault else set())
    unknown = {finding.fault for finding in found if finding.found is None}
    assert unknown == HIDDEN.get(fault, set())


@pytest.mark.parametrize("mask", ["element", "row", "tensor"])
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("wrapped", [False, True])
def test_our_own_optimizers_have_none(rule, mask, wrapped):
    cls, hyper = OURS[rule]
    hyper = {name: value for name, value in hyper.items() if name != "weight_decay"}

    def plain(params):
        return torch_twin(cls)(params, **hyper)

    def ours(params):
        if wrapped:
            return lrd.LearningRateDropout(plain(params), 0.3, mask=mask, rescale=True)
        return cls(params, **hyper, keep_prob=0.3, mask=mask, rescale=True)

    found = conformance.check(ours, plain, 0.3, rescale=True)
    assert [finding for finding in found if finding.found is not False] == []


@pytest.mark.parametrize("rescale", [False, True])
def test_all_is_kept_at_p_1_whether_rescaled_or_not(rescale):
    def ours(params):
        return lrd.SGD(params, lr=0.1, momentum=0.9, keep_prob=1.0, rescale=rescale)

    assert faults(conformance.check(ours, base, 1.0, rescale)) == set()


def test_an_optimizer_that_moves_nothing_has_the_lines_that_can_be_told():
    found = conformance.check(lambda params: torch.optim.SGD(params, lr=0.0), base, 0.3)
    assert faults(found) == {SWAPPED}
    unknown = {finding.fault for finding in found if finding.found is None}
    assert unknown == {MOMENTUM, FOREVER, SCALE}


class OfOthers(Faulty):
    """Masks by generators that are not torch's, and decay only on what is kept."""

    def __init__(self, params, draw):
        super().__init__(params)
        self.draw = draw

    def mask(self, W, index, step):
        return torch.tensor(self.draw(W.shape) < self.p)


OWN = np.random.default_rng()


@pytest.mark.parametrize(
    ("draw", "found"),
    [
        (lambda shape: np.random.random(shape), {GENERATOR, REPLICAS, RESTART}),
        (lambda shape: np.reshape([random.random() for _ in range(30)], shape),
         {GENERATOR, REPLICAS, RESTART}),
        (OWN.random, {REPLICAS, RESTART}),
    ],
)  # fmt: skip
def test_masks_of_other_generators_are_told_from_decay_on_what_is_dropped(draw, found):
    before = np.random.get_state()[1].tolist()
    seen = conformance.check(lambda params: OfOthers(params, draw), base, 0.3)
    assert faults(seen) == found
    assert np.random.get_state()[1].tolist() == before
    decay = next(finding for finding in seen if finding.fault == DECAY)
    assert decay.found is (None if draw == OWN.random else False)


def test_decay_is_not_told_where_the_first_step_drops_nothing():
    class Both(Faulty):
        def mask(self, W, index, step):
            return super().mask(W, index, step) | (step < 3)

    found = {f.fault: f.found for f in conformance.check(lambda p: Both(p, DECAY), base, 0.3)}
    assert (found[FIRST], found[DECAY]) == (True, None)


def test_an_optimizer_that_masks_nothing_is_found_out():
    found = faults(conformance.check(base, base, 0.3))
    assert found == {SWAPPED, FIRST}


def test_what_is_not_said_of_the_scale_is_no_fault_and_a_half_hides_what_is_swapped():
    def magma(params):
        return lrd.MaskedUpdate(base(params), lrd.Magma())

    before = torch.get_rng_state(), random.getstate()
    found = {finding.fault: finding for finding in conformance.check(magma, base, 0.5, None)}
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == random.getstate()
    assert {name for name, finding in found.items() if finding.found is not False} == {
        SWAPPED,
        SCALE,
    }
    assert all(finding.found is None for finding in found.values() if finding.found is not False)
    assert "multiplied by 0." in found[SCALE].seen


@pytest.mark.parametrize(
    ("words", "code", "first"),
    [
        (["lrd:Adam", "--keep-prob", "0.3"], 0, "lrd:Adam beside torch.optim.adam:Adam, p = 0.3"),
        (
            ["lrd:LearningRateDropout", "--keep-prob=0.3", "--base=torch.optim:Adam", "lr=0.1"],
            0,
            "",
        ),
        (["lrd:SGD", "keep_prob=0.6", "--keep-prob", "0.3"], 1, ""),
        (["lrd:SGD", "--keep-prob", "0.9"], 0, ""),  # as much as the momentum that it is given
        (["lrd:Adam", "lr=0.3", "--keep-prob", "0.3"], 0, ""),
        (["lrd:RMSprop", "mask=row", "rescale=True", "--rescale", "--keep-prob", "0.3"], 0, ""),
        (["lrd:SGD", "seed=1", "rescale=True", "--rescale", "--keep-prob", "1"], 0, ""),
    ],
)
def test_the_command_says_a_line_for_each_fault(capsys, words, code, first):
    assert main(words) == code
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 11
    assert lines[0].startswith(first)
    assert sum(line.startswith("FAULT") for line in lines) == code


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["lrd.Adam", "--keep-prob", "0.3"], "name an optimizer as package.module:Optimizer"),
        (["lrd:Adan", "--keep-prob", "0.3"], "there is no lrd:Adan"),
        (["nosuch:Adam", "--keep-prob", "0.3"], "there is no nosuch:Adam: No module named"),
        (["lrd:Adam", "row", "--keep-prob", "0.3"], "name=value, got 'row'"),
        (["torch.optim:Adagrad", "--keep-prob", "0.3"], "which argument of Adagrad is the probab"),
    ],
)
def test_the_command_says_what_is_missing(words, message):
    with pytest.raises(SystemExit, match=message):
        main(words)
