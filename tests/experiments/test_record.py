"""Run folders: what a run leaves behind, and what it will not touch."""

import json
import subprocess
import sys

import numpy as np
import pytest

import lrd
from experiments import run as runner
from experiments.configuration import ConfigError
from experiments.identity import run_folder
from experiments.record import atomic
from experiments.record.atomic import WriteError
from experiments.record.faults import faults
from experiments.record.reader import RecordError, read_run, read_runs
from experiments.record.writer import Record
from experiments.tasks import classification
from experiments.validate import check
from helpers.commands import ROOT, configure, rows


def test_a_finished_run_is_skipped_and_an_unfinished_one_made_again(make, capsys):
    make()
    status, folder = make()
    assert status == "skipped"
    info = json.loads((folder / "run.json").read_text())
    before = (folder / "metrics.csv").read_bytes()
    (folder / "run.json").write_text(json.dumps({**info, "status": "running"}))
    (folder / "checkpoint.pt").unlink()
    assert make()[0] == "done"
    assert "is unfinished: starting it again" in capsys.readouterr().out
    assert (folder / "metrics.csv").read_bytes() == before


def test_a_finished_run_keeps_which_test_images_it_is_right_about(make):
    _, folder = make("data.test_subset=101")
    correct = np.unpackbits(np.fromfile(folder / "correct.bin", np.uint8))
    assert len(correct) == 104
    assert correct.sum() / 101 * 100 == pytest.approx(float(rows(folder)[-1]["test_accuracy"]))
    (folder / "correct.bin").write_bytes(bytes(13))
    assert "not as the run left it" in faults(read_run(folder))[0]


