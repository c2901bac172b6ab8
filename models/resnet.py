"""ResNet-34 for 32 × 32 images (He et al., https://arxiv.org/abs/1512.03385), from torchvision's
blocks: the paper's net for CIFAR-10, with the standard dropout of its Tables 3 and 4."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn
from torchvision.models.resnet import BasicBlock, conv1x1, conv3x3


class DropoutBlock(BasicBlock):
    """A basic block that drops units after its first ReLU, its second batch norm and a projection.

    An identity shortcut is left whole.
    """

    def __init__(self, inputs: int, planes: int, stride: int, p_sd: float) -> None:
        projection = None
        if stride != 1 or inputs != planes:
            projection = nn.Sequential(
                conv1x1(inputs, planes, stride), nn.BatchNorm2d(planes), nn.Dropout(1 - p_sd)
            )
        super().__init__(inputs, planes, stride, projection)
        self.conv2 = nn.Sequential(nn.Dropout(1 - p_sd), self.conv2)
        self.bn2 = nn.Sequential(self.bn2, nn.Dropout(1 - p_sd))


def resnet34(
    num_classes: int = 10,
    width: int = 64,
    p_sd: float = 1.0,
    blocks: Sequence[int] = (3, 4, 6, 3),
) -> nn.Sequential:
    """Images (N, 3, H, W) to logits (N, num_classes); 21,282,122 parameters at the defaults.

    The stem is a 3 × 3 convolution without pooling. The stages have `width` times 1, 2, 4 and 8
    channels, and so many `blocks` of two convolutions: (1, 1, 1, 1) makes a ResNet-10. `p_sd` is
    the probability with which standard dropout keeps a unit, in the places of the authors' code; at
    1 there is none. torch's default initialisation.
    """
    layers: list[nn.Module] = [
        conv3x3(3, width), nn.BatchNorm2d(width), nn.ReLU(inplace=True), nn.Dropout(1 - p_sd)
    ]  # fmt: skip
    inputs = width
    for stage, count in enumerate(blocks):
        planes = width << stage
        for block in range(count):
            stride = 2 if stage and not block else 1
            layers.append(DropoutBlock(inputs, planes, stride, p_sd))
            inputs = planes
    return nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, num_classes)
    )
