"""An interrupted run goes on to the same numbers and the same weights, bit for bit."""

import hashlib
import json

import pytest
import torch

from experiments.record.checkpoint import CURRENT, PREVIOUS, CheckpointError
from experiments.record.reader import RecordError, read_runs

# 4 steps an epoch and 1 test batch: the pauses of an epoch are 4 steps, 1 test batch, and its end
PAUSES = 6


def result(folder):
    weights = torch.load(folder / CURRENT, weights_only=True)["model"]
    return (folder / "metrics.csv").read_bytes(), weights


def same(first, second):
    assert first[0] == second[0]
    assert first[1].keys() == second[1].keys()
    assert all(torch.equal(first[1][name], second[1][name]) for name in first[1])


def check_exact_resume(run, tmp_path, pauses, *overrides):
    _, whole = run(None, *overrides, where=tmp_path / "whole")
    for pause in pauses:
        run(pause, *overrides, where=tmp_path / "cut")
    status, cut = run(None, *overrides, where=tmp_path / "cut")
    assert status == "done"
    same(result(whole), result(cut))


OPTIMIZERS = ["sgdm", "rmsprop", "adam", "amsgrad", "radam", "adamw"]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("masked", ["false", "true"])
def test_every_optimizer_goes_on_inside_an_epoch(interrupted_at, tmp_path, optimizer, masked):
    words = [f"optimizer={optimizer}", f"lrd.enabled={masked}"]
    check_exact_resume(interrupted_at, tmp_path, [2], *words)


@pytest.mark.parametrize("pauses", [[1], [4], [5], [6], [7], [3, 2, 1, 2], [PAUSES, PAUSES - 1]])
def test_wherever_the_cut_falls(interrupted_at, tmp_path, pauses):
    """In an epoch, before and in an evaluation, at an epoch's end, and several times."""
    check_exact_resume(interrupted_at, tmp_path, pauses, "lrd.enabled=true")


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["adam", "sgdm"])
def test_the_compiled_step_goes_on(interrupted_at, tmp_path, optimizer):
    words = [f"optimizer={optimizer}", "lrd.enabled=true", "lrd.compile=true"]
    check_exact_resume(interrupted_at, tmp_path, [2, 5], *words)


METHODS = {
    "noisy label": ["regularizer.noisy_label=0.3"],
    "noisy gradient": ["regularizer.noisy_gradient=0.1"],
    "gradient dropout": ["regularizer.dropout_gradient=0.5"],
    "rescaled": ["lrd.enabled=true", "lrd.rescale=true"],
    "lr-scaled": ["lr_scale=0.5"],
    "authors": ["optimizer=rmsprop", "lrd.enabled=true", "lrd.authors=true"],
    "bf16": ["precision=bf16", "lrd.enabled=true"],
    "schedule": ["schedule.name=poly", "+schedule.power=0.9", "+schedule.warmup=3"],
    "cosine": ["schedule.name=cosine", "+schedule.floor=0.1"],
    "drops": ["schedule.name=steps", "+schedule.at=[0.5]", "+schedule.gamma=0.1"],
}


@pytest.mark.parametrize("method", METHODS)
def test_every_method_goes_on(interrupted_at, tmp_path, method):
    check_exact_resume(interrupted_at, tmp_path, [3, 4], *METHODS[method])


@pytest.mark.slow
@pytest.mark.parametrize("words", [[], ["precision=bf16"], ["regularizer.p_sd=0.8"]])
def test_a_net_with_batch_norm_augmentation_and_dropout_goes_on(
    interrupted_at, tmp_path, cifar_root, words
):
    words = [
        *words,
        "experiment=cifar10",
        "lrd.enabled=true",
        "epochs=2",
        f"data.root={cifar_root}",
    ]
    check_exact_resume(interrupted_at, tmp_path, [1, 2, 3], *words)


@pytest.mark.slow
@pytest.mark.parametrize("experiment", ["pspnet", "ssd"])
@pytest.mark.parametrize("pauses", [[2], [5, 3]])
def test_the_tasks_on_voc_go_on(interrupted_at, tmp_path, experiment, pauses):
    words = [f"experiment={experiment}", "lrd.enabled=true", f"data.root={tmp_path}"]
    check_exact_resume(interrupted_at, tmp_path, pauses, *words)


def test_an_interrupted_run_says_so_and_ends_within_a_step(interrupted_at, tmp_path):
    interrupted_at(2, where=tmp_path)
    (run,) = read_runs(tmp_path, scale="smoke").runs
    assert run.status == "failed"
    assert run.info["error"] == "Interrupted: interrupted by SIGTERM"
    assert run.epochs == 0