def test_clean_training_images_are_scored_where_asked_and_change_nothing_else(make, tmp_path):
    noisy = ("regularizer.noisy_label=0.5", "epochs=3", "data.test_subset=707")
    _, plain = make(*noisy)
    _, scored = make(*noisy, "clean_train=300", where=tmp_path / "scored")
    before, after = rows(plain), rows(scored)
    clean = [float(row.pop("clean_accuracy")) for row in after]
    assert after == before
    assert clean[-1] > float(after[-1]["train_accuracy"]) + 20  # half of its labels are wrong
    (run,) = read_runs(tmp_path / "scored", scale="smoke").runs
    batch = run.config["batch_size"]
    # of whole batches, as no accuracy of the 707 test images is
    right = [accuracy / 100 * batch * -(-300 // batch) for accuracy in clean]
    assert right == pytest.approx([round(count) for count in right], abs=1e-6)
    with pytest.raises(ConfigError, match="clean_train must be 0, or a number of images where"):
        check(configure("experiment=toy", "clean_train=3", runs_dir="x"))


def test_an_unfinished_record_with_text_for_numbers_is_left_out(finished, tmp_path):
    info = json.loads((finished / "run.json").read_text())
    (finished / "run.json").write_text(json.dumps({**info, "status": "running"}))
    rows = (finished / "metrics.csv").read_text().splitlines()
    (finished / "metrics.csv").write_text("\n".join([*rows[:2], rows[2].replace(",", ",x")]))
    (left_out,) = read_runs(tmp_path, scale="smoke").left_out
    assert left_out.reason == "metrics.csv holds what is not a number"


def test_a_finished_run_of_another_configuration_is_refused_with_the_difference(make):
    _, folder = make("lrd.enabled=true", "lrd.compile=false")
    before = (folder / "metrics.csv").read_bytes()
    with pytest.raises(RecordError, match=r"lrd.compile: False -> True"):
        make("lrd.enabled=true", "lrd.compile=true")
    assert (folder / "metrics.csv").read_bytes() == before


def test_foreign_content_is_refused_and_left_alone(tmp_path, make):
    folder = run_folder(configure(runs_dir=tmp_path))
    folder.mkdir(parents=True)
    (folder / "thesis.tex").write_text("mine")
    with pytest.raises(RecordError, match=r"what no run has written, files or links: thesis.tex"):
        make()
    assert (folder / "thesis.tex").read_text() == "mine"
    assert not (folder / "run.json").exists()


def test_a_damaged_run_json_is_named(make, finished):
    (finished / "run.json").write_text('{"status": "do')
    with pytest.raises(RecordError, match=r"run.json is damaged"):
        make()


@pytest.mark.parametrize("content", [None, "", "lrd: [", "seed: 0\n"])
def test_a_damaged_configuration_is_named(make, finished, tmp_path, content):
    (finished / "config.yaml").unlink()
    if content is not None:
        (finished / "config.yaml").write_text(content)
    with pytest.raises(RecordError, match=r"config.yaml is damaged .* delete its folder"):
        make()
    (folder,) = read_runs(tmp_path, scale="smoke").left_out
    assert "config.yaml is damaged" in folder.reason


def test_two_processes_are_never_in_one_folder(tmp_path):
    config = configure(runs_dir=tmp_path)
    code = (
        "import sys, json; from experiments.record.writer import Record\n"
        "with Record(json.loads(sys.argv[1])): print('in', flush=True); sys.stdin.readline()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, json.dumps({**config, "runs_dir": str(tmp_path)})],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert other.stdout.readline() == "in\n"
    with pytest.raises(RecordError, match="another process is at work"), Record(config):
        pass
    other.kill()  # and a dead process holds no lock
    other.wait()
    with Record(config):
        pass


def test_a_run_leaves_its_record(make):
    status, folder = make("lrd.enabled=true", "lrd.p=0.3")
    assert status == "done"
    assert sorted(path.name for path in folder.iterdir()) == [
        ".lock", "checkpoint.pt", "config.yaml", "correct.bin", "metrics.csv", "run.json",
        "timing.csv",
    ]  # fmt: skip
    table = rows(folder)
    assert list(table[0]) == [
        "epoch", "lr", "train_loss", "train_accuracy", "test_loss", "test_accuracy",
    ]  # fmt: skip
    assert [row["epoch"] for row in table] == ["1", "2"]
    info = json.loads((folder / "run.json").read_text())
    assert (info["status"], info["seed"], info["arm"]) == ("done", 0, "adam+lrd0.3")
    assert info["compile"] == lrd.kernel_available()
    assert info["data"]["train"] == 512
    config = (folder / "config.yaml").read_text()
    assert "runs_dir" not in config
    assert str(folder.parent) not in config


def test_divergence_is_recorded_with_its_epoch(make):
    status, folder = make("optimizer=sgdm", "optimizer.lr=1e30")
    assert status == "diverged"
    info = json.loads((folder / "run.json").read_text())
    assert (info["status"], info["epochs"]) == ("diverged", 1)
    assert len(rows(folder)) == 1
    assert make("optimizer=sgdm", "optimizer.lr=1e30")[0] == "skipped"


def test_an_evaluation_that_is_not_finite_is_a_divergence_too(make, monkeypatch):
    monkeypatch.setattr(
        classification, "evaluate", lambda *_: {"test_loss": float("nan"), "test_accuracy": 9.0}
    )
    status, folder = make()
    assert (status, len(rows(folder))) == ("diverged", 1)
    (run,) = read_runs(folder.parents[3], scale="smoke").runs
    assert not faults(run)


def test_a_divergence_whose_record_was_not_closed_stays_one(make, monkeypatch):
    def full(*_, **__):
        raise WriteError("no room")

    words = ["optimizer=sgdm", "optimizer.lr=1e30", "epochs=3"]
    with monkeypatch.context() as broken:
        broken.setattr(Record, "finish", full)
        with pytest.raises(WriteError):
            make(*words)
    status, folder = make(*words)
    assert (status, len(rows(folder))) == ("diverged", 1)


def test_a_folder_that_was_put_aside_is_no_run(finished, tmp_path):
    finished.rename(finished.with_name("seed0-old"))
    assert read_runs(tmp_path, scale="smoke").runs == []


def test_a_failure_is_recorded_with_its_error(make, tmp_path, monkeypatch):
    def fail(*_):
        raise RuntimeError("the disk caught fire")

    monkeypatch.setattr(runner, "train_epoch", fail)
    with pytest.raises(RuntimeError):
        make()
    (run,) = read_runs(tmp_path, scale="smoke").runs
    assert run.status == "failed"
    assert run.info["error"] == "RuntimeError: the disk caught fire"
    monkeypatch.undo()
    assert make()[0] == "done"


def test_files_appear_whole(tmp_path, finished, monkeypatch):
    """A write that fails half-way leaves the older file as it was."""
    before = (finished / "run.json").read_bytes()

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(atomic.os, "fsync", fail)
    with (
        Record(configure(runs_dir=tmp_path)) as record,
        pytest.raises(WriteError, match=r"No space left on device.*repeat the command"),
    ):
        record._write("run.json", b"half")
    assert (finished / "run.json").read_bytes() == before


def test_a_file_that_two_processes_write_at_once_is_one_of_theirs(tmp_path):
    path = tmp_path / "table.md"
    others = atomic.write_aside(path, b"another's")  # which is not yet in its place
    atomic.write(path, b"mine")
    assert path.read_bytes() == b"mine"
    assert others.read_bytes() == b"another's"
    assert {each.name for each in tmp_path.iterdir()} == {"table.md", others.name}


def test_read_runs_gives_scale_experiment_arm_and_seed(make, tmp_path):
    make("seed=1")
    make("lrd.enabled=true")
    found = read_runs(tmp_path, scale="smoke", experiment="digits").runs
    assert [(run.arm, run.seed) for run in found] == [("adam", 1), ("adam+lrd0.5", 0)]
    assert found[0].epochs == 2
    assert read_runs(tmp_path, scale="paper").runs == []
