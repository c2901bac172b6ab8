"""Figures, from synthetic run folders."""

from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import rgb_to_hsv, to_rgb, to_rgba
from matplotlib.figure import Figure

import lrd
from experiments.record.reader import LeftOut, read_run, read_runs
from experiments.tasks import Column
from helpers.commands import ROOT
from helpers.synthetic import make_run, read_experiment
from scripts.catalogue import FIGURES, ITEMS
from scripts.figures.__main__ import drawn, make_figures, shown_arms
from scripts.figures.curves import (
    _scale,
    _set_ticks,
    learning_curves,
    line_styles,
    methods_of,
    shared,
)
from scripts.figures.readme import STEPS, draw_lrd
from scripts.figures.style import LINES, STYLE, line
from scripts.gather import Arm, Experiment, gather
from scripts.items import item_named

CURVES = [
    figure
    for figure, item in FIGURES.items()
    if ITEMS[item].layout == "optimizers" and ITEMS[item].in_report
]


def draw(runs: Path, name: str = "figure5", shape: tuple[int, int] = (3, 5)):
    item = item_named(name)
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
    assert titles[0] == "SGDM\nn = 2\n"  # of equal height
    assert titles[1] == "RMSprop\nnot run\n"
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


def test_optimizers_share_the_axes_of_a_column_but_one_that_fails_has_its_own(runs):
    make_run(runs, "sgdm", 0, [60.0, *np.linspace(98.2, 98.6, 19)])
    make_run(runs, "adam", 0, [60.0, *np.linspace(97.5, 98.4, 19)])
    make_run(runs, "radam", 0, np.linspace(90.0, 10.0, 20).tolist())
    figure, grid = draw(runs)
    for row in grid[1:]:
        assert row[0].get_ylim() == row[2].get_ylim()
        assert row[0].get_ylim()[0] > 97 > 20 > row[4].get_ylim()[0]
        assert [axes.yaxis.get_tick_params()["labelleft"] for axes in row[[0, 2, 4]]] == [
            *(True, False, True)
        ]
    assert len({axes.get_ylim() for axes in grid[0, [0, 2, 4]]}) == 1
    assert "steep start; RAdam has its own." in figure.get_supxlabel().replace("\n", " ")


@pytest.mark.parametrize(
    ("losses", "labels"),
    [
        ([2.2, 1.6, 1.4], ["1.5", "1.75", "2", "2.25"]),
        ([9.0, 1.0, 0.25], ["0.3", "1", "3", "10"]),
        ([1.0, 1e-2, 2e-3], [f"$\\mathdefault{{10^{{{power}}}}}$" for power in (-2, -1, 0)]),
    ],
)
def test_losses_have_few_ticks_in_plain_decimals_unless_they_span_decades(runs, losses, labels):
    folder = make_run(runs, "adam", 0, [90.0] * len(losses))
    metrics = pd.read_csv(folder / "metrics.csv").assign(train_loss=losses)
    arms = {"adam": {"base": Arm([replace(read_run(folder), metrics=metrics)])}}
    figure = Figure()
    axes = figure.subplots()
    column = Column("training loss", falls=True)
    _scale(axes, shared(arms, "train_loss", column)["adam"], column)
    _set_ticks(axes, 3, 5)
    figure.canvas.draw()
    low, high = axes.get_ylim()
    ticks = zip(axes.get_yticks(), axes.get_yticklabels(), strict=True)
    shown = [label.get_text() for tick, label in ticks if low <= tick <= high]
    assert shown == labels
    assert not any(label.get_text() for label in axes.get_yticklabels(minor=True))


@pytest.mark.parametrize(("epochs", "ticks"), [(1, [1]), (7, [3, 7]), (10, [5, 10])])
def test_the_last_epoch_is_labelled(runs, epochs, ticks):
    make_run(runs, "adam", 0, np.linspace(90, 95, epochs).tolist())
    _, grid = draw(runs)
    assert sorted(grid[2, 2].get_xticks()) == ticks


