"""State: saved and loaded, copied, and from torch's own checkpoints."""

import pytest
import torch

import lrd
from helpers.travel import WAYS, handed_on
from tests.lrd.test_optim import CASES, net, train, weights


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
