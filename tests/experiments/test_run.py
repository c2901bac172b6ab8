"""The runner in this process: configuration, optimizers, training, random streams."""

import json
import re
from itertools import product
from unittest.mock import Mock

import pandas as pd
import pytest
import torch
import wandb

from experiments import run as runner
from experiments import streams, tracking
from experiments.configuration import ConfigError, choices
from experiments.setting import make_optimizer
from helpers.commands import configure, rows


def test_training_learns_and_reports_true_figures(tmp_path, make):
    _, folder = make("epochs=8", "data.subset=2000", "seed=1")
    table = rows(folder)
    assert float(table[-1]["test_accuracy"]) > 80
    assert float(table[-1]["train_loss"]) < 0.5 * float(table[0]["train_loss"])
    assert float(table[-1]["train_accuracy"]) > 85


def test_lrd_leaves_initialisation_and_batch_order_alone(make, monkeypatch):
    seen = {}

    def spy(config, setting):
        step, model, optimizer = original(config, setting), setting.model, setting.optimizer
        steps_seen = seen.setdefault(type(optimizer).__module__.split(".")[0], [])

        def spied(batch, number, count):
            weights = torch.cat([p.detach().flatten() for p in model.parameters()])
            steps_seen.append((weights, batch[1]))
            return step(batch, number, count)

        return spied

    original = runner.make_step
    monkeypatch.setattr(runner, "make_step", spy)
    make()
    make("lrd.enabled=true")
    base, masked = seen["torch"], seen["lrd"]
    assert torch.equal(base[0][0], masked[0][0])
    assert not torch.equal(base[1][0], masked[1][0])
    for (_, a), (_, b) in zip(base, masked, strict=True):
        assert torch.equal(a, b)
    epochs = [torch.cat([labels for _, labels in half]) for half in (base[:4], base[4:])]
    assert not torch.equal(*epochs)  # a new order every epoch


def test_the_base_arm_is_torchs_own_optimizer():
    model = torch.nn.Linear(2, 2)
    for name, cls in [("sgdm", "SGD"), ("rmsprop", "RMSprop"), ("amsgrad", "Adam")]:
        for masked, package in [(False, "torch.optim"), (True, "lrd")]:
            config = configure(f"optimizer={name}", f"lrd.enabled={masked}", runs_dir="x")
            optimizer = make_optimizer({**config}, model) if not masked else None
            if masked:
                config["lrd"]["compile"] = False
                optimizer = make_optimizer(config, model)
            assert type(optimizer).__name__ == cls
            assert type(optimizer).__module__.startswith(package)


