"""Figures, from synthetic run folders."""

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgba

import lrd
from helpers.synthetic import ROOT, make_run, read_experiment
from scripts.catalogue import FIGURES, ITEMS, figure_item
from scripts.figures.__main__ import drawn, make_figures
from scripts.figures.curves import learning_curves
from scripts.figures.readme import STEPS, draw_lrd
from scripts.figures.style import LINES, STYLE, line

CURVES = [
    figure
    for figure, item in FIGURES.items()
    if ITEMS[item].layout == "optimizers" and ITEMS[item].in_report
]


@pytest.fixture
def runs(tmp_path) -> Path:
    return tmp_path / "runs"


def draw(runs: Path, name: str = "figure5", shape: tuple[int, int] = (3, 5)):
    item = figure_item(name)
    experiment = read_experiment(runs, "paper", item.figures[name], item.arms())
    figure = learning_curves(item, experiment, "paper", name == "figure6")
    figure.canvas.draw()
    return figure, np.array(figure.axes).reshape(shape)


def test_curves_are_means_with_a_band_from_least_to_greatest(runs):
    make_run(runs, "adam", 0, [90.0, 96.0])
    make_run(runs, "adam", 1, [92.0, 97.0])
    make_run(runs, "adam", 2, [94.0, 98.5])
    make_run(runs, "adam+lrd0.5", 0, [95.0, 99.0])
    _, grid = draw(runs)
    base, dropped = grid[2, 2].lines
    np.testing.assert_allclose(base.get_xydata(), [[1, 92.0], [2, 97.1666667]])
    np.testing.assert_allclose(dropped.get_ydata(), [95.0, 99.0])
    assert to_rgba(base.get_color()) != to_rgba(dropped.get_color())
    assert base.is_dashed() != dropped.is_dashed()
    (band,) = grid[2, 2].collections  # none for the single seed
    (path,) = band.get_paths()
    corners = {tuple(corner) for corner in path.vertices}
    assert {(1, 90.0), (1, 94.0), (2, 96.0), (2, 98.5)} == corners
    np.testing.assert_allclose(grid[0, 2].lines[0].get_ydata(), [1, 0.5])
    assert grid[0, 2].get_yscale() == "log"


def test_figure_names_seeds_scale_data_and_what_is_missing(runs):
    for seed in range(2):
        make_run(runs, "adam", seed, [97.0, 98.0])
        make_run(runs, "sgdm", seed, [97.0, 98.0])
        make_run(runs, "sgdm+lrd0.5", seed, [97.0, 98.0])
    make_run(runs, "radam", 0, [10.0], status="diverged", epochs=2)
    figure, grid = draw(runs)
    titles = [axes.get_title() for axes in grid[0]]
    assert titles[0] == "SGDM\nn = 2"
    assert titles[1] == "RMSprop\nnot run"
    assert titles[2] == "Adam\nn = 2\nnot run: LRD"
    assert titles[4] == "RAdam\nbase diverged 1/1\nnot run: LRD"
    words = [[text.get_text() for text in axes.texts] for axes in grid[1]]
    assert words == [[], ["not run"], [], ["not run"], ["diverged"]]
    caption = figure.get_supxlabel().replace("\n", " ")
    assert "MNIST, FCNet, scale paper" in caption
    assert "MNIST (idx), 60,000 training" in caption
    assert "Left out" not in caption


def test_a_figure_names_the_runs_that_are_left_out(runs):
    for seed in range(2):
        folder = make_run(runs, "adam", seed, [97.0, 98.0])
    (folder / "metrics.csv").write_text("epoch\n")
    figure, _ = draw(runs)
    caption = figure.get_supxlabel().replace("\n", " ")
    assert "Left out: mnist/adam/seed1 (python -m scripts.verify says why)" in caption


def test_late_epochs_fill_the_accuracy_axes(runs):
    make_run(runs, "adam", 0, [10.0, 50.0, *np.linspace(97, 98, 18)])
    _, grid = draw(runs)
    low, high = grid[2, 2].get_ylim()
    assert 96.8 < low < 97.1
    assert 98 < high < 98.2
    low, high = grid[0, 2].get_ylim()
    assert low < 1 / 20 < 1 < high


