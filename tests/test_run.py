"""The runner and its record, in this process and as the command that users type."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from experiments import record as record_module
from experiments import run as runner
from experiments import streams
from experiments.checks import ConfigError
from experiments.naming import run_folder
from experiments.record import Record, RecordError, read_runs

ROOT = Path(__file__).parent.parent
CONF = str(ROOT / "conf")


def configure(*overrides, runs_dir):
    with initialize_config_dir(CONF, version_base="1.3"):
        config = compose("config", ["scale=smoke", f"runs_dir={runs_dir}", *overrides])
    return OmegaConf.to_container(config, resolve=True)


@pytest.fixture
def make(tmp_path):
    """Run a smoke-scale configuration of digits in this process; returns its folder."""

    def run(*overrides, where=tmp_path):
        config = configure(*overrides, runs_dir=where)
        status = runner.run(config)
        return status, run_folder(config)

    return run


def command(*arguments, cwd=ROOT, **variables):
    """The real command in a process of its own."""
    environment = {**os.environ, **variables}
    return subprocess.run(
        [sys.executable, "-m", "experiments.run", *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


def rows(folder):
    return list(csv.DictReader((folder / "metrics.csv").open()))


def test_a_run_leaves_its_record(make):
    status, folder = make("lrd.enabled=true", "lrd.p=0.3")
    assert status == "done"
    assert sorted(path.name for path in folder.iterdir()) == [
        ".lock", "config.yaml", "metrics.csv", "run.json", "timing.csv",
    ]  # fmt: skip
    table = rows(folder)
    assert list(table[0]) == [
        "epoch", "lr", "train_loss", "train_accuracy", "test_loss", "test_accuracy",
    ]  # fmt: skip
    assert [row["epoch"] for row in table] == ["1", "2"]
    info = json.loads((folder / "run.json").read_text())
    assert (info["status"], info["seed"], info["arm"]) == ("done", 0, "adam+lrd0.3")
    assert info["compile"] is False
    assert info["data"]["train"] == 512
    config = (folder / "config.yaml").read_text()
    assert "runs_dir" not in config
    assert str(folder.parent) not in config


def test_training_learns_and_reports_true_figures(tmp_path, make):
    _, folder = make("epochs=8", "data.subset=2000", "seed=1")
    table = rows(folder)
    assert float(table[-1]["test_accuracy"]) > 80
    assert float(table[-1]["train_loss"]) < 0.5 * float(table[0]["train_loss"])
    assert float(table[-1]["train_accuracy"]) > 85


def test_a_finished_run_is_skipped_and_an_unfinished_one_made_again(make, capsys):
    make()
    status, folder = make()
    assert status == "skipped"
    info = json.loads((folder / "run.json").read_text())
    before = (folder / "metrics.csv").read_bytes()
    (folder / "run.json").write_text(json.dumps({**info, "status": "running"}))
    assert make()[0] == "done"
    assert "is unfinished: starting it again" in capsys.readouterr().out
    assert (folder / "metrics.csv").read_bytes() == before


def test_a_finished_run_of_another_configuration_is_refused_with_the_difference(make):
    _, folder = make()
    before = (folder / "metrics.csv").read_bytes()
    with pytest.raises(RecordError, match=r"epochs: 2.0 -> 3.0"):
        make("epochs=3")
    assert (folder / "metrics.csv").read_bytes() == before


def test_foreign_content_is_refused_and_left_alone(tmp_path, make):
    folder = run_folder(configure(runs_dir=tmp_path))
    folder.mkdir(parents=True)
    (folder / "thesis.tex").write_text("mine")
    with pytest.raises(RecordError, match=r"what no run has written: thesis.tex"):
        make()
    assert (folder / "thesis.tex").read_text() == "mine"
    assert not (folder / "run.json").exists()


def test_a_damaged_run_json_is_named(make):
    _, folder = make()
    (folder / "run.json").write_text('{"status": "do')
    with pytest.raises(RecordError, match=r"run.json is damaged"):
        make()


def test_two_processes_are_never_in_one_folder(tmp_path):
    config = configure(runs_dir=tmp_path)
    code = (
        "import sys, json; from experiments.record import Record\n"
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


def test_lrd_leaves_initialisation_and_batch_order_alone(make, monkeypatch):
    seen = {}

    def spy(task, model, optimizer, batches, progress):
        weights = torch.cat([p.detach().flatten() for p in model.parameters()])
        batches = list(batches)
        key = type(optimizer).__module__.split(".")[0]
        seen.setdefault(key, []).append((weights, torch.cat([b[1] for b in batches])))
        return original(task, model, optimizer, iter(batches), progress)

    original = runner.train_epoch
    monkeypatch.setattr(runner, "train_epoch", spy)
    make()
    make("lrd.enabled=true")
    base, masked = seen["torch"], seen["lrd"]
    assert torch.equal(base[0][0], masked[0][0])
    assert not torch.equal(base[1][0], masked[1][0])
    for (_, a), (_, b) in zip(base, masked, strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(base[0][1], base[1][1])  # a new order every epoch


def test_the_base_arm_is_torchs_own_optimizer():
    model = torch.nn.Linear(2, 2)
    for name, cls in [("sgdm", "SGD"), ("rmsprop", "RMSprop"), ("amsgrad", "Adam")]:
        for masked, package in [(False, "torch.optim"), (True, "lrd")]:
            config = configure(f"optimizer={name}", f"lrd.enabled={masked}", runs_dir="x")
            optimizer = runner.make_optimizer({**config}, model) if not masked else None
            if masked:
                config["lrd"]["compile"] = False
                optimizer = runner.make_optimizer(config, model)
            assert type(optimizer).__name__ == cls
            assert type(optimizer).__module__.startswith(package)


def test_published_learning_rates():
    rates = {"sgdm": 0.1, "rmsprop": 0.001, "adam": 0.001, "amsgrad": 0.001, "radam": 0.03}
    for name, rate in rates.items():
        group = runner.make_optimizer(
            configure(f"optimizer={name}", runs_dir="x"), torch.nn.Linear(2, 2)
        ).param_groups[0]
        assert group["lr"] == rate
        assert group["weight_decay"] == 0
        assert group.get("momentum", 0) == (0.9 if name == "sgdm" else 0)
        assert group.get("amsgrad", False) == (name == "amsgrad")


def test_mnist_at_paper_scale_is_the_papers(monkeypatch):
    monkeypatch.delenv("LRD_DATA", raising=False)
    config = configure("experiment=mnist", "scale=paper", runs_dir="x")
    assert (config["epochs"], config["batch_size"]) == (100, 128)
    assert config["data"]["subset"] is None
    assert config["model"]["hidden"] == 1000
    assert config["data"]["root"] == "data/raw"


@pytest.mark.parametrize("experiment", [p.stem for p in Path(CONF, "experiment").glob("*.yaml")])
@pytest.mark.parametrize("scale", ["paper", "lite", "smoke"])
@pytest.mark.parametrize("optimizer", [p.stem for p in Path(CONF, "optimizer").glob("*.yaml")])
def test_every_configuration_composes(experiment, scale, optimizer):
    config = configure(
        f"experiment={experiment}", f"scale={scale}", f"optimizer={optimizer}", runs_dir="x"
    )
    assert config["scale"] == scale


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(make, tmp_path):
    _, first = make("lrd.enabled=true", where=tmp_path / "a")
    torch.rand(7)  # whoever else draws changes nothing
    _, again = make("lrd.enabled=true", where=tmp_path / "b")
    _, other = make("lrd.enabled=true", "seed=1", where=tmp_path / "a")
    assert (first / "metrics.csv").read_bytes() == (again / "metrics.csv").read_bytes()
    assert (first / "metrics.csv").read_bytes() != (other / "metrics.csv").read_bytes()


def test_seed_0_is_a_seed():
    assert streams.derive(0, "order", 1) != streams.derive(1, "order", 1)
    draws = [torch.rand(3, generator=streams.generator(0, "order", 1)) for _ in range(2)]
    assert torch.equal(*draws)


def test_streams_differ_by_name_seed_and_counter():
    keys = [(0, "init"), (0, "order"), (1, "init"), (0, "order", 1), (0, "order", 2), (0, "mask")]
    assert len({streams.derive(*key) for key in keys}) == len(keys)


def test_a_forked_stream_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    with streams.forked(0, "init"):
        inside = torch.rand(3)
    assert torch.equal(before, torch.get_rng_state())
    with streams.forked(0, "init"):
        assert torch.equal(inside, torch.rand(3))


def test_divergence_is_recorded_with_its_epoch(make):
    status, folder = make("optimizer=sgdm", "optimizer.lr=1e30")
    assert status == "diverged"
    info = json.loads((folder / "run.json").read_text())
    assert (info["status"], info["epochs"]) == ("diverged", 1)
    assert len(rows(folder)) == 1
    assert make("optimizer=sgdm", "optimizer.lr=1e30")[0] == "skipped"


def test_a_failure_is_recorded_with_its_error(make, tmp_path, monkeypatch):
    def fail(*_):
        raise RuntimeError("the disk caught fire")

    monkeypatch.setattr(runner, "train_epoch", fail)
    with pytest.raises(RuntimeError):
        make()
    (run,) = read_runs(tmp_path, scale="smoke")
    assert run.status == "failed"
    assert run.info["error"] == "RuntimeError: the disk caught fire"
    monkeypatch.undo()
    assert make()[0] == "done"


def test_files_appear_whole(tmp_path, make, monkeypatch):
    """A write that fails half-way leaves the older file as it was."""
    _, folder = make()
    before = (folder / "run.json").read_bytes()
    record = Record(configure(runs_dir=tmp_path))

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(record_module.os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        record._write("run.json", "half")
    assert (folder / "run.json").read_bytes() == before


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("lrd.p=0", "lrd.p must be a number in (0, 1], the share of updates kept, got 0"),
        ("lrd.p=1.5", "got 1.5"),
        ("lrd.p=half", "got 'half'"),
        ("lrd.compile=maybe", "lrd.compile must be"),
        ("lrd.enabled=perhaps", "lrd.enabled must be true or false"),
        ("seed=-1", "seed must be an integer that is not negative, got -1"),
        ("epochs=0", "epochs must be a positive integer, got 0"),
        ("optimizer.lr=-1", "optimizer.lr must be a positive number"),
        ("wandb.mode=maybe", "wandb.mode must be disabled or offline or online"),
    ],
)
def test_bad_values_are_refused_before_anything_is_made(override, message, tmp_path, make):
    with pytest.raises(ConfigError) as error:
        make(override)
    assert message in str(error.value)
    assert not any(tmp_path.iterdir())


def test_read_runs_gives_scale_experiment_arm_and_seed(make, tmp_path):
    make("seed=1")
    make("lrd.enabled=true")
    found = read_runs(tmp_path, scale="smoke", experiment="digits")
    assert [(run.arm, run.seed) for run in found] == [("adam", 1), ("adam+lrd0.5", 0)]
    assert len(found[0].metrics) == 2
    assert read_runs(tmp_path, scale="paper") == []


def test_a_real_offline_wandb_run(make, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_DIR", str(tmp_path / "tracking"))
    (tmp_path / "tracking").mkdir()
    make("wandb.mode=offline", where=tmp_path / "runs")
    (log,) = (tmp_path / "tracking").glob("wandb/offline-run-*/run-*.wandb")
    content = log.read_bytes()
    for part in (b"adam seed0", b"digits-smoke", b"test_accuracy"):
        assert part in content


@pytest.mark.slow
@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("optimizer=nadam", "Could not find 'optimizer/nadam'"),
        ("experiment=imagenet", "Could not find 'experiment/imagenet'"),
        ("scale=huge", "Could not find 'scale/huge'"),
        ("lrd.p=1.5", "error: lrd.p must be a number in (0, 1]"),
        ("runs_dir=/proc/runs", "error: cannot write to the run folder"),
    ],
)
def test_the_command_ends_with_one_screen_of_error(argument, message):
    done = command("scale=smoke", argument)
    assert done.returncode == 1
    assert message in done.stdout + done.stderr
    assert len((done.stdout + done.stderr).splitlines()) <= 20


@pytest.mark.slow
def test_without_data_and_network_the_command_says_what_to_do_and_leaves_nothing(tmp_path):
    dead = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    done = command(
        "experiment=mnist",
        f"data.root={tmp_path / 'none'}",
        f"runs_dir={tmp_path / 'runs'}",
        **dead,
    )
    assert done.returncode == 1
    assert "error: no MNIST in" in done.stderr
    assert "LRD_DATA" in done.stderr
    assert len((done.stdout + done.stderr).splitlines()) <= 20
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_a_sweep_over_p_leaves_a_folder_for_each(tmp_path):
    done = command(
        "-m", "experiment=digits", "optimizer=adam", "lrd.enabled=true", "lrd.p=0.3,0.5,0.7",
        "scale=smoke", f"runs_dir={tmp_path}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    arms = sorted(path.name for path in (tmp_path / "smoke" / "digits").iterdir())
    assert arms == ["adam+lrd0.3", "adam+lrd0.5", "adam+lrd0.7"]
    assert "3 done" in done.stdout
    assert not (ROOT / "multirun.yaml").exists()


@pytest.mark.slow
def test_one_bad_run_does_not_end_a_sweep(tmp_path):
    done = command(
        "-m", "lrd.enabled=true", "lrd.p=0.5,1.5,0.7", "scale=smoke", f"runs_dir={tmp_path}"
    )
    assert done.returncode == 1
    assert "2 done, 1 failed" in done.stdout
    assert len(list(tmp_path.glob("smoke/digits/*/seed0/metrics.csv"))) == 2


@pytest.mark.slow
def test_table_1_with_joblib_gives_the_same_bytes_as_one_after_another(tmp_path):
    for launcher in ("basic", "joblib"):
        done = command(
            "+sweep=table1", "experiment=digits", "seed=0", "scale=smoke",
            f"hydra/launcher={launcher}", f"runs_dir={tmp_path / launcher}",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    files = sorted((tmp_path / "basic").rglob("metrics.csv"))
    assert len(files) == 10
    for file in files:
        twin = tmp_path / "joblib" / file.relative_to(tmp_path / "basic")
        assert file.read_bytes() == twin.read_bytes()


@pytest.mark.slow
def test_one_epoch_of_real_mnist(mnist_root, tmp_path):
    done = command(
        "experiment=mnist", "scale=lite", "epochs=1", "data.subset=null", "lrd.enabled=true",
        f"data.root={mnist_root}", f"runs_dir={tmp_path}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (run,) = read_runs(tmp_path, scale="lite")
    assert run.metrics["test_accuracy"].iloc[-1] > 95
    assert run.info["data"] == {
        "name": "MNIST", "format": "idx", "md5": "6bbc9ace898e44ae57da46a324031adb",
        "train": 60_000, "test": 10_000,
    }  # fmt: skip