def test_published_learning_rates():
    rates = {"sgdm": 0.1, "rmsprop": 0.001, "adam": 0.001, "amsgrad": 0.001, "radam": 0.03}
    for name, rate in rates.items():
        group = make_optimizer(
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


@pytest.mark.parametrize(
    ("experiment", "scale", "optimizer"),
    [
        *product(choices("experiment"), ["paper", "lite", "smoke"], ["adam"]),
        *product(["cifar10"], ["mid"], choices("optimizer")),
    ],
)
def test_every_configuration_composes(experiment, scale, optimizer):
    words = f"experiment={experiment} scale={scale} optimizer={optimizer}".split()
    config = configure(*words, runs_dir="x")
    names = config["experiment"], config["scale"], config["optimizer"]["name"]
    assert names == (experiment, scale, optimizer)


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
        ("lrd.enabled=1", "lrd.enabled must be true or false, got 1"),
        ("lrd.compile=1", "lrd.compile must be true, false or auto, got 1"),
        ("data.subset=abc", "data.subset must be null or a number, got 'abc'"),
        ("device=gpu", "device must be auto, cpu, cuda or cuda:1, got 'gpu'"),
        (
            "+optimizer.base.weight_decay=0.5",
            "hyper-parameters of both arms are set as",
        ),
        ("precision=fp8", "precision must be fp32 or tf32 or bf16, got 'fp8'"),
        ("schedule.name=linear", "schedule.name must be constant, steps, poly, cosine, or a"),
        ("schedule=null", "schedule must be a group"),
        (
            "schedule.name=steps +schedule.at=[2] +schedule.gamma=1",
            "schedule.at must be a list of fractions",
        ),
        ("regularizer.p_sd=0", "regularizer.p_sd must be a number in (0, 1]"),
        ("regularizer.p_sd=0.9", "models.fcnet.fcnet has no standard dropout"),
        ("data.standardised=no-idea", "data.standardised must be true or false, got 'no-idea'"),
        ("experiment=toy +data.standardised=false", "a task without data cannot leave pixels"),
        ("regularizer.noisy_label=1.5", "regularizer.noisy_label must be a number in [0, 1]"),
        ("regularizer.noisy_gradient=-1", "regularizer.noisy_gradient must be a variance"),
        ("regularizer.dropout_gradient=0", "regularizer.dropout_gradient must be a number"),
        ("+regularizer.cutout=8", "unknown key regularizer.cutout: regularizer has"),
        ("lrd.rescale=true", "lrd.rescale=True does nothing without lrd.enabled=true"),
        ("lrd.enabled=true lrd.authors=true", "the authors' variant is of rmsprop"),
        (
            "optimizer=rmsprop lrd.enabled=true lrd.authors=true lrd.compile=true",
            "the authors' variant has no kernel, got lrd.compile=true",
        ),
        ("experiment=toy +data.foo=3", "unknown key data.foo: data has"),
        ("device=mps", "device must be auto, cpu, cuda or cuda:1, got 'mps'"),
        ("device=meta", "device must be auto, cpu, cuda or cuda:1, got 'meta'"),
        ("experiment=pspnet data.max_side=abc", "data: data.devkit.drawn_segmentation does not"),
        ("lrd.p=0.3", "lrd.p=0.3 does nothing without lrd.enabled=true"),
        ("wandb.dir=" + "x" * 10_000, "recorded in at most 10,000 letters, this one has 1"),
        ("experiment=pspnet model.encoder=resnet999", "models.pspnet.pspnet does not take"),
        ("regularizer.noisy_label=0.1 ~model.num_classes", "it needs model.num_classes"),
        ("+lrd.warmup=100", "unknown key lrd.warmup: lrd has"),
        ("+label_smoothing=0.1", "unknown key label_smoothing: the configuration has"),
        ("+wandb.entity=me", "unknown key wandb.entity: wandb has"),
        ("+optimizer.momentun=0.9", "unknown key optimizer.momentun: torch.optim.Adam takes"),
        ("+model.depth=3", "unknown key model.depth: models.fcnet.fcnet takes num_classes"),
        ("+data.fraction=0.1", "unknown key data.fraction: data.digits.digits takes"),
        ("+schedule.half_life=3", "schedule.half_life: unknown key, constant takes no keys"),
        ("schedule.name=steps", "schedule.at is missing, which steps takes"),
        ("schedule.name=no.such.function", "there is no function 'no.such.function'"),
        ("schedule.name=cosine +schedule.floor=2", "schedule.floor must be a share"),
        ("+schedule.warmup=-1", "schedule.warmup must be a number of steps, got -1"),
        ("methods=[no_such_module]", "must be a list of modules with METHODS"),
        ("+optimizer.betas=3", "torch.optim.Adam does not take lr=0.001, betas=3"),
        ("+optimizer.eps=-1", "does not take lr=0.001, eps=-1, fused=True: Invalid epsilon"),
        ("optimizer.lr=0.1 +optimizer.weight_decay=much", "weight_decay=much"),
        ("lrd.enabled=true +optimizer.betas=[0.9]", "lrd.Adam does not take"),
        ("optimizer=sgdm optimizer.momentum=-1", "Invalid momentum value: -1"),
        ("model.hidden=many", "model: models.fcnet.fcnet does not take"),
        ("optimizer.name=nadam", "optimizer 'nadam' has no file conf/optimizer/nadam.yaml"),
        ("methods=[json]", "must be a list of modules with METHODS"),
        ("experiment=toy scale=lite", "experiment toy does not say what its scale lite is"),
        ("lrd.enabled=true lrd.rescale=true lr_scale=0.5", "choose one control for a run"),
    ],
)
def test_bad_values_are_refused_before_anything_is_made(override, message, tmp_path, make):
    with pytest.raises(ConfigError) as error:
        make(*override.split())
    assert message in str(error.value)
    assert not any(tmp_path.iterdir())


