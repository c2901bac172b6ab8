"""Figures 1 to 3, drawings of the method."""

from itertools import pairwise

import matplotlib as mpl
import pytest
import torch

import lrd
from helpers.commands import ROOT
from helpers.words import assert_no_words_overlap
from scripts.figures import method
from scripts.figures.__main__ import make_figures
from scripts.figures.style import STYLE

FIGURES = ["figure1", "figure2", "figure3"]


def test_figure_1s_descent_is_trapped_and_with_lrd_it_is_not():
    trapped, updates, _ = method.saddle_states(masked=False)
    assert torch.equal(trapped[:, 0], trapped[:, 1])
    assert 0 < method.saddle(trapped[-1]) < 0.01
    torch.testing.assert_close(trapped[1:] - trapped[:-1], updates)
    free, updates, masks = method.saddle_states(masked=True)
    assert method.saddle(free[-1]) < -0.5
    torch.testing.assert_close(free[1:] - free[:-1], updates * masks)
    for step, mask in enumerate(masks):
        kept = lrd.keep_mask(2, 0.5, seed=method.SADDLE_SEED, step=step, index=0)
        assert torch.equal(mask, kept)


def test_figure_2_draws_the_masks_of_the_package():
    panels = method.draw_net().axes
    for step, axes in enumerate(panels[2:]):
        masks = method.net_masks(step)
        for layer, mask in enumerate(masks):
            shape = (method.LAYERS[layer + 1], method.LAYERS[layer])
            assert torch.equal(mask, lrd.keep_mask(shape, 0.5, seed=0, step=step, index=layer))
        weights = [line for line in axes.lines if len(line.get_xdata()) == 2]
        dashed = [line for line in weights if line.is_dashed()]
        assert len(weights) == sum(mask.numel() for mask in masks)
        assert len(dashed) == sum((~mask).sum().item() for mask in masks)
    plain = [line for line in panels[0].lines if len(line.get_xdata()) == 2]
    assert len(plain) == 36
    assert not any(line.is_dashed() for line in plain)
    units = method.unit_masks()
    between = sum(int(a.sum() * b.sum()) for a, b in pairwise(units))
    assert len([line for line in panels[1].lines if len(line.get_xdata()) == 2]) == between < 36


def test_figure_3_has_eight_paths_that_descend_unless_all_is_dropped():
    masks, updates, after = method.descent_paths()
    assert len({tuple(mask) for mask in masks.tolist()}) == 8
    before = method.cube_loss(torch.tensor(method.CUBE_START))
    for mask, update, f in zip(masks, updates, after, strict=True):
        assert torch.equal(update != 0, mask)
        assert f < before if mask.any() else f == before
    assert after[0] == after.min()


@pytest.mark.parametrize("name", FIGURES)
def test_the_committed_drawings_are_what_the_command_makes(tmp_path, name):
    paths = make_figures(name, tmp_path, tmp_path, "paper", None)
    assert [path.name for path in paths] == [f"{name}.png", f"{name}.pdf"]
    for path in paths:
        assert path.read_bytes() == (ROOT / "results" / "figures" / path.name).read_bytes()


@pytest.mark.parametrize("name", FIGURES)
def test_no_words_overlap(name):
    with mpl.rc_context(STYLE):
        assert_no_words_overlap(method.DRAWINGS[name]())
