"""The rival methods and the controls: what their formulas say, and the mistakes made with them."""

import math
import sys
import types

import pytest
import torch

import lrd
from experiments import methods, optimizers, streams
from experiments.loop import epoch_batches, make_step
from experiments.schedule import factor_function, scheduler
from experiments.setting import Setting, build, make_optimizer
from experiments.tasks import classification
from helpers.commands import configure, rows


def generator(seed):
    return torch.Generator().manual_seed(seed)


def test_noisy_labels_are_of_the_other_classes_uniformly():
    clean = torch.arange(5).repeat(40_000)
    noisy = methods.noisy_labels(clean, 0.2, 5, generator(0))
    confusion = torch.zeros(5, 5).index_put_((clean, noisy), torch.ones(len(clean)), True) / 40_000
    expected = torch.full((5, 5), 0.2 / 4).fill_diagonal_(0.8)
    assert (confusion - expected).abs().max() < 5 * (0.16 / 40_000) ** 0.5


def test_labels_are_disturbed_anew_in_every_epoch_and_never_at_test(tmp_path, monkeypatch):
    config = configure("regularizer.noisy_label=0.5", "data.subset=512", runs_dir=tmp_path)
    train, test = build(config["data"]).loaders(512, torch.device("cpu"))
    (images, first), (again, second) = (
        next(iter(epoch_batches(config, train, epoch))) for epoch in (1, 2)
    )
    clean = {
        image.numpy().tobytes(): label
        for image, label in zip(train.images, train.labels, strict=True)
    }
    for drawn, labels in ((images, first), (again, second)):
        truth = torch.stack([clean[image.numpy().tobytes()] for image in drawn])
        assert 0.4 < (labels != truth).float().mean() < 0.6
    by_image = dict(zip((image.numpy().tobytes() for image in images), first, strict=True))
    before = torch.stack([by_image[image.numpy().tobytes()] for image in again])
    assert 0.5 < (before != second).float().mean() < 0.9  # 1 − 0.5² − 0.5² / 9 = 0.72
    assert torch.equal(next(iter(test))[1], test.labels)


@pytest.mark.parametrize("step", [0, 1, 10, 1000])
def test_the_gradient_noises_variance_follows_its_schedule(step):
    gradients = [torch.ones(300, 500), torch.ones(50_000)]
    methods.add_noise(gradients, 0.1, seed=3, step=step)
    noise = torch.cat([each.flatten() - 1 for each in gradients])
    variance = 0.1 / (1 + step) ** 0.55
    n = len(noise)
    assert abs(noise.mean()) < 4 * (variance / n) ** 0.5
    assert abs(noise.var() / variance - 1) < 4 * (2 / n) ** 0.5


def test_gradient_noise_differs_by_coordinate_parameter_and_step_and_repeats_by_seed():
    def noise(seed, step):
        gradients = [torch.zeros(1000), torch.zeros(1000)]
        methods.add_noise(gradients, 0.1, seed, step)
        return gradients

    first, second = noise(0, 0)
    assert len(first.unique()) > 990
    for other in (second, noise(0, 1)[0], noise(1, 0)[0]):
        assert abs(torch.corrcoef(torch.stack([first, other]))[0, 1]) < 0.15
    assert torch.equal(first, noise(0, 0)[0])


def test_gradient_dropout_starves_the_accumulators_and_lrd_does_not():
    """After one Adam step: DG's moments are zero where it dropped, LRD's are full everywhere."""
    gradient = torch.rand(10_000) + 0.1

    def moments(optimizer_class, gradients_kept, **more):
        W = torch.nn.Parameter(torch.zeros(10_000))
        W.grad = gradient.clone()
        methods.drop_gradients([W.grad], gradients_kept, seed=0, step=0)
        optimizer = optimizer_class([W], **more)
        optimizer.step()
        state = optimizer.state[W]
        return W.detach(), state["exp_avg"], state["exp_avg_sq"]

    W, M, V = moments(torch.optim.Adam, 0.5)
    assert ((M == 0) == (V == 0)).all()
    assert abs((M == 0).float().mean() - 0.5) < 0.02
    assert ((W == 0) == (M == 0)).all()
    kept = M != 0
    torch.testing.assert_close(M[kept], 0.1 * gradient[kept])  # no rescale
    W, M, V = moments(lrd.Adam, 1.0, keep_prob=0.5, compile=False)
    torch.testing.assert_close(M, 0.1 * gradient)
    torch.testing.assert_close(V, 0.001 * gradient**2)
    assert abs((W == 0).float().mean() - 0.5) < 0.02


