"""FCNet: the paper's fully connected net for MNIST (section 4.1)."""

from __future__ import annotations

from torch import nn


def fcnet(num_classes: int = 10, inputs: int = 784, hidden: int = 1000) -> nn.Sequential:
    """Two hidden layers of `hidden` rectified linear units: images (N, …) to logits (N, classes).

    1,796,010 parameters at the defaults, with torch's initialisation (the paper names none).
    """
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(inputs, hidden),
        nn.ReLU(),
        nn.Linear(hidden, hidden),
        nn.ReLU(),
        nn.Linear(hidden, num_classes),
    )
