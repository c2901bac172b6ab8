"""Figures 8 and 9, their tables and pictures, from synthetic run folders."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from experiments.record.reader import read_runs
from helpers import synthetic
from scripts.figures import __main__ as figures
from scripts.figures.pictures import draw_predictions, palette
from scripts.gather import ResultError, gather
from scripts.items import item_named
from scripts.tables import __main__ as tables

CURVES = {
    "pspnet": {"train_loss": [2.0, 1.0], "mean_iou": [0.5, 0.4], "pixel_accuracy": [0.8, 0.9]},
    "ssd": {"train_loss": [6.0, 5.0], "val_loss": [5.5, 5.75], "map50": [0.1, 0.2]},
}


SOURCE = {
    "name": "VOC2012 subset, 128 px", "format": "devkit", "train": 1559, "test": 445,
    "repaired": {"boxes_clipped": 1200, "boxes_dropped": 0},
}  # fmt: skip


def make_run(root, experiment, arm, seed=0, status="done", predictions=None, add=0.0):
    """A run folder of two epochs, its curves raised by `add`."""
    columns = {name: [each + add for each in curve] for name, curve in CURVES[experiment].items()}
    what = {"scale": "lite", "experiment": experiment, "status": status}
    folder = synthetic.make_run(root, arm, seed, [0.0] * 2, source=SOURCE, columns=columns, **what)
    if predictions:
        torch.save(predictions, folder / "predictions.pt")


def masks(prediction=12):
    """Two images of 16 by 16, the first with a square of class 12 in a border that is ignored."""
    truth = torch.zeros(2, 16, 16, dtype=torch.uint8)
    truth[0, 4:12, 4:12] = 255
    truth[0, 5:11, 5:11] = 12
    images = torch.arange(2 * 3 * 256).view(2, 3, 16, 16).remainder(256).byte()
    return {"images": images, "truth": truth, "prediction": torch.full_like(truth, prediction)}


def objects():
    return {
        "images": masks()["images"],
        "truth": torch.tensor([[0.0, 12, 2, 2, 12, 14]]),
        "prediction": torch.tensor([[0.0, 12, 3, 2, 12, 13, 0.9], [1, 8, 1, 1, 15, 15, 0.4]]),
    }


PREDICTIONS = {"pspnet": masks, "ssd": objects}


@pytest.fixture
def make(tmp_path):
    """Make a figure and what belongs to it; gives the tidy csv and the paths."""

    def run(name, scale="lite"):
        paths = figures.make_figures(name, tmp_path / "runs", tmp_path / "out", scale, None)
        tables.make_table(name, tmp_path / "runs", tmp_path / "out", scale, None)
        paths += [tmp_path / "out" / scale / f"{name}.{kind}" for kind in ("csv", "md", "tex")]
        return pd.read_csv(paths[-3]).set_index(["arm", "metric"]), paths

    return run


def runs_of(root: Path, experiment: str, **more) -> None:
    make_run(root / "runs", experiment, "adam", **more)
    make_run(root / "runs", experiment, "adam+lrd0.5", add=0.05, **more)


def line(path: Path, *words: str) -> list[str]:
    """The cells of the Markdown row that has these words."""
    for text in path.read_text().splitlines():
        cells = [cell.strip() for cell in text.strip("|").split("|")]
        if all(word in cells for word in words):
            return cells
    raise AssertionError(f"no row with {words} in\n{path.read_text()}")


@pytest.mark.parametrize(("name", "experiment"), [("figure8", "pspnet"), ("figure9", "ssd")])
def test_curves_table_and_pictures_are_made(tmp_path, make, name, experiment):
    runs_of(tmp_path, experiment, predictions=PREDICTIONS[experiment]())
    _, paths = make(name)
    assert [path.name for path in paths] == [
        *(f"{name}.png", f"{name}.pdf", f"{name}-predictions.png"),
        *(f"{name}.csv", f"{name}.md", f"{name}.tex"),
    ]
    assert all(path.stat().st_size > 200 for path in paths)
    content = [path.read_bytes() for path in paths]
    make(name)
    assert content == [path.read_bytes() for path in paths]


def test_the_first_epoch_does_not_flatten_a_loss_and_the_caption_says_so(tmp_path):
    for arm in ("adam", "adam+lrd0.5", "adam+lr0.5"):
        make_run(tmp_path, "ssd", arm)
    item = item_named("figure9")
    experiment = gather(read_runs(tmp_path, scale="lite"), "ssd", figures.shown_arms(item))
    figure = figures.drawn(item, [experiment], "lite")["figure9"]
    assert [axes.get_ylim()[1] < 6 for axes in figure.axes] == [True, True]
    assert [axes.get_xticks().tolist() for axes in figure.axes] == [[2, 1], [2, 1]]
    words = figure.get_supxlabel().replace("\n", " ")
    assert words.endswith("Axes of losses begin with epoch 2.")
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels[2] == "Adam, base, rate halved: n = 1"


def test_table_has_last_and_best_epochs_over_seeds_beside_the_published(tmp_path, make):
    for seed, add in ((0, 0.0), (1, 0.1)):
        make_run(tmp_path / "runs", "pspnet", "adam", seed, add=add)
    make_run(tmp_path / "runs", "pspnet", "adam+lrd0.5", add=0.05)
    frame, paths = make("figure8")
    base = frame.loc[("adam", "mean_iou")]
    assert base["n"] == 2
    assert base["last_mean"] == pytest.approx(0.45)
    assert base["last_std"] == pytest.approx(np.std([0.4, 0.5], ddof=1), abs=1e-4)
    assert base["best_mean"] == pytest.approx(0.55)
    assert (base["published"], frame.loc[("adam+lrd0.5", "mean_iou"), "published"]) == (
        0.637,
        0.688,
    )
    markdown = next(path for path in paths if path.suffix == ".md")
    assert line(markdown, "mean IoU", "last")[-2:] == ["0.450 ± 0.071 (2)", "0.450 (1)"]
    assert line(markdown, "pixel accuracy", "published")[-2:] == ["0.905", "0.921"]
    assert "chosen on the validation set" in markdown.read_text()


def test_the_best_loss_is_the_least(tmp_path, make):
    runs_of(tmp_path, "ssd")
    frame, paths = make("figure9")
    loss = frame.loc[("adam", "val_loss")]
    assert (loss["last_mean"], loss["best_mean"]) == (5.75, 5.5)
    assert frame["published"].isna().all()
    text = next(path for path in paths if path.suffix == ".md").read_text()
    assert "boxes clipped: 1,200" in text
    assert "boxes dropped" not in text


def test_an_arm_that_was_not_run_or_diverged_is_said(tmp_path, make, capsys):
    make_run(tmp_path / "runs", "ssd", "adam")
    make_run(tmp_path / "runs", "ssd", "adam", 1, status="diverged")
    make_run(tmp_path / "runs", "ssd", "adam+lrd0.5", 1, status="failed")
    _, paths = make("figure9")
    markdown = next(path for path in paths if path.suffix == ".md")
    assert line(markdown, "mAP, IoU 0.5", "last")[-2:] == ["0.200 (1), diverged 1/2", "–"]
    assert "ssd/adam+lrd0.5/seed1 (failed)" in markdown.read_text()
    assert "no seed has both methods" in capsys.readouterr().err


def test_runs_without_predictions_have_no_pictures_and_it_is_said(tmp_path, make, capsys):
    runs_of(tmp_path, "pspnet")
    _, paths = make("figure8")
    assert not any("predictions" in path.name for path in paths)
    assert "no predictions.pt in" in capsys.readouterr().err


def test_damaged_predictions_are_named(tmp_path, make, capsys):
    runs_of(tmp_path, "pspnet", predictions=masks())
    path = tmp_path / "runs/lite/pspnet/adam/seed0/predictions.pt"
    path.write_bytes(path.read_bytes()[:100])
    _, paths = make("figure8")
    assert paths
    assert not any("predictions" in path.name for path in paths)
    assert "adam/seed0/predictions.pt is damaged" in capsys.readouterr().err


def test_predictions_of_different_images_are_not_compared():
    other = masks()
    other["images"] = other["images"] + 1
    with pytest.raises(ResultError, match="predictions of LRD are of other images"):
        draw_predictions("segmentation", {"base": masks(), "LRD": other}, "")


def test_pictures_show_truth_and_each_methods_prediction_where_it_counts():
    figure = draw_predictions("segmentation", {"base": masks(12), "LRD": masks(8)}, "")
    rows = np.array(figure.axes).reshape(4, -1)
    shown = [axes.images[0].get_array() for axes in rows[:, 0]]
    assert [axes.get_ylabel() for axes in rows[:, 0]] == ["image", "truth", "base", "LRD"]
    assert shown[1][8, 8].tolist() == palette()[12].tolist()
    assert shown[3][8, 8].tolist() == palette()[8].tolist()
    for picture in shown[1:]:
        assert picture[4, 4].tolist() == [255, 255, 255]
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["background", "cat", "dog", "not counted"]


def test_pictures_show_true_and_found_boxes():
    figure = draw_predictions("detection", {"base": objects()}, "")
    truth, base = np.array(figure.axes).reshape(2, -1)
    assert [patch.get_bbox().bounds for patch in truth[0].patches] == [(2, 2, 10, 12)]
    assert [patch.get_bbox().bounds for patch in base[1].patches] == [(1, 1, 14, 14)]
    assert [text.get_text() for text in base[1].texts] == ["cat"]
    assert not truth[1].patches


def test_palette_is_vocs():
    assert palette()[[0, 1, 8, 15, 20]].tolist() == [
        *([0, 0, 0], [128, 0, 0], [64, 0, 0], [192, 128, 128], [0, 64, 128]),
    ]


def test_no_runs_name_the_command_that_makes_them(tmp_path, make, capsys):
    with pytest.raises(ResultError, match=r"\+sweep=figure9 experiment=ssd scale=lite seed=0"):
        make("figure9")
    with pytest.raises(SystemExit, match="error: no finished run of pspnet at scale paper"):
        figures.main(["figure8", "--runs-dir", str(tmp_path)])
