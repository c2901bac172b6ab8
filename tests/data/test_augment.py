"""Random crops and flips of a whole batch."""

import pytest
import torch
from torchvision.transforms import v2

from data.batches import Batches, crop_and_flip, draw_crops


def generator(seed):
    return torch.Generator().manual_seed(seed)


def train_images(batches, seed, start=0):
    drawn = batches.epoch(generator(0), generator(seed), start)
    return torch.cat([images for images, _ in drawn])


def test_crops_and_flips_have_torchvisions_distribution():
    """All 81 × 2 views of a small image, each as often as the others."""
    image = torch.arange(1, 49, dtype=torch.uint8).reshape(1, 3, 4, 4)
    count = 81 * 2 * 60
    crops = draw_crops(count, 4, generator(0))
    ours = crop_and_flip(image.expand(count, -1, -1, -1), 4, crops)
    theirs = v2.Compose([v2.RandomCrop(4, padding=4), v2.RandomHorizontalFlip()])
    views = {theirs(image[0]).numpy().tobytes() for _ in range(3000)}
    rows, times = torch.unique(ours.flatten(1), dim=0, return_counts=True)
    assert views == {view.reshape(3, 4, 4).numpy().tobytes() for view in rows}
    # views that show nothing but padding coincide; each other one has its own row of crops
    whole = times[(rows != 0).any(1)].double()
    expected = count / (81 * 2)
    chi2 = ((whole - expected) ** 2 / expected).sum()
    assert abs(chi2 - len(whole)) < 5 * (2 * len(whole)) ** 0.5


def test_a_samples_crop_does_not_depend_on_its_batch():
    images = torch.randint(256, (20, 3, 8, 8), dtype=torch.uint8)
    small, large = (
        Batches(images, torch.arange(20), size, mean=[0.5] * 3, std=[0.2] * 3, padding=4)
        for size in (3, 20)
    )
    assert torch.equal(train_images(small, 1), train_images(large, 1))
    assert torch.equal(train_images(small, 1)[9:], train_images(small, 1, start=3))
    assert not torch.equal(train_images(small, 1), train_images(small, 2))


def test_pixels_are_standardised_after_the_padding():
    """A padded pixel is black, not the mean, as where the transforms come before Normalize."""
    batches = Batches(
        torch.full((64, 3, 8, 8), 255, dtype=torch.uint8), torch.zeros(64), 64,
        mean=[0.4, 0.5, 0.6], std=[0.2, 0.25, 0.5], padding=4,
    )  # fmt: skip
    values = train_images(batches, 0).permute(1, 0, 2, 3).flatten(1)
    for channel, (black, white) in zip(values, [(-2, 3), (-2, 2), (-1.2, 0.8)], strict=True):
        assert channel.unique().tolist() == pytest.approx([black, white])
