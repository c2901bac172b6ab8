"""Batches of samples: order, seeds and processes; transforms that keep image and truth aligned."""

import signal

import numpy as np
import pytest
import torch
from torchvision import tv_tensors

from data.samples import SampleBatches
from data.transforms import detection_training, segmentation_test, segmentation_training
from helpers.drawn import CPU, detection, devkit, segmentation, streams


def draw_number(index):
    return index, torch.rand(()).item()


def ignores(index):
    return index, signal.getsignal(signal.SIGUSR2) == signal.SIG_IGN


def batches(workers=0, count=10, draw=draw_number):
    """Batches of (index, number drawn by its transform)."""
    return SampleBatches(
        [(index,) for index in range(count)],
        draw,
        list,
        lambda batch, device: batch,
        batch_size=4,
        device=CPU,
        workers=workers,
    )


def test_an_epoch_has_every_sample_once_and_keeps_the_last_partial_batch():
    drawn = list(batches().epoch(*streams()))
    assert [len(batch) for batch in drawn] == [4, 4, 2]
    assert len(batches()) == 3
    indices = [index for batch in drawn for index, _ in batch]
    assert sorted(indices) == list(range(10))
    assert indices != list(range(10))


def test_a_pass_that_has_begun_keeps_its_own_samples():
    both = batches()
    epoch = both.epoch(*streams())
    first = next(epoch)
    assert [index for batch in both for index, _ in batch] == list(range(10))
    assert [first, *epoch] == list(batches().epoch(*streams()))


def test_augmentation_depends_on_epoch_and_sample_and_not_on_the_order():
    def numbers(order, augmentation):
        generators = [torch.Generator().manual_seed(seed) for seed in (order, augmentation)]
        return dict(sample for batch in batches().epoch(*generators) for sample in batch)

    assert numbers(0, 1) == numbers(5, 1)
    assert numbers(0, 1) != numbers(0, 2)
    assert len(set(numbers(0, 1).values())) == 10


def test_workers_leave_requeueing_to_the_run():
    """Slurm warns every process of a step; submitit's handler would requeue from each."""
    before = signal.signal(signal.SIGUSR2, lambda *_: None)
    try:
        assert {ignored for batch in batches(workers=1, draw=ignores) for _, ignored in batch} == {
            True
        }
    finally:
        signal.signal(signal.SIGUSR2, before)


def test_worker_processes_change_nothing():
    assert list(batches().epoch(*streams())) == list(batches(workers=2).epoch(*streams()))


def test_an_epoch_can_go_on_where_it_stopped():
    whole = list(batches().epoch(*streams()))
    assert list(batches().epoch(*streams(), start=2)) == whole[2:]
    assert list(batches().epoch(*streams(), start=3)) == []


@pytest.mark.parametrize("workers", [0, 1])
def test_epochs_do_not_touch_the_global_generator(workers):
    before = torch.get_rng_state()
    list(batches(workers).epoch(*streams()))
    list(batches(workers))
    assert torch.equal(before, torch.get_rng_state())


def test_evaluation_goes_in_the_order_of_the_data():
    assert [index for batch in batches() for index, _ in batch] == list(range(10))


@pytest.mark.parametrize("read", [segmentation, detection])
def test_cache_and_workers_do_not_change_a_batch(tmp_path, read):
    devkit(tmp_path)
    (images, first), *_ = read(tmp_path).loaders(6, CPU)[0].epoch(*streams())
    (others, second), *_ = (
        read(tmp_path, cache=False, workers=1).loaders(6, CPU)[0].epoch(*streams())
    )
    assert torch.equal(images, others)
    if read is segmentation:
        assert torch.equal(first, second)
    else:
        assert all(torch.equal(a["boxes"], b["boxes"]) for a, b in zip(first, second, strict=True))


def test_batches_are_what_the_nets_expect(tmp_path):
    devkit(tmp_path)
    train, test = segmentation(tmp_path).loaders(4, CPU)
    for images, masks in [next(iter(train.epoch(*streams()))), next(iter(test))]:
        assert images.dtype == torch.float32
        assert 0 <= images.min() < images.max() <= 1
        assert masks.dtype == torch.int64
        assert set(masks.unique().tolist()) <= {0, 8, 12, 15, 255}
    train, test = detection(tmp_path).loaders(4, CPU)
    for images, targets in [next(iter(train.epoch(*streams()))), next(iter(test))]:
        assert images.shape[1:] == (3, 64, 64)
        assert len(images) == len(targets)
        for target in targets:
            assert type(target["boxes"]) is torch.Tensor
            assert (target["boxes"][:, :2] < target["boxes"][:, 2:]).all()
            assert target["labels"].dtype == torch.int64


