"""What each process of a test of data parallelism does: torchrun replicas.py <folder> <words>.

It checks the losses of the tasks, and then is the command with these words. The later processes
draw random numbers of their own at every step. Each leaves its final weights in the folder.
"""

import random
import sys
from pathlib import Path

import torch
from torch import nn

from experiments import processes
from experiments import run as runner
from experiments.identity import arm_name
from models import fcnet as module
from models.fcnet import fcnet


class ExactFCNet(nn.Module):
    """In float64, where rounding cannot hide a mistake."""

    def __init__(self, **keywords):
        super().__init__()
        self.net = fcnet(**keywords).double()

    def forward(self, images):
        return self.net(images.double())


class TwoHeads(nn.Module):
    """Stands for PSPNet in training."""

    def __init__(self):
        super().__init__()
        self.heads = nn.ModuleList(nn.Conv2d(3, 4, 3, padding=1) for _ in range(2))

    def forward(self, images):
        return tuple(head(images) for head in self.heads)


def tasks():
    """(task, net, batch) of each, with images that have very different numbers of things."""
    from experiments.tasks import classification, detection, segmentation
    from models.ssd import ssd

    torch.manual_seed(0)
    images = torch.rand(5, 3, 64, 64, dtype=torch.float64)
    yield classification, nn.Sequential(nn.Flatten(), nn.Linear(3 * 64 * 64, 4)), (
        images, torch.tensor([0, 3, 1, 1, 2]),
    )  # fmt: skip
    masks = torch.randint(4, (5, 64, 64))
    for number, share in enumerate([0.0, 0.9, 0.1, 1.0, 0.5]):
        masks[number][torch.rand(64, 64) < share] = segmentation.IGNORE
    yield segmentation, TwoHeads(), (images, masks)
    targets = []
    for count in (1, 4, 0, 2, 7):
        corner = 30 * torch.rand(count, 2, dtype=torch.float64)
        size = 10 + 20 * torch.rand(count, 2, dtype=torch.float64)
        boxes, labels = torch.cat([corner, corner + size], dim=1), torch.randint(1, 4, (count,))
        targets.append({"boxes": boxes, "labels": labels})
    net = ssd(3, size=64, width=4, encoder_weights=None)
    for layer in net.modules():  # its statistics are each process's own
        if isinstance(layer, nn.BatchNorm2d):
            layer.train = lambda mode, layer=layer: layer
            layer.training = False
    yield detection, net, (images, targets)


def check_losses():
    """The processes' parts give the whole batch's loss, columns and gradients.

    And the first one can evaluate detections alone, by a library that would ask the others.
    """
    for task, net, batch in tasks():
        net.double()
        replica = processes.replicated(net)
        for count in (5, 1):  # of one sample, there is nothing for the later processes
            whole = tuple(each[:count] for each in batch)
            value, sums = task.loss(net, whole)
            expected = torch.autograd.grad(value, list(net.parameters()))
            mine = tuple(each[processes.part(count)] for each in whole)
            net.zero_grad()
            loss, columns = task.loss(replica, mine)
            loss, columns = processes.share(loss, columns, task.weight(net, mine), count)
            loss.backward()
            for parameter, gradient in zip(net.parameters(), expected, strict=True):
                torch.testing.assert_close(parameter.grad, gradient, rtol=1e-9, atol=1e-12)
            for name, total in columns.items():
                torch.testing.assert_close(total, sums[name].double())
            own = {"mse": loss.detach()}  # of a task without the column train_loss
            assert processes.share(loss, own, 1, count)[1].keys() == own.keys()
    for target in batch[1]:
        target["difficult"] = torch.zeros_like(target["labels"])
    assert "map50" in processes.on_first(task.evaluate)(net, [batch])


def main():
    folder = Path(sys.argv.pop(1))
    make_step, fit = runner.make_step, runner.fit

    def distracted(*arguments):
        step = make_step(*arguments)

        def draw_and_step(*more):
            for _ in range(processes.rank()):
                torch.rand(7), random.random()
            return step(*more)

        return draw_and_step

    def keep_weights(config, setting, *arguments):
        status = fit(config, setting, *arguments)
        path = folder / f"{arm_name(config)}-{processes.rank()}-of-{processes.size()}.pt"
        torch.save(setting.model.state_dict(), path)
        return status

    runner.make_step, runner.fit = distracted, keep_weights
    module.fcnet = ExactFCNet
    with processes.group():
        if processes.size() == 3:
            check_losses()
        code = runner._jobs()
    sys.exit(code)


if __name__ == "__main__":
    main()
