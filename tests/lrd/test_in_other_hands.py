"""What torch.optim.Optimizer lets others do, done to our optimizers and to the wrapper."""

import copy
import pickle
from collections import defaultdict

import pytest
import torch
from torch import nn
from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict

import lrd

MAKERS = {
    "ours": lambda params: lrd.SGD(params, lr=1.0, momentum=0.9),
    "wrapper": lambda params: lrd.LearningRateDropout(
        torch.optim.SGD(params, lr=1.0, momentum=0.9)
    ),
}
each_kind = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)


def parameter():
    param = nn.Parameter(torch.zeros(400))
    param.grad = torch.ones(400)
    return param


def moved(param, optimizer):
    """Which elements one step moves."""
    before = param.detach().clone()
    param.grad = torch.ones(400)
    optimizer.step()
    return param.detach() != before


def mask(step=0, index=0, p=0.5):
    return lrd.keep_mask(400, p, seed=0, step=step, index=index)


def add_param_group(optimizer):
    param = parameter()
    optimizer.add_param_group({"params": [param], "keep_prob": 0.2})
    assert torch.equal(moved(param, optimizer), mask(index=1, p=0.2))


def append_to_a_group(optimizer):
    param = parameter()
    inner = getattr(optimizer, "optimizer", optimizer)
    moved(inner.param_groups[0]["params"][0], optimizer)
    inner.param_groups[0]["params"].append(param)
    assert torch.equal(moved(param, optimizer), mask(index=1))
    first = inner.param_groups[0]["params"][0]
    assert torch.equal(moved(first, optimizer), mask(step=2))


def insert_before(optimizer):
    """Updates are counted for each parameter, wherever it goes."""
    first = optimizer.param_groups[0]["params"][0]
    moved(first, optimizer)
    optimizer.param_groups[0]["params"].insert(0, parameter())
    assert torch.equal(moved(first, optimizer), mask(step=1, index=1))


def add_to_the_inner_one(optimizer):
    param = parameter()
    inner = getattr(optimizer, "optimizer", optimizer)
    inner.add_param_group({"params": [param]})
    assert torch.equal(moved(param, optimizer), mask(index=1))


def set_param_groups(optimizer):
    param = parameter()
    optimizer.param_groups = [
        {**optimizer.param_groups[0], "params": [param], "lr": 0.5, "mask_steps": [0]}
    ]
    assert torch.equal(moved(param, optimizer), mask())
    assert param.min() == -0.5


def set_groups_of_torchs(optimizer):
    param = parameter()
    optimizer.param_groups = torch.optim.SGD([param], lr=1.0, momentum=0.9).param_groups
    assert torch.equal(moved(param, optimizer), mask())


def set_state(optimizer):
    param = optimizer.param_groups[0]["params"][0]
    moved(param, optimizer)
    optimizer.state = defaultdict(dict)
    assert moved(param, optimizer).any()
    assert (optimizer.state[param]["momentum_buffer"] == 1).all()


def set_defaults(optimizer):
    optimizer.defaults = {**optimizer.defaults, "lr": 7.0}
    assert optimizer.defaults["lr"] == 7.0
    assert getattr(optimizer, "optimizer", optimizer).defaults["lr"] == 7.0


def load_state_dict(optimizer):
    param = optimizer.param_groups[0]["params"][0]
    state = copy.deepcopy(optimizer.state_dict())
    moved(param, optimizer)
    getattr(optimizer, "optimizer", optimizer).load_state_dict(state)
    assert torch.equal(moved(param, optimizer), mask())


def state_dict(optimizer):
    """One that was handed over does not go on counting."""
    param = optimizer.param_groups[0]["params"][0]
    moved(param, optimizer)
    state = optimizer.state_dict()
    other = type(optimizer).__name__
    twin_param = parameter()
    twin = MAKERS["wrapper" if other == "LearningRateDropout" else "ours"]([twin_param])
    twin.load_state_dict(state)
    for _ in range(3):
        moved(param, optimizer)
    assert torch.equal(moved(twin_param, twin), mask(step=1))


def zero_grad(optimizer):
    optimizer.zero_grad()
    assert optimizer.param_groups[0]["params"][0].grad is None
    optimizer.step()


def step(optimizer):
    param = optimizer.param_groups[0]["params"][0]
    assert optimizer.step(lambda: 3.0) == 3.0
    assert torch.equal(param.detach() != 0, mask())


def hooks(*names):
    def trial(optimizer):
        calls = []
        for name in names:
            getattr(optimizer, name)(lambda first, *_: calls.append(first))
        optimizer.step()
        optimizer.load_state_dict(optimizer.state_dict())
        assert calls
        assert all(call is optimizer for call in calls)

    return trial