def test_a_damaged_checkpoint_is_left_aside_for_the_one_before(interrupted_at, tmp_path, capsys):
    _, whole = interrupted_at(None, where=tmp_path / "whole")
    interrupted_at(PAUSES + 1, where=tmp_path / "cut")  # saved at the epoch's end, and here
    folder = tmp_path / "cut/smoke/digits/adam/seed0"
    assert (folder / PREVIOUS).exists()
    content = bytearray((folder / CURRENT).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / CURRENT).write_bytes(content)
    _, cut = interrupted_at(None, where=tmp_path / "cut")
    said = capsys.readouterr().out
    assert f"{CURRENT} is damaged and is left aside" in said
    assert "going on after epoch 1" in said
    same(result(whole), result(cut))


def test_without_a_whole_checkpoint_the_run_starts_again_and_says_so(
    interrupted_at, tmp_path, capsys
):
    _, whole = interrupted_at(None, where=tmp_path / "whole")
    interrupted_at(2, where=tmp_path / "cut")
    folder = tmp_path / "cut/smoke/digits/adam/seed0"
    (folder / CURRENT).write_bytes(b"")
    _, cut = interrupted_at(None, where=tmp_path / "cut")
    assert "starting it again" in capsys.readouterr().out
    same(result(whole), result(cut))


def test_rows_after_the_checkpoint_are_made_again_and_never_twice(interrupted_at, tmp_path):
    """As when a process dies after an epoch's row and before its checkpoint."""
    _, whole = interrupted_at(None, "epochs=3", where=tmp_path / "whole")
    interrupted_at(3, "epochs=3", where=tmp_path / "cut")
    folder = tmp_path / "cut/smoke/digits/adam+epochs=3/seed0"
    lines = (whole / "metrics.csv").read_text().splitlines(keepends=True)
    (folder / "metrics.csv").write_text("".join(lines[:3]))
    _, cut = interrupted_at(None, "epochs=3", where=tmp_path / "cut")
    same(result(whole), result(cut))


def test_an_unfinished_run_of_another_configuration_is_refused(interrupted_at, tmp_path):
    interrupted_at(2, "lrd.enabled=true", "lrd.compile=false", where=tmp_path)
    message = r"an unfinished run of another.*\n  lrd.compile: False -> True"
    with pytest.raises(RecordError, match=message):
        interrupted_at(None, "lrd.enabled=true", "lrd.compile=true", where=tmp_path)


def test_a_checkpoint_of_another_version_is_refused_with_the_difference(
    interrupted_at, tmp_path, monkeypatch
):
    interrupted_at(2, where=tmp_path)
    monkeypatch.setattr("experiments.record.checkpoint.FORMAT", 99)
    with pytest.raises(CheckpointError, match=r"format: 1 -> 99"):
        interrupted_at(None, where=tmp_path)


def test_another_runs_checkpoint_is_refused(interrupted_at, tmp_path):
    interrupted_at(2, where=tmp_path)
    interrupted_at(2, "seed=1", where=tmp_path)
    runs = tmp_path / "smoke/digits/adam"
    (runs / "seed1" / CURRENT).replace(runs / "seed0" / CURRENT)
    with pytest.raises(CheckpointError, match="hash"):
        interrupted_at(None, where=tmp_path)


def test_other_data_is_not_gone_on_with(interrupted_at, tmp_path, monkeypatch):
    interrupted_at(2, where=tmp_path)
    monkeypatch.setattr("data.digits.version", lambda _: "another")
    with pytest.raises(CheckpointError, match="package another"):
        interrupted_at(None, where=tmp_path)


def test_a_finished_run_keeps_its_weights_alone(finished):
    assert set(torch.load(finished / CURRENT, weights_only=True)) == {"identity", "model"}
    assert not (finished / PREVIOUS).exists()
    assert json.loads((finished / "run.json").read_text())["status"] == "done"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda state: b"text", r"\(\w+Error\("),
        (lambda state: [1, 2], "no identity"),
        (lambda state: {**state, "identity": None}, "no identity"),
        (lambda state: {**state, "position": {}}, "no position"),
        (lambda state: {**state, "position": {**state["position"], "rows": []}}, "in epoch 2"),
        (lambda state: {**state, "model": {}}, "model: "),
        (lambda state: {key: state[key] for key in state if key != "optimizer"}, "optimizer: "),
    ],
)
def test_wrong_content_under_a_right_checksum_is_refused_by_name(
    interrupted_at, tmp_path, change, reason
):
    interrupted_at(8, where=tmp_path)  # in the second epoch
    (path,) = tmp_path.rglob(CURRENT)
    content = change(torch.load(path, weights_only=True))
    if not isinstance(content, bytes):
        torch.save(content, path)
        content = path.read_bytes()
    path.write_bytes(content + hashlib.sha256(content).digest())
    with pytest.raises(CheckpointError, match=reason) as error:
        interrupted_at(None, where=tmp_path)
    assert str(error.value).startswith(f"{path} has the right checksum")
    assert str(error.value).endswith("delete its folder to run it again")
