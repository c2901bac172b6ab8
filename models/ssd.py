"""SSD, https://arxiv.org/abs/1512.02325, by torchvision: heads, matching and losses are its own.

What differs from the authors' https://github.com/weiliu89/caffe/tree/ssd: fc6 and fc7 start from
Xavier's initialisation instead of thinned out layers of the pretrained VGG, and no layer is frozen.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torchvision.models import VGG16_Weights, vgg16
from torchvision.models.detection.anchor_utils import DefaultBoxGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.ssd import SSD as TorchvisionSSD
from torchvision.models.detection.ssd import SSDFeatureExtractorVGG, SSDHead
from torchvision.ops import box_iou

from models.weights import hub, load_weights

Targets = list[dict[str, Tensor]]

SCALES = [0.1, 0.2, 0.37, 0.54, 0.71, 0.88, 1.05]  # of the image's side, for VOC
ASPECT_RATIOS = [[2], [2, 3], [2, 3], [2, 3], [2], [2]]
STEPS_300 = [8, 16, 32, 64, 100, 300]  # pixels between the centres, for images of 300 by 300
_VGG_MEAN = [0.48235, 0.45882, 0.40784]
_VGG_STD = [1 / 255] * 3  # the weights that come from Caffe want 0–255
_MEAN, _STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


class SSD(TorchvisionSSD):
    """torchvision's, for batches that are resized already, and with losses in either mode.

    `matched` is the number of default boxes that the last losses were means over.
    """

    matched: Tensor

    def __init__(
        self,
        extractor: nn.Module,
        channels: list[int],
        size: int,
        num_classes: int,
        steps: list[int] | None,
        mean: list[float],
        std: list[float],
    ) -> None:
        per_location = [2 + 2 * len(ratios) for ratios in ASPECT_RATIOS]
        super().__init__(
            extractor,
            DefaultBoxGenerator(ASPECT_RATIOS, scales=SCALES, steps=steps, clip=False),
            (size, size),
            num_classes + 1,
            head=SSDHead(channels, per_location, num_classes + 1),
        )
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)

    def forward(
        self, images: Tensor, targets: Targets | None = None
    ) -> tuple[dict[str, Tensor], Targets]:
        """The two losses if there are targets, and the detections unless in training.

        Images (N, 3, S, S) in 0–1. Targets have boxes (K, 4) in pixels and labels (K,) from 1;
        detections also scores (K,).
        """
        features = list(self.backbone((images - self.mean) / self.std).values())
        outputs = self.head(features)
        sizes = [tuple(images.shape[-2:])] * len(images)
        boxes = self.anchor_generator(ImageList(images, sizes), features)
        losses = {} if targets is None else self._losses(targets, outputs, boxes)
        detections = [] if self.training else self.postprocess_detections(outputs, boxes, sizes)
        return losses, detections

    def _losses(
        self, targets: Targets, outputs: dict[str, Tensor], boxes: list[Tensor]
    ) -> dict[str, Tensor]:
        matches = [
            self.proposal_matcher(box_iou(target["boxes"], default))
            if len(target["boxes"])
            else torch.full((len(default),), -1, device=default.device)
            for target, default in zip(targets, boxes, strict=True)
        ]
        self.matched = sum((match >= 0).sum() for match in matches)
        return self.compute_loss(targets, outputs, boxes, matches)


class NarrowExtractor(nn.Module):
    """Six feature maps, each half as large as the one before, from an eighth of the image on.

    The last three have no batch norm: of one image it cannot normalise a single value.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.out_channels = [4 * width] * 6
        self.stem = nn.Sequential(
            _convolution(3, width, stride=2),
            _convolution(width, width),
            _convolution(width, 2 * width, stride=2),
            _convolution(2 * width, 2 * width),
        )
        inputs = [2 * width, *self.out_channels[1:]]
        self.stages = nn.ModuleList(
            nn.Sequential(
                _convolution(before, after, stride=2, normalise=number < 3),
                _convolution(after, after, normalise=number < 3),
            )
            for number, (before, after) in enumerate(zip(inputs, self.out_channels, strict=True))
        )

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        maps, features = OrderedDict(), self.stem(images)
        for stage in self.stages:
            maps[str(len(maps))] = features = stage(features)
        return maps


def _convolution(
    inputs: int, outputs: int, stride: int = 1, normalise: bool = True
) -> nn.Sequential:
    layers = [nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=not normalise)]
    if normalise:
        layers.append(nn.BatchNorm2d(outputs))
    return nn.Sequential(*layers, nn.ReLU(inplace=True))


def ssd(
    num_classes: int = 20,
    size: int = 300,
    width: int | None = None,
    encoder_weights: str | None = "imagenet",
    weights_file: str | None = None,
) -> SSD:
    """SSD300 on VGG-16, with 8,732 default boxes; or, with a `width`, SSD on a narrow net.

    `encoder_weights` ("imagenet") are torchvision's VGG16_Weights.IMAGENET1K_FEATURES,
    `weights_file` a file of them to take instead; with neither, training starts from scratch.
    `num_classes` leaves out the background. Raises models.weights.WeightsError if weights cannot
    be had, and ValueError for what VGG-16 or the narrow net does not offer.
    """
    if encoder_weights not in ("imagenet", None):
        raise ValueError(f"model.encoder_weights must be imagenet or null, got {encoder_weights!r}")
    pretrained = encoder_weights is not None or weights_file is not None
    if width is not None:
        if pretrained:
            raise ValueError(
                f"no pretrained weights for model.width={width}: set model.encoder_weights and "
                "model.weights_file to null"
            )
        extractor = NarrowExtractor(width)
        return SSD(extractor, extractor.out_channels, size, num_classes, None, _MEAN, _STD)
    if size != 300:
        raise ValueError(f"model.size must be 300 on VGG-16, got {size}; or set model.width")
    return SSD(
        SSDFeatureExtractorVGG(_vgg(encoder_weights, weights_file), highres=False),
        [512, 1024, 512, 256, 256, 256],
        300,
        num_classes,
        STEPS_300,
        *((_VGG_MEAN, _VGG_STD) if pretrained else (_MEAN, _STD)),
    )


def _vgg(encoder_weights: str | None, weights_file: str | None) -> nn.Sequential:
    """The convolutions of VGG-16."""
    from_hub = encoder_weights is not None and weights_file is None
    with hub("VGG-16"):
        vgg = vgg16(weights=VGG16_Weights.IMAGENET1K_FEATURES if from_hub else None)
    if weights_file is not None:
        load_weights(vgg, weights_file)
    return vgg.features
