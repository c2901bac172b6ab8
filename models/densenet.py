"""DenseNet-121 for 32 × 32 images (Huang et al., https://arxiv.org/abs/1608.06993): the paper's net
for CIFAR-100, torchvision's with another stem."""

from __future__ import annotations

from torch import nn
from torchvision.models import DenseNet


def densenet121(num_classes: int = 100, growth_rate: int = 32) -> DenseNet:
    """Images (N, 3, H, W) to logits (N, num_classes); 7,048,548 parameters at the defaults.

    The stem is a 3 × 3 convolution to twice `growth_rate` channels and nothing else. Initialised
    as torchvision does: He's normal for convolutions.
    """
    stem = 2 * growth_rate
    net = DenseNet(growth_rate, (6, 12, 24, 16), stem, num_classes=num_classes)
    net.features.conv0 = nn.Conv2d(3, stem, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(net.features.conv0.weight)
    for name in ("norm0", "relu0", "pool0"):
        setattr(net.features, name, nn.Identity())
    return net