TRIALS = {
    "add_param_group": [add_param_group, add_to_the_inner_one],
    "param_groups": [append_to_a_group, insert_before, set_param_groups, set_groups_of_torchs],
    "state": [set_state],
    "defaults": [set_defaults],
    "load_state_dict": [load_state_dict],
    "state_dict": [state_dict],
    "step": [step],
    "zero_grad": [zero_grad],
    **{
        f"register_{kind}_hook": [hooks(f"register_{kind}_hook")]
        for kind in (
            *("step_pre", "step_post", "state_dict_pre", "state_dict_post"),
            *("load_state_dict_pre", "load_state_dict_post"),
        )
    },
}
OF_TORCH_ALONE = {"OptimizerPreHook", "OptimizerPostHook", "profile_hook_step"}  # types, wrappers


def test_every_public_name_of_torchs_optimizer_is_tried():
    names = {name for name in dir(torch.optim.Optimizer) if not name.startswith("_")}
    attributes = {"param_groups", "state", "defaults"}
    assert names | attributes == TRIALS.keys() | OF_TORCH_ALONE


@each_kind
@pytest.mark.parametrize(
    "trial", [trial for trials in TRIALS.values() for trial in trials], ids=lambda t: t.__name__
)
def test_others_may(make, trial):
    trial(make([parameter()]))


@each_kind
def test_saving_before_training_does_not_change_its_masks(make):
    """The library has an optimizer without state step with rates and gradients of 0."""
    model = nn.Linear(20, 20)
    optimizer = make(model.parameters())
    start = model.weight.detach().clone()
    for _ in range(2):
        get_optimizer_state_dict(model, optimizer)
    assert torch.equal(model.weight, start)
    model.weight.grad = torch.ones(20, 20)
    optimizer.step()
    assert torch.equal((model.weight != start).flatten(), mask())


@each_kind
def test_a_warm_up_from_zero_counts(make):
    optimizer = make([parameter()])
    optimizer.param_groups[0]["lr"] = 0.0
    param = optimizer.param_groups[0]["params"][0]
    optimizer.step()
    optimizer.param_groups[0]["lr"] = 1.0
    assert torch.equal(moved(param, optimizer), mask(step=1))


@each_kind
def test_a_warm_up_from_zero_counts_whose_closure_makes_the_gradients(make):
    param = nn.Parameter(torch.zeros(400))
    optimizer = make([param])
    optimizer.param_groups[0]["lr"] = 0.0
    optimizer.step(lambda: setattr(param, "grad", torch.ones(400)))
    optimizer.param_groups[0]["lr"] = 1.0
    assert torch.equal(moved(param, optimizer), mask(step=1))


class Failing(torch.optim.SGD):
    """Updates one parameter, and then finds fault with the next."""

    def step(self, closure=None):
        for param in self.param_groups[0]["params"]:
            if param.numel() == 7:
                raise ValueError("no parameters of seven elements")
            param.data.sub_(1.0)


def test_an_inner_step_that_fails_leaves_no_update():
    params = [parameter(), nn.Parameter(torch.ones(7))]
    params[1].grad = torch.ones(7)
    optimizer = lrd.LearningRateDropout(Failing(params, lr=1.0))
    with pytest.raises(ValueError, match="seven"):
        optimizer.step()
    assert not params[0].any()
    assert optimizer.param_groups[0]["mask_steps"] == [0, 0]


@pytest.mark.parametrize(
    ("name", "value"), [("keep_prob", 2), ("mask_seed", -1), ("mask_steps", [0, 0, 0])]
)
def test_a_wrapped_optimizer_is_not_updated_before_an_error(name, value):
    param = parameter()
    optimizer = lrd.LearningRateDropout(torch.optim.SGD([param], lr=1.0))
    optimizer.param_groups[0][name] = value
    with pytest.raises(ValueError, match=name.removeprefix("mask_")):
        optimizer.step()
    assert not param.any()


class ScheduleFree(torch.optim.SGD):
    """Has modes, as schedule-free optimizers do."""

    mode = "train"

    def eval(self):
        self.mode = "eval"

    def train(self):
        self.mode = "train"


def test_methods_that_only_the_inner_optimizer_has_are_its_own():
    optimizer = lrd.LearningRateDropout(ScheduleFree([parameter()], lr=1.0))
    optimizer.eval()
    assert optimizer.optimizer.mode == optimizer.mode == "eval"
    optimizer.train()
    assert optimizer.optimizer.mode == "train"
    with pytest.raises(AttributeError, match="no_such_method"):
        optimizer.no_such_method()
    assert pickle.loads(pickle.dumps(optimizer)).mode == "train"
