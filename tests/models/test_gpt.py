"""The GPT: nanoGPT's size and start, attention to the past alone, groups for the optimizers."""

import math

import pytest
import torch

from models.gpt import gpt


def small(**more):
    torch.manual_seed(0)
    return gpt(context=16, layers=2, heads=2, width=16, dropout=0.0, **more)


def test_it_has_nanogpts_size_without_the_places():
    model = gpt()
    assert sum(p.numel() for p in model.parameters()) - model.places.weight.numel() == 10_646_784


def test_a_character_is_predicted_from_those_up_to_it_alone():
    model, text = small(), torch.randint(65, (3, 16), generator=torch.Generator().manual_seed(0))
    changed = text.clone()
    changed[:, 9:] = (changed[:, 9:] + 1) % 65
    before, after = model(text), model(changed)
    assert before.shape == (3, 16, 65)
    torch.testing.assert_close(before[:, :9], after[:, :9])
    assert (before[:, 9:] != after[:, 9:]).all(-1).all()
    assert not torch.allclose(before[:, 8], model(text.flip(1))[:, 8])  # it does see the past


def test_it_begins_as_nanogpts_does():
    model = gpt(context=16, layers=8, heads=2, width=64)
    assert model.tokens.weight is model.head.weight
    for name, weight in model.named_parameters():
        if weight.ndim == 1:
            assert torch.equal(weight, torch.ones_like(weight))
        else:
            last = name.endswith(("out.weight", "down.weight"))
            assert weight.std().item() == pytest.approx(0.02 / (4 if last else 1), rel=0.1), name
    text = torch.randint(65, (8, 16))
    loss = torch.nn.functional.cross_entropy(model(text).flatten(0, 1), text.roll(-1, 1).flatten())
    assert loss.item() == pytest.approx(math.log(65), abs=0.1)


def test_its_groups_hold_every_parameter_once_and_norms_do_not_decay():
    model = small()
    hidden, embeddings, norms = model.parameter_groups()
    grouped = [p for group in (hidden, embeddings, norms) for p in group["params"]]
    assert {id(p) for p in grouped} == {id(p) for p in model.parameters()}
    assert len(grouped) == len({id(p) for p in grouped})
    assert len(hidden["params"]) == 2 * 4
    assert all(p.ndim == 2 for p in hidden["params"])
    assert norms["weight_decay"] == 0
    assert all(p.ndim == 1 for p in norms["params"])
