"""The task of language modelling: it learns, resumes, and records how far updates go."""

import hashlib

import pytest
import torch

from data import shakespeare
from experiments import methods, streams
from experiments.choice import NoChoice
from experiments.configuration import ConfigError
from experiments.identity import arm_name, config_hash
from experiments.optimizers import MuonAdamW
from experiments.setting import make_optimizer
from experiments.validate import check, resolve
from helpers.commands import configure, rows
from models.gpt import gpt
from tests.experiments.test_resume import check_exact_resume

LANGUAGE = ("experiment=language", "optimizer=adamw")
SENTENCE = "To be, or not to be, that is the question:\nWhether 'tis nobler in the mind to suffer\n"


@pytest.fixture(autouse=True)
def text(tmp_path_factory, monkeypatch):
    """A text of few sentences in the place of Shakespeare's, so that no download is needed."""
    root = tmp_path_factory.mktemp("data")
    (root / "shakespeare").mkdir()
    (root / "shakespeare" / "input.txt").write_text(100 * SENTENCE)
    digest = hashlib.md5((100 * SENTENCE).encode()).hexdigest()
    monkeypatch.setattr(shakespeare, "_MD5", digest)
    monkeypatch.setenv("LRD_DATA", str(root))


def test_it_learns_at_smoke_scale(make):
    words = ("optimizer.lr=0.01", "data.steps=40", "epochs=3", "model.width=32")
    status, folder = make(*LANGUAGE, *words)
    table = rows(folder)
    assert status == "done"
    assert list(table[0]) == ["epoch", "lr", "train_loss", "mean_step", "val_loss", "test_loss"]
    for column in ("train_loss", "val_loss", "test_loss"):
        losses = [float(row[column]) for row in table]
        assert losses == sorted(losses, reverse=True)
    assert losses[0] < 4.1  # of 65 characters alike it is 4.17
    assert losses[-1] < 2


ARMS = {
    "adamw": ([], 1),
    "adamw+lrd0.5": (["lrd.enabled=true"], 0.5),
    "adamw+lrd0.5+row": (["lrd.enabled=true", "lrd.mask=row"], 0.5),
    "adamw+lrd0.5+tensor": (["lrd.enabled=true", "lrd.mask=tensor"], 0.5),
    "adamw+lrd0.5+rescale": (["lrd.enabled=true", "lrd.rescale=true"], 1),
    "adamw+lrd0.5+tensor+rescale": (["arm=skip_tensor"], 1),
    "adamw+magma0.5": (["arm=magma"], 0.6),  # of embeddings, half of this small net, it is 1
    "adamw+magma1": (["arm=magma_scale"], 0.75),
    "adamw+cautious": (["arm=cautious"], 1),
    "adamw+cautious_decay": (["arm=cautious_decay"], 1),
    "adamw+noise0.5": (["arm=noise"], 0.56),  # the mean of |ξ|, ξ ~ N(1/2, 1/4)
    "adamw+lr0.5": (["lr_scale=0.5"], 1),
    "adamw+clip0.5": (["regularizer.clip=0.5"], 1),
}


@pytest.mark.parametrize("arm", ARMS)
def test_every_arm_has_its_name_and_its_mean_step(make, arm):
    words, expected = ARMS[arm]
    _, folder = make(*LANGUAGE, *words, "data.steps=30")
    assert folder.parent.name == f"{arm}+data.steps=30"
    steps = [float(row["mean_step"]) for row in rows(folder)]
    assert sum(steps) / len(steps) == pytest.approx(expected, rel=0.25 if "+" in arm else 1e-6)


def test_elementwise_masks_halve_the_mean_step_and_rescaled_ones_are_at_twice_the_rate(make):
    half, rescaled = (
        rows(make(*LANGUAGE, "optimizer=rmsprop", "lrd.enabled=true", *words)[1])
        for words in (["optimizer.lr=0.002"], ["lrd.rescale=true"])
    )
    for one, other in zip(half, rescaled, strict=True):
        assert float(one["val_loss"]) == pytest.approx(float(other["val_loss"]), abs=1e-4)
        assert float(one["mean_step"]) == pytest.approx(0.5, abs=0.02)
        assert float(other["mean_step"]) == pytest.approx(1, abs=0.04)


@pytest.mark.parametrize("words", [[], ["optimizer=muon"], ["arm=magma"], ["arm=skip_tensor"]])
def test_it_goes_on_inside_an_epoch_to_the_same_bits(interrupted_at, tmp_path, words):
    check_exact_resume(interrupted_at, tmp_path, [3, 9], *LANGUAGE, *words, "model.dropout=0.2")


def test_muon_takes_the_blocks_matrices_and_adamw_the_rest_at_one_rate():
    torch.manual_seed(0)
    model = gpt(context=16, layers=1, heads=2, width=16)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = MuonAdamW(model.parameter_groups(), lr=0.01, weight_decay=0.0)
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    optimizer.step()
    for name, parameter in model.named_parameters():
        moved = (parameter.detach() - before[name]) / 0.01
        state = optimizer.state[parameter]
        if name.startswith("blocks") and parameter.ndim == 2:
            assert set(state) == {"momentum_buffer"}
            values = torch.linalg.svdvals(moved) / (0.2 * max(moved.shape) ** 0.5)
            assert 0.5 < values.min() < values.max() < 1.5  # all directions go as far
        else:
            assert "exp_avg_sq" in state
            torch.testing.assert_close(moved.abs(), torch.ones_like(moved), rtol=1e-3, atol=1e-3)
    again = MuonAdamW(model.parameter_groups(), lr=0.01)
    again.load_state_dict(optimizer.state_dict())
    again.step()
    assert all(again.state[p] for p in model.parameters())


