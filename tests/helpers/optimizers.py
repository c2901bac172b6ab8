"""The optimizers in their variants, and a small net that they train."""

import torch
from torch import nn

import lrd

CASES = {
    "sgd": (lrd.SGD, dict(lr=0.1)),
    "sgdm": (lrd.SGD, dict(lr=0.1, momentum=0.9, weight_decay=5e-4)),
    "sgdm damped": (lrd.SGD, dict(lr=0.1, momentum=0.9, dampening=0.3)),
    "nesterov": (lrd.SGD, dict(lr=0.1, momentum=0.9, nesterov=True)),
    "rmsprop": (lrd.RMSprop, dict(lr=1e-3, weight_decay=5e-4)),
    "rmsprop centered": (lrd.RMSprop, dict(lr=1e-3, centered=True)),
    "rmsprop momentum": (lrd.RMSprop, dict(lr=1e-4, momentum=0.9, centered=True)),
    "adam": (lrd.Adam, dict(weight_decay=5e-4)),
    "amsgrad": (lrd.Adam, dict(amsgrad=True)),
    "adam decoupled": (lrd.Adam, dict(weight_decay=0.1, decoupled_weight_decay=True)),
    "adamw": (lrd.AdamW, dict(weight_decay=0.1)),
    "adamw amsgrad up": (lrd.AdamW, dict(amsgrad=True, maximize=True, lr=1e-4)),
    "radam": (lrd.RAdam, dict(lr=0.03)),
    "radam decoupled": (lrd.RAdam, dict(weight_decay=0.1, decoupled_weight_decay=True)),
}
if "decoupled_weight_decay" not in torch.optim.Adam([torch.zeros(1)]).defaults:  # before 2.7
    del CASES["adam decoupled"]
RULES = ["sgdm", "rmsprop", "adam", "amsgrad", "adamw", "radam"]


def net(dtype=torch.float32):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(20, 30), nn.Tanh(), nn.Linear(30, 3)).to(dtype)


def train(model, optimizer, steps, first=0, dtype=torch.float32):
    """Fixed batches, so that two optimizers see the same ones; returns the flat weights."""
    for step in range(first, first + steps):
        torch.manual_seed(1000 + step)
        images, targets = torch.randn(16, 20, dtype=dtype), torch.randn(16, 3, dtype=dtype)
        optimizer.zero_grad()
        ((model(images) - targets) ** 2).mean().backward()
        optimizer.step()
    return weights(model)


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()]).clone()


def torch_twin(cls):
    return getattr(torch.optim, cls.__name__)