@pytest.fixture
def offline(tmp_path):
    """The words that run with W&B offline: by `dir`, since a process reads WANDB_DIR only once."""
    (tmp_path / "tracking").mkdir()
    return ["wandb.mode=offline", f"+wandb.dir={tmp_path / 'tracking'}"]


@pytest.fixture
def tracked(tmp_path):
    """The contents of W&B's offline logs, by the id of their run, in the order of their start."""

    def read():
        logs = sorted((tmp_path / "tracking").glob("wandb/offline-run-*/run-*.wandb"))
        return [(log.stem.removeprefix("run-"), log.read_bytes()) for log in logs]

    return read


def epochs_of(log):
    """The epochs, at their steps, of a log's rows."""
    number = rb"epoch\x82\x01.(\d+)"
    return sorted({int(epoch) for epoch in re.findall(number, log, re.S)})


def test_online_without_a_key_is_refused_before_data_are_loaded(make, tmp_path, monkeypatch):
    tracking._obstacle.cache_clear()
    monkeypatch.setattr(wandb, "login", refuse := Mock(side_effect=wandb.Error("No key.\nMore")))
    monkeypatch.setattr(runner, "prepare", Mock(side_effect=AssertionError))
    for seed in (0, 1):  # a sweep asks once
        with pytest.raises(ConfigError) as error:
            make("wandb.mode=online", f"seed={seed}")
        assert str(error.value) == (
            "wandb.mode=online: No key. Log in with `wandb login`, or set wandb.mode=offline and "
            "upload with `wandb sync` later"
        )
    assert refuse.call_count == 1
    assert not any(tmp_path.iterdir())
    tracking._obstacle.cache_clear()


@pytest.mark.usefixtures("finished")
def test_a_finished_run_says_that_nothing_is_logged(make, capsys):
    assert make("wandb.mode=offline")[0] == "skipped"
    assert "is done already, and nothing is logged of it" in capsys.readouterr().out


def test_a_resumed_run_goes_on_in_the_same_wandb_run(interrupted_at, offline, tracked, tmp_path):
    """All its epochs are in the later one of two logs of one id, which replaces the earlier."""
    words = [*offline, "epochs=3", "checkpoint_minutes=1e-9"]
    interrupted_at(9, *words, where=tmp_path / "runs")  # in epoch 2
    interrupted_at(None, *words, where=tmp_path / "runs")
    (first, before), (second, after) = tracked()
    assert first == second
    (table,) = tmp_path.glob("tracking/wandb/offline-run-*/files/media/table/metrics_*.table.json")
    content = json.loads(table.read_text())
    assert content["columns"][:2] == ["epoch", "lr"]
    assert [row[0] for row in content["data"]] == [1, 2, 3]
    metrics = pd.read_csv(next((tmp_path / "runs").rglob("metrics.csv")))
    assert [row[5] for row in content["data"]] == metrics["test_accuracy"].tolist()
    assert [epochs_of(log) for log in (before, after)] == [[1], [1, 2, 3]]
    assert b"digits-smoke" in after
    assert b"curves/test_accuracy" in after
    assert b"curves/test_accuracy" not in before


def test_after_a_failed_run_the_next_has_a_wandb_run_of_its_own(
    make, offline, tracked, tmp_path, monkeypatch
):
    def fail(*_):
        raise RuntimeError("the disk caught fire")

    with monkeypatch.context() as broken:
        broken.setattr(runner, "train_epoch", fail)
        with pytest.raises(RuntimeError, match="fire"):
            make(*offline, where=tmp_path / "runs")
    make(*offline, "seed=1", where=tmp_path / "runs")
    logs = [content for _, content in tracked()]
    assert len(logs) == 2
    assert sorted(b"test_accuracy" in log for log in logs) == [False, True]
    assert sorted(b"adam seed1" in log for log in logs) == [False, True]