def test_magma_leaves_embeddings_to_the_base_and_draws_from_the_runs_own_masks():
    config = resolve(configure(*LANGUAGE, "arm=magma", runs_dir="x"))
    optimizer = make_optimizer(config, gpt(context=16, layers=1, heads=2, width=16))
    masked = [group.get("masked", True) for group in optimizer.param_groups]
    assert masked == [True, False, True]
    assert optimizer.param_groups[0]["mask_seed"] == streams.derive(0, "mask")


def test_clipping_scales_all_gradients_by_one_number():
    gradients = [torch.tensor([3.0, 0.0]), torch.tensor([[4.0]])]
    methods.clip(gradients, 1.0, seed=0, step=0)
    torch.testing.assert_close(gradients, [torch.tensor([0.6, 0.0]), torch.tensor([[0.8]])])
    methods.clip(gradients, 2.0, seed=0, step=0)
    torch.testing.assert_close(gradients[1], torch.tensor([[0.8]]))


def test_an_experiments_own_clipping_is_in_its_hash_and_in_no_name():
    plain, off = (
        configure(*LANGUAGE, *words, runs_dir="x") for words in ([], ["regularizer.clip=inf"])
    )
    assert (arm_name(plain), arm_name(off)) == ("adamw", "adamw+clipinf")
    assert config_hash(plain) != config_hash(off)


GRID = ("optimizer.lr=0.0005", "optimizer.lr=0.001", "optimizer.lr=0.004")


def grid(make, *words, seeds=(0, 1), rates=GRID):
    return {
        (rate, seed): rows(make(*LANGUAGE, *words, rate, f"seed={seed}")[1])[-1]
        for rate in rates
        for seed in seeds
    }


def recorded_rate(folder):
    (line,) = [at for at in (folder / "config.yaml").read_text().splitlines() if "  lr: " in at]
    return float(line.split()[-1])


def test_the_best_rate_is_chosen_by_validation_with_seeds_that_are_not_used_again(make):
    ends = grid(make)
    by_rate = {rate: sum(float(ends[rate, s]["val_loss"]) for s in (0, 1)) for rate in GRID}
    best = float(min(by_rate, key=by_rate.get).partition("=")[2])
    _, folder = make(*LANGUAGE, "best_rate=true", "seed=10")
    assert folder.parent.name == "adamw+best"
    assert recorded_rate(folder) == best
    make(*LANGUAGE, "optimizer.lr=0.002", "seed=12")  # a seed other than 0 and 1 chooses nothing
    assert make(*LANGUAGE, "best_rate=true", "seed=10")[0] == "skipped"
    with pytest.raises(ConfigError, match="seed must be at least 10 with best_rate=true, got 1"):
        make(*LANGUAGE, "best_rate=true", "seed=1")
    with pytest.raises(ConfigError, match=r"chooses optimizer\.lr: leave one of them out"):
        make(*LANGUAGE, "best_rate=true", "seed=10", "optimizer.lr=0.5")


def test_without_a_whole_grid_nothing_is_chosen(make):
    for seeds, rates in (((), GRID), ((0,), GRID[:1]), ((1,), GRID[1:])):
        grid(make, seeds=seeds, rates=rates)
        with pytest.raises(NoChoice, match="no best rate of adamw: it needs runs at several rates"):
            make(*LANGUAGE, "best_rate=true", "seed=10")


def test_the_base_is_run_where_its_mean_step_is_the_arms(make):
    grid(make, "arm=magma", seeds=(0,))
    words = ("best_rate=true", "seed=10")
    _, magma = make(*LANGUAGE, "arm=magma", *words)
    _, base = make(*LANGUAGE, "arm=step_of_magma", *words)
    assert (magma.parent.name, base.parent.name) == (
        "adamw+magma0.5+best",
        "adamw+step_of_magma0.5+best",
    )
    name = f"adamw+magma0.5+lr={recorded_rate(magma):g}".replace("+lr=0.001", "")
    steps = [float(row["mean_step"]) for row in rows(base.parents[1] / name / "seed0")]
    expected = recorded_rate(magma) * sum(steps) / len(steps)
    assert recorded_rate(base) == pytest.approx(expected, rel=1e-3)
    assert float(rows(base)[-1]["mean_step"]) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["step_of=magma0.5"], "step_of=magma0.5: it needs best_rate=true"),
        (["step_of=a+b", "best_rate=true"], "step_of must be a method of an arm's name"),
        (["update.magma=2"], r"update.magma must be a number in \[0, 1\]"),
        (["update.noise=false"], r"update.noise must be a number in \[0, 1\]"),
        (["lrd.enabled=true", "update.noise=0.5"], "instead of learning rate dropout"),
        (["lrd.enabled=true", "lrd.mask=column"], "lrd.mask must be one of element, row, tensor"),
        (["lrd.mask=row"], "lrd.mask=row does nothing without lrd.enabled=true"),
        (["regularizer.clip=0"], "regularizer.clip must be a positive number"),
    ],
)
def test_what_makes_no_sense_is_refused(words, message):
    with pytest.raises(ConfigError, match=message):
        check(configure(*LANGUAGE, *words, runs_dir="x"))
