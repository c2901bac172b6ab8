"""State: saved and loaded, copied, and from torch's own checkpoints."""

import pytest
import torch

import lrd
from helpers.optimizers import CASES, net, train, weights
from helpers.travel import WAYS, handed_on


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("through", WAYS)
def test_continues_identically_after_a_round_trip(case, through):
    cls, hyper = CASES[case]
    straight = net()
    expected = train(straight, cls(straight.parameters(), **hyper, seed=3), 12)
    model = net()
    optimizer = cls(model.parameters(), **hyper, seed=3)
    train(model, optimizer, 7)

    def make(model):  # the seed comes with the state
        return cls(model.parameters(), **hyper)

    model, optimizer = handed_on(model, optimizer, through, make)
    assert torch.equal(train(model, optimizer, 5, first=7), expected)


def test_goes_on_from_torchs_own_checkpoint():
    model = net()
    base = torch.optim.Adam(model.parameters())
    train(model, base, 5)
    optimizer = lrd.Adam(model.parameters(), keep_prob=0.5)
    optimizer.load_state_dict(base.state_dict())
    before = weights(model)
    moved = (train(model, optimizer, 1, first=5) != before).float().mean().item()
    assert optimizer.state[next(model.parameters())]["step"] == 6
    assert moved == pytest.approx(0.5, abs=0.08)


def test_sgds_checkpoint_from_torch_is_dampened_from_its_next_step():
    """torch leaves the very first step undampened, and its checkpoint has no step counter."""
    weights = []
    for ours in (False, True):
        W = torch.nn.Parameter(torch.zeros(4))
        plain = torch.optim.SGD([W], lr=0.1, momentum=0.9, dampening=0.5)
        W.grad = torch.ones(4)
        plain.step()
        optimizer = plain
        if ours:
            optimizer = lrd.SGD([W], lr=0.1, momentum=0.9, dampening=0.5, keep_prob=1.0)
            optimizer.load_state_dict(plain.state_dict())
        optimizer.step()
        weights.append(W.detach())
    torch.testing.assert_close(*weights)


def test_a_momentum_that_is_turned_on_later_begins_as_torchs_does():
    weights = []
    for make in (torch.optim.SGD, lambda params, **more: lrd.SGD(params, **more, keep_prob=1.0)):
        W = torch.nn.Parameter(torch.zeros(4))
        optimizer = make([W], lr=0.1, dampening=0.5)
        for step in range(6):
            W.grad = torch.full((4,), 1.0 + step)
            optimizer.param_groups[0]["momentum"] = 0.9 if step > 1 else 0.0
            optimizer.step()
        weights.append(W.detach())
    torch.testing.assert_close(*weights)


def adamw(**second):
    """Two groups, of which one has settings of its own."""
    params = [torch.nn.Parameter(torch.zeros(40)) for _ in range(2)]
    return [{"params": params[:1]}, {"params": params[1:], **second}]


def test_a_plain_checkpoint_leaves_groups_their_own_masks():
    plain = torch.optim.AdamW(adamw()).state_dict()
    optimizer = lrd.AdamW(adamw(keep_prob=1.0, seed=5, mask="row"))
    optimizer.param_groups[0]["keep_prob"] = 0.25  # changed while training
    optimizer.load_state_dict(plain)
    settings = [(g["keep_prob"], g["seed"], g["mask"]) for g in optimizer.param_groups]
    assert settings == [(0.25, 0, "element"), (1.0, 5, "row")]
    inner = torch.optim.AdamW(adamw(masked=False, keep_prob=0.125))
    wrapped = lrd.MaskedUpdate(inner, lrd.Magma(), seed=3)
    wrapped.param_groups[0]["tau"] = 1.0
    wrapped.load_state_dict(plain)
    settings = [(g["keep_prob"], g["tau"], g["mask_seed"]) for g in wrapped.param_groups]
    assert settings == [(0.5, 1.0, 3), (0.125, 2.0, 3)]
    assert [g.get("masked", True) for g in wrapped.param_groups] == [True, False]


def test_a_state_is_as_live_as_torchs_and_may_hold_what_is_no_parameters():
    for make in (torch.optim.Adam, lrd.Adam):
        W = torch.nn.Parameter(torch.zeros(4))
        W.grad = torch.ones(4)
        optimizer = make([W])
        optimizer.step()
        optimizer.state["average"] = 5
        state = optimizer.state_dict()
        loaded = make([W])
        loaded.load_state_dict(state)
        optimizer.step()
        assert (state["state"][0]["step"], state["state"]["average"]) == (2, 5)
        assert torch.equal(state["state"][0]["exp_avg"], optimizer.state[W]["exp_avg"])
        assert loaded.state["average"] == 5
    assert loaded.state[W]["step"] == 1  # which counts by itself