def test_gradient_dropout_draws_anew_at_every_step_and_not_lrds_mask():
    def mask(step):
        gradient = torch.ones(10_000)
        methods.drop_gradients([gradient], 0.5, seed=0, step=step)
        return gradient.bool()

    ours = lrd.keep_mask(10_000, 0.5, seed=streams.derive(0, "mask"), step=0, index=0)
    for other in (mask(1), ours):
        assert 0.45 < (mask(0) == other).float().mean() < 0.55


@pytest.mark.parametrize(
    "method",
    ["noisy_label=0.3", "noisy_gradient=0.1", "dropout_gradient=0.5"],
)
def test_a_rival_method_changes_the_training_and_nothing_before_it(make, method):
    """The same net sees the same images first, with and without the method."""
    tables = [rows(make(*words)[1]) for words in ([], [f"regularizer.{method}"])]
    assert tables[0] != tables[1]
    config = configure(f"regularizer.{method}", runs_dir="x")
    train, _ = build(config["data"]).loaders(64, torch.device("cpu"))
    plain = configure(runs_dir="x")
    for ours, base in zip(
        epoch_batches(config, train, 1), epoch_batches(plain, train, 1), strict=True
    ):
        assert torch.equal(ours[0], base[0])


def test_rescaled_updates_are_those_of_lrd_over_p():
    steps = []
    for rescale in ("false", "true"):
        config = configure(
            "optimizer=sgdm", "lrd.enabled=true", "lrd.p=0.25", f"lrd.rescale={rescale}",
            "lrd.compile=false", runs_dir="x",
        )  # fmt: skip
        net = torch.nn.Linear(50, 50)
        torch.nn.init.zeros_(net.weight)
        net.weight.grad = torch.ones(50, 50)
        make_optimizer(config, net).step()
        steps.append(net.weight.detach().clone())
    torch.testing.assert_close(steps[1], steps[0] / 0.25)


def test_the_lr_scaled_control_is_the_plain_optimizer_at_a_smaller_rate():
    config = configure("optimizer=adam", "lr_scale=0.5", runs_dir="x")
    optimizer = make_optimizer(config, torch.nn.Linear(2, 2))
    assert type(optimizer) is torch.optim.Adam
    assert optimizer.param_groups[0]["lr"] == 0.0005


def authors_step(W, G, V, D, lr=1e-3, alpha=0.99, eps=1e-8, decay=0.1):
    G_decayed = G + decay * W
    V = alpha * V + (1 - alpha) * G_decayed**2
    return W - lr * D * G / (V.sqrt() + eps), V


def test_the_authors_rmsprop_decays_its_second_moment_and_not_its_weights():
    parameter = torch.nn.Parameter(torch.randn(100, generator=generator(0)))
    optimizer = optimizers.AuthorsRMSprop(
        [parameter], lr=1e-3, weight_decay=0.1, keep_prob=0.5, seed=7
    )
    W, V = parameter.detach().clone(), torch.zeros(100)
    for step in range(5):
        G = torch.randn(100, generator=generator(step))
        D = lrd.keep_mask(100, 0.5, seed=7, step=step, index=0)
        W, V = authors_step(W, G, V, D)
        parameter.grad = G
        optimizer.step()
        torch.testing.assert_close(parameter.detach(), W)
    plain = torch.nn.Parameter(torch.ones(100))
    plain.grad = torch.zeros(100)
    optimizers.AuthorsRMSprop([plain], lr=1e-3, weight_decay=0.1, keep_prob=1.0, seed=0).step()
    assert torch.equal(plain.detach(), torch.ones(100))


def test_the_authors_rmsprop_is_chosen_by_its_flag():
    words = ["optimizer=rmsprop", "lrd.enabled=true", "lrd.authors=true", "experiment=cifar10"]
    optimizer = make_optimizer(configure(*words, runs_dir="x"), torch.nn.Linear(2, 2))
    assert type(optimizer) is optimizers.AuthorsRMSprop
    assert optimizer.param_groups[0]["weight_decay"] == 0.0005