@pytest.mark.parametrize("name", CURVES)
def test_every_figure_fills_all_its_panels(runs, tmp_path, name):
    item = figure_item(name)
    for arm in item.arms():
        make_run(runs, arm, 0, [50.0, 60.0], experiment=item.figures[name])
    written = make_figures(name, runs, tmp_path, "paper", None)
    assert written == [tmp_path / f"paper/{name}.{kind}" for kind in ("png", "pdf")]
    assert all(path.stat().st_size > 1000 for path in written)
    across = len(item.optimizers), len(item.columns)
    figure, grid = draw(runs, name, across[::-1] if item.optimizers_across else across)
    drawn = sum(len(axes.lines) for axes in grid.flat)
    released = 3 if name == "figure6" else 0
    assert drawn == len(item.arms()) * len(item.columns) + released
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels[: len(item.methods)] == list(item.methods)


def test_figure_6_shows_the_curve_that_the_authors_released(runs):
    make_run(runs, "sgdm+lrd0.5", 0, [90.0, 95.0], experiment="cifar10")
    figure, grid = draw(runs, "figure6")
    curve = pd.read_csv(ROOT / "results/paper/authors_curve.csv")
    for axes, column in zip(
        grid[:, 0], ("train_loss", "train_accuracy", "test_accuracy"), strict=True
    ):
        np.testing.assert_array_equal(axes.lines[-1].get_ydata(), curve[column])
    assert "authors released" in figure.legends[0].get_texts()[-1].get_text()


def test_the_released_curve_does_not_stand_beside_smaller_nets(runs, tmp_path):
    for scale, legend in (("lite", 2), ("paper", 3)):
        make_run(runs, "sgdm+lrd0.5", 0, [40.0, 45.0], experiment="cifar10", scale=scale)
        item, experiments = (
            ITEMS["table1"],
            [read_experiment(runs, scale, "cifar10", ["sgdm+lrd0.5"])],
        )
        figure = drawn(item, experiments, scale)["figure6"]
        assert len(figure.legends[0].get_texts()) == legend
        assert [len(axes.lines) for axes in figure.axes[::5]] == [legend - 1] * 3


def test_several_methods_that_were_not_run_are_counted(runs):
    make_run(runs, "adam", 0, [40.0, 45.0])
    figure, _ = draw(runs, "settings", (3, 3))
    assert figure.axes[1].get_title() == "Adam\nn = 1\nnot run: 5 of 6"


@pytest.mark.parametrize("name", CURVES)
def test_the_legend_stays_inside(runs, name):
    item = figure_item(name)
    make_run(runs, item.arms()[0], 0, [40.0, 45.0], experiment=item.figures[name])
    read = read_experiment(runs, "paper", item.figures[name], item.arms())
    with mpl.rc_context(STYLE):
        figure = learning_curves(item, read, "paper", name == "figure6")
        figure.draw_without_rendering()
    width = figure.legends[0].get_window_extent().width
    assert width < figure.bbox.width


def test_another_experiments_curves_have_a_name_of_their_own(runs, tmp_path):
    make_run(runs, "adam", 0, [97.0, 98.0], experiment="digits")
    written = make_figures("figure5", runs, tmp_path, "paper", "digits")
    assert [path.stem for path in written] == ["figure5-digits"] * 2


def test_the_name_of_a_table_draws_the_figures_for_which_there_are_runs(runs, tmp_path):
    make_run(runs, "adam", 0, [97.0, 98.0])
    make_run(runs, "adam", 0, [90.0, 91.0], experiment="cifar100")
    written = make_figures("table1", runs, tmp_path, "paper", None)
    assert [path.name for path in written[::2]] == ["figure5.png", "figure7.png"]
    written = make_figures("table1", runs, tmp_path, "paper", "cifar100")
    assert [path.name for path in written] == ["figure7.png", "figure7.pdf"]


def test_more_methods_than_colours_have_lines_of_their_own():
    styles = [line(number) for number in range(3 * len(LINES))]
    assert all(styles.count(style) == 1 for style in styles)


def test_drawing_of_the_method_shows_the_masks_of_the_package():
    panels = [axes for axes in draw_lrd().axes if axes.images]
    assert len(panels) == 2 * STEPS
    for step in range(STEPS):
        plain, masked = panels[step].images[0], panels[STEPS + step].images[0]
        kept = lrd.keep_mask((8, 8), 0.5, seed=0, step=step, index=0).numpy()
        shown = np.ma.getmaskarray(masked.get_array())
        np.testing.assert_array_equal(shown, ~kept)
        np.testing.assert_array_equal(masked.get_array()[kept].data, plain.get_array()[kept].data)
        assert len(panels[STEPS + step].collections[0].get_offsets()) == (~kept).sum()