@pytest.mark.parametrize("name", ["figure5", "figure10", "controls", "settings"])
def test_curves_show_the_base_at_half_the_rate_in_one_style_and_tables_do_not(runs, tmp_path, name):
    item = item_named(name)
    of = item.figures[name]
    for arm in ("sgdm", "sgdm+lrd0.5", "sgdm+lr0.5"):
        make_run(runs, arm, 0, [90.0, 95.0], experiment=of)
    experiment = gather(read_runs(runs, scale="paper"), of, shown_arms(item))
    figure = drawn(item, [experiment], "lite")[name]
    panel = next(axes for axes in figure.axes if axes.get_title().startswith("SGDM"))
    base, dropped, half = sorted(panel.lines, key=lambda one: one.get_color() == "black")
    assert base.get_linewidth() > dropped.get_linewidth() > half.get_linewidth()
    assert half.get_zorder() > base.get_zorder()
    assert (half.is_dashed(), base.is_dashed()) == (True, False)
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels.count("base, rate halved") == 1
    assert len(labels) == 3  # of what is drawn alone
    if name == "controls":  # whose one missing method has a name too long for a panel
        assert panel.get_title() == "SGDM, n = 1, not run: 1 of 4"
    assert "At half the rate: SGDM only." in figure.get_supxlabel().replace("\n", " ")
    assert ("+lr0.5" in ITEMS[item.name].methods.values()) == (name == "controls")


def test_the_values_of_p_and_the_base_at_half_the_rate_have_colours_of_their_own(runs):
    item = item_named("figure10")
    for arm in [*item.arms(), "adam+lr0.5"]:
        make_run(runs, arm, 0, [40.0, 45.0], experiment="cifar10")
    experiment = read_experiment(runs, "paper", "cifar10", shown_arms(item))
    colours = {
        name: style["color"] for name, style in line_styles(methods_of(item, experiment)).items()
    }
    assert len(set(colours.values())) == len(colours) == 7
    one, other = (rgb_to_hsv(to_rgb(colours[p]))[0] for p in ("p = 1", "p = 0.9"))
    assert abs(one - other) > 0.2  # another hue, not a lighter blue


def test_captions_have_no_configuration_and_name_runs_that_are_left_out(runs):
    model = {"_target_": "own.net", "growth_rate": 4, "encoder_weights": None, "width": None}
    model |= {"encoder_options": {"channels": [16, 32], "stem_width": 8}}
    run = read_run(make_run(runs, "adam", 0, [90.0, 91.0]))
    run = replace(run, config=run.config | {"model": model})
    left_out = [LeftOut(run.folder.with_name("seed1"), "metrics.csv lacks epochs")]
    experiment = Experiment("mnist", {"adam": Arm([run])}, [], left_out, [])
    figure = learning_curves(item_named("figure5"), experiment, "paper", False)
    words = figure.get_supxlabel().replace("\n", " ")
    net = "net: growth rate 4, not pretrained, encoder channels 16/32, encoder stem width 8;"
    assert net in words
    assert "Left out: mnist/adam/seed1 (" in words


@pytest.mark.parametrize("name", CURVES)
def test_every_figure_fills_all_its_panels(runs, tmp_path, name):
    item = item_named(name)
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
    for scale, curves in (("lite", 1), ("paper", 2)):
        make_run(runs, "sgdm+lrd0.5", 0, [40.0, 45.0], experiment="cifar10", scale=scale)
        item, experiments = (
            ITEMS["table1"],
            [read_experiment(runs, scale, "cifar10", ["sgdm+lrd0.5"])],
        )
        figure = drawn(item, experiments, scale)["figure6"]
        assert len(figure.legends[0].get_texts()) == curves
        assert [len(axes.lines) for axes in figure.axes[::5]] == [curves] * 3


def test_several_methods_that_were_not_run_are_counted(runs):
    make_run(runs, "adam", 0, [40.0, 45.0])
    figure, _ = draw(runs, "settings", (3, 5))
    assert figure.axes[2].get_title() == "Adam\nn = 1\nnot run: 5 of 6"


@pytest.mark.parametrize("name", CURVES)
def test_the_legend_stays_inside(runs, name):
    item = item_named(name)
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