def test_the_rate_drops_after_half_and_three_quarters_of_the_epochs():
    schedule = {"name": "steps", "at": [0.5, 0.75], "gamma": 0.1}
    rates = [factor_function(schedule)(391 * epoch, 391, 200) for epoch in range(200)]
    assert rates[:100] == [1] * 100
    assert rates[100:150] == pytest.approx([0.1] * 50)
    assert rates[150:] == pytest.approx([0.01] * 50)
    assert factor_function(schedule)(391 * 100 - 1, 391, 200) == 1


def test_the_rate_does_not_drop_before_the_first_epoch_ends_or_an_epoch_early():
    def rates(at, epochs):
        schedule = {"name": "steps", "at": at, "gamma": 0.1}
        return [factor_function(schedule)(epoch, 1, epochs) for epoch in range(epochs)]

    assert rates([0.5, 0.75], 1) == [1]
    assert rates([0.29], 100).index(0.1) == 29  # 0.29 · 100 is 28.999999999999996


def test_poly_falls_at_every_step_to_nothing():
    schedule = {"name": "poly", "power": 0.9}
    rates = [factor_function(schedule)(step, 10, 5) for step in range(51)]
    assert rates[0] == 1
    assert rates[25] == pytest.approx(0.5**0.9)
    assert rates == sorted(rates, reverse=True)
    assert rates[50] == 0


def test_warmup_rises_linearly_to_the_schedule():
    schedule = {"name": "constant", "warmup": 4}
    assert [factor_function(schedule)(step, 10, 5) for step in range(6)] == [
        0.25,
        0.5,
        0.75,
        1,
        1,
        1,
    ]


def test_cosine_falls_from_1_to_its_floor():
    rates = [factor_function({"name": "cosine", "floor": 0.1})(step, 10, 5) for step in range(51)]
    assert rates[0] == 1
    assert rates[25] == pytest.approx(0.55)
    assert rates[50] == pytest.approx(0.1)
    assert rates == sorted(rates, reverse=True)


def halving(step, steps, epochs, *, every):
    return 0.5 ** (step // every)


def test_a_schedule_of_ones_own_is_a_function(monkeypatch):
    monkeypatch.setitem(sys.modules, "own_schedules", types.SimpleNamespace(halving=halving))
    schedule = {"name": "own_schedules.halving", "every": 4, "gamma": 0.1}
    assert [factor_function(schedule)(step, 10, 5) for step in (0, 3, 4, 8)] == [1, 1, 0.5, 0.25]


def test_the_recorded_rate_is_the_schedules(make):
    _, folder = make(
        "epochs=4", "schedule.name=steps", "+schedule.at=[0.5,0.75]", "+schedule.gamma=0.1"
    )
    rates = [float(row["lr"]) for row in rows(folder)]
    assert rates == pytest.approx([1e-3, 1e-3, 1e-4, 1e-5])


def test_a_method_of_ones_own_may_belong_to_the_mask(make, monkeypatch):
    """Its base arm, which has no mask, is run without it."""
    warm = methods.Method("lrd.warm", "warm", 0, methods.is_number, "a number")
    monkeypatch.setitem(sys.modules, "own_methods", types.SimpleNamespace(METHODS=[warm]))
    status, folder = make("methods=[own_methods]")
    assert (status, folder.parent.name) == ("done", "adam")
    _, masked = make("methods=[own_methods]", "lrd.enabled=true", "+lrd.warm=3")
    assert masked.parent.name == "adam+lrd0.5+warm3"


@pytest.mark.slow
@pytest.mark.parametrize("experiment", ["cifar10", "cifar100"])
def test_two_full_size_steps_at_paper_scale(experiment):
    words = [f"experiment={experiment}", "scale=paper", "optimizer=sgdm", "optimizer.lr=0.01"]
    config = configure(*words, "lrd.enabled=true", "lrd.compile=false", runs_dir="x")
    torch.manual_seed(0)
    net = build(config["model"])
    optimizer = make_optimizer(config, net)
    schedule = scheduler(config["schedule"], optimizer, 391, 200)
    cpu = torch.device("cpu")
    setting = Setting(cpu, classification, None, None, {}, net, optimizer, schedule)
    step = make_step(config, setting)
    batch = torch.randn(128, 3, 32, 32), torch.arange(128) % 10
    first, second = (float(step(batch, number, 128)["train_loss"]) / 128 for number in range(2))
    assert first == pytest.approx(math.log(config["model"]["num_classes"]), rel=0.25)
    assert second < first
