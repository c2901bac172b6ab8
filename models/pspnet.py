"""PSPNet, https://arxiv.org/abs/1612.01105, by segmentation_models_pytorch, with its second loss.

What differs from the authors' https://github.com/hszhao/semseg: torchvision's ResNet-50, whose stem
is one 7×7 convolution, instead of one with a stem of three 3×3; no batch norm after the pooling to
one bin, which leaves a single value to normalise.
"""

from __future__ import annotations

from typing import Any

import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from models.weights import hub, load_weights

STRIDE = 8  # pixels of an image per value of the dilated encoder's features
_DROPOUT = 0.1
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet


class PSPNet(nn.Module):
    """The net of segmentation_models_pytorch, and an auxiliary head on the last stage but one."""

    def __init__(self, net: smp.PSPNet, num_classes: int) -> None:
        super().__init__()
        self.net = net
        channels = net.encoder.out_channels[-2]
        self.auxiliary = nn.Sequential(
            nn.Conv2d(channels, channels // 4, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels // 4),
            nn.ReLU(inplace=True),
            nn.Dropout2d(_DROPOUT),
            nn.Conv2d(channels // 4, num_classes, 1),
        )
        self.register_buffer("mean", torch.tensor(_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(_STD).view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Logits (N, classes, H, W) of images (N, 3, H, W) in 0–1; H and W multiples of 8.

        In training also the auxiliary head's, of the same shape.
        """
        self.net.check_input_shape(images)
        features = self.net.encoder((images - self.mean) / self.std)
        logits = self.net.segmentation_head(self.net.decoder(features))
        if not self.training:
            return logits
        auxiliary = self.auxiliary(features[-2])
        size = images.shape[-2:]
        return logits, interpolate(auxiliary, size=size, mode="bilinear", align_corners=True)


def pspnet(
    num_classes: int = 21,
    encoder: str = "resnet50",
    encoder_weights: str | None = "imagenet",
    weights_file: str | None = None,
    psp_channels: int = 512,
    encoder_options: dict[str, Any] | None = None,
) -> PSPNet:
    """PSPNet on an encoder of segmentation_models_pytorch, dilated to a stride of 8 pixels.

    `encoder_weights` names weights of the library's hub, `weights_file` a file to take instead of
    them; with neither, training starts from scratch. Raises models.weights.WeightsError if they
    cannot be had.
    """
    from_hub = encoder_weights if weights_file is None else None
    with hub(encoder):
        net = smp.PSPNet(
            encoder,
            encoder_weights=from_hub,
            encoder_depth=5,
            psp_out_channels=psp_channels,
            psp_dropout=_DROPOUT,
            classes=num_classes,
            upsampling=STRIDE,
            output_stride=STRIDE,
            **(encoder_options or {}),
        )
    if weights_file is not None:
        load_weights(net.encoder, weights_file)
    return PSPNet(net, num_classes)
