"""lrd's optimizers in other people's training loops: each gives what a plain loop gives."""

import warnings

import pytest
import torch
from torch import nn
from torch._dynamo.utils import counters
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Subset, TensorDataset

import lrd

pytestmark = pytest.mark.integration
STEPS, SIZE = 12, 16
OPTIMIZERS = {
    "sgdm": lambda params: lrd.SGD(params, lr=0.1, momentum=0.9, seed=3),
    "adam": lambda params: lrd.Adam(params, lr=0.01, seed=3),
    "wrapper": lambda params: lrd.LearningRateDropout(torch.optim.Adagrad(params), seed=3),
}
every_optimizer = pytest.mark.parametrize("name", OPTIMIZERS)


def net():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 4))


def data():
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(STEPS * SIZE, 10, generator=generator)
    return TensorDataset(images, images[:, :4].argmax(1))


def loader():
    return DataLoader(data(), batch_size=SIZE)


def plain(name, accumulate=1, clip=None, schedule=None):
    """The weights after a plain loop of torch."""
    model = net()
    optimizer = OPTIMIZERS[name](model.parameters())
    schedule = schedule(optimizer) if schedule else None
    for number, (images, labels) in enumerate(loader(), 1):
        (cross_entropy(model(images), labels) / accumulate).backward()
        if number % accumulate == 0:
            if clip:
                nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimizer.step()
            optimizer.zero_grad()
            if schedule:
                schedule.step()
    return list(model.parameters())


def assert_same(found, expected):
    start = list(net().parameters())
    for a, b, c in zip(found, expected, start, strict=True):
        torch.testing.assert_close(a.detach().cpu(), b.detach(), rtol=1e-5, atol=1e-6)
        assert not torch.equal(b, c)


def one_cycle(optimizer):
    """A schedule of the rate and, where there is one, of the momentum against it."""
    cycled = {"momentum", "betas"} & optimizer.param_groups[0].keys()
    return torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=0.05, total_steps=STEPS, cycle_momentum=bool(cycled)
    )


@every_optimizer
def test_accelerate_with_gradient_accumulation_clipping_and_a_schedule(name):
    accelerate = pytest.importorskip("accelerate")
    accelerate.state.AcceleratorState._reset_state(True)
    accelerator = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=3)
    model = net()
    optimizer = OPTIMIZERS[name](model.parameters())
    halve = torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.5)
    model, optimizer, batches, halve = accelerator.prepare(model, optimizer, loader(), halve)
    for images, labels in batches:
        with accelerator.accumulate(model):
            accelerator.backward(cross_entropy(model(images), labels))
            if accelerator.sync_gradients:
                accelerator.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
            halve.step()
            optimizer.zero_grad()
    steps = {"schedule": lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.5)}
    assert_same(model.parameters(), plain(name, accumulate=3, clip=0.5, **steps))


@every_optimizer
def test_lightning_fabric(name):
    fabric = pytest.importorskip("lightning").Fabric(accelerator="cpu", devices=1)
    model = net()
    model, optimizer = fabric.setup(model, OPTIMIZERS[name](model.parameters()))
    for images, labels in fabric.setup_dataloaders(loader()):
        fabric.backward(cross_entropy(model(images), labels))
        fabric.clip_gradients(model, optimizer, max_norm=0.5)
        optimizer.step()
        optimizer.zero_grad()
    assert_same(model.parameters(), plain(name, clip=0.5))


@every_optimizer
def test_lightning_trainer_and_its_checkpoint(name, tmp_path):
    """Half of the steps, a checkpoint, and the other half in another trainer."""
    lightning = pytest.importorskip("lightning")

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = net()

        def training_step(self, batch, _):
            return cross_entropy(self.net(batch[0]), batch[1])

        def configure_optimizers(self):
            optimizer = OPTIMIZERS[name](self.parameters())
            schedule = {"scheduler": one_cycle(optimizer), "interval": "step"}
            return {"optimizer": optimizer, "lr_scheduler": schedule}

    def fit(batches, resumed=None):
        module = Module()
        trainer = lightning.Trainer(
            accelerator="cpu", max_epochs=1 if resumed is None else 2, logger=False,
            enable_progress_bar=False, enable_model_summary=False, default_root_dir=tmp_path,
            enable_checkpointing=False, accumulate_grad_batches=1, gradient_clip_val=0.5,
        )  # fmt: skip
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of worker processes for the data
            trainer.fit(module, batches, ckpt_path=resumed)
        trainer.save_checkpoint(tmp_path / "half.ckpt", weights_only=False)
        return module

    half = len(data()) // 2
    parts = [Subset(data(), range(half)), Subset(data(), range(half, 2 * half))]
    fit(DataLoader(parts[0], batch_size=SIZE))
    module = fit(DataLoader(parts[1], batch_size=SIZE), resumed=tmp_path / "half.ckpt")
    assert_same(module.net.parameters(), plain(name, clip=0.5, schedule=one_cycle))


@every_optimizer
def test_a_step_that_gradscaler_skips_does_not_shift_the_masks(name):
    """Scaled gradients that overflow are thrown away, and the next step has the same mask."""
    model = net()
    optimizer = OPTIMIZERS[name](model.parameters())
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**8)
    for number, (images, labels) in enumerate(loader()):
        for overflow in (True, False) if number in (0, 4) else (False,):
            optimizer.zero_grad()
            loss = cross_entropy(model(images), labels)
            scaler.scale(loss * torch.inf if overflow else loss).backward()
            scaler.step(optimizer)
            scaler.update()
    assert scaler.get_scale() == 2.0**6
    assert_same(model.parameters(), plain(name))


@every_optimizer
def test_in_a_compiled_training_step(name):
    model = net()
    optimizer = OPTIMIZERS[name](model.parameters())

    @torch.compile
    def step(images, labels):
        optimizer.zero_grad()
        cross_entropy(model(images), labels).backward()
        optimizer.step()

    graphs = []
    for images, labels in loader():
        step(images, labels)
        graphs.append(counters["stats"]["unique_graphs"])
    assert graphs[-1] == graphs[1]  # once made, nothing is compiled anew
    assert_same(model.parameters(), plain(name))


@every_optimizer
def test_one_cycle_changes_rate_and_momentum_as_in_torch(name):
    """At keep_prob 1 the weights are those of torch's own optimizer under the same schedule."""
    torch_own = {
        "sgdm": lambda params: torch.optim.SGD(params, lr=0.1, momentum=0.9),
        "adam": lambda params: torch.optim.Adam(params, lr=0.01),
        "wrapper": torch.optim.Adagrad,
    }[name]

    def run(make):
        model = net()
        optimizer = make(model.parameters())
        schedule = one_cycle(optimizer)
        for images, labels in loader():
            optimizer.zero_grad()
            cross_entropy(model(images), labels).backward()
            optimizer.step()
            schedule.step()
        return list(model.parameters()), optimizer.param_groups[0]

    def ours(params):
        optimizer = OPTIMIZERS[name](params)
        for group in optimizer.param_groups:
            group["keep_prob"] = 1.0
        return optimizer

    expected, group = run(torch_own)
    found, own = run(ours)
    assert_same(found, expected)
    assert own["lr"] == group["lr"]
    assert own.get("momentum") == group.get("momentum")
    assert own.get("betas") == group.get("betas")