def test_test_images_are_padded_to_one_canvas_and_the_padding_is_ignored(tmp_path):
    devkit(tmp_path)
    data = segmentation(tmp_path)
    for (image, mask), (padded, padded_mask) in zip(
        data.test, (data.test_transform(*sample) for sample in data.test), strict=True
    ):
        height, width = mask.shape
        assert padded.shape == (3, 96, 96)
        assert torch.equal(padded[:, :height, :width], image)
        assert torch.equal(padded_mask[:height, :width], mask)
        assert (padded_mask == 255).sum() - (mask == 255).sum() == 96 * 96 - height * width


def seeded(transform, seed, *sample):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return transform(*sample)


def test_masks_follow_their_images_through_scale_rotation_flip_and_crop():
    image, mask = np.zeros((3, 60, 80), np.uint8), np.zeros((60, 80), np.uint8)
    image[0, 10:40, 15:35] = 255  # a red block on black, off the centre
    mask[10:40, 15:35] = 15
    transform = segmentation_training(48)
    places = set()
    for seed in range(40):
        picture, classes = seeded(
            transform,
            seed,
            tv_tensors.Image(torch.from_numpy(image)),
            tv_tensors.Mask(torch.from_numpy(mask)),
        )
        assert picture.shape[1:] == classes.shape == (48, 48)
        assert set(classes.unique().tolist()) <= {0, 15, 255}
        counted = classes != 255
        red = (picture[0] > 127) & (picture[1] < 64)
        assert (red == (classes == 15))[counted].float().mean() > 0.95
        block = torch.nonzero(classes == 15)
        places.add(tuple(block.float().mean(0).round().tolist()) if len(block) else None)
    assert len(places) > 20  # it was transformed, and not always the same


def test_a_crop_larger_than_the_image_is_padded_with_what_is_ignored():
    image = tv_tensors.Image(torch.full((3, 10, 10), 7, dtype=torch.uint8))
    mask = tv_tensors.Mask(torch.zeros(10, 10, dtype=torch.uint8))
    _, padded = segmentation_test(16, image, mask)
    _, cropped = seeded(segmentation_training(64), 0, image, mask)
    assert (padded == 255).sum() == 16 * 16 - 100
    assert (cropped == 255).sum() >= 64 * 64 - 400
    assert (cropped == 0).any()


def test_boxes_and_labels_follow_their_objects_through_zoom_crop_and_flip():
    image = np.zeros((3, 80, 100), np.uint8)
    image[:, 10:30, 10:40] = 200
    image[:, 45:70, 55:90] = 100
    boxes = torch.tensor([[10.0, 10, 40, 30], [55, 45, 90, 70]])
    both = 0
    for seed in range(60):
        picture, target = seeded(
            detection_training(100, 4.0),
            seed,
            tv_tensors.Image(torch.from_numpy(image)),
            {
                "boxes": tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=(80, 100)),
                "labels": torch.tensor([1, 2]),
                "difficult": torch.tensor([False, True]),
            },
        )
        assert picture.shape == (3, 100, 100)
        assert target["difficult"].tolist() == [label == 2 for label in target["labels"]]
        assert len(target["labels"]) == len(target["boxes"]) > 0
        lights = []
        for box in target["boxes"].round().long().tolist():
            x0, y0, x1, y1 = box
            inside = picture[:, y0:y1, x0:x1].float().mean(0)
            middle = inside[len(inside) // 2, inside.shape[1] // 2]
            edges = torch.stack([inside[1].mean(), inside[-2].mean()])
            if min(inside.shape) > 6:
                assert (edges - middle).abs().max() < 30  # the box is full of its object
            lights.append(float(middle))
        if len(lights) == 2:
            both += 1
            assert lights[target["labels"].tolist().index(1)] > min(lights)
    assert both > 10
