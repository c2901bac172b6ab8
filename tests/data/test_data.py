"""The loaders: real digits, batches, and files that are not what they should be."""

import shutil

import pytest
import torch

from data.batches import Batches, DataError
from data.digits import digits
from data.mnist import mnist


def test_digits_are_balanced_disjoint_and_standardised():
    data = digits()
    assert data.train_images.shape == (4000, 1, 28, 28)
    assert data.test_images.shape == (1000, 1, 28, 28)
    assert torch.bincount(data.train_labels).tolist() == [400] * 10
    assert torch.bincount(data.test_labels).tolist() == [100] * 10
    assert torch.bincount(digits(subset=500).train_labels).tolist() == [50] * 10
    assert abs(data.train_images.mean()) < 0.05
    assert abs(data.train_images.std() - 1) < 0.05
    train = {image.numpy().tobytes() for image in data.train_images}
    assert not any(image.numpy().tobytes() in train for image in data.test_images)


def test_pixels_that_are_not_standardised_are_the_same_ones_in_0_to_1():
    plain, standardised = digits(standardised=False), digits()
    for part in ("train_images", "test_images"):
        images = getattr(plain, part)
        assert images.min() == 0
        assert images.max() == 1
        torch.testing.assert_close((images - 0.1307) / 0.3081, getattr(standardised, part))


def test_digits_labels_fit_their_images():
    """A nearest class mean classifier gets most right, and would not with shuffled labels."""
    data = digits()
    means = torch.stack([data.train_images[data.train_labels == c].mean(0) for c in range(10)])
    distance = torch.cdist(data.test_images.flatten(1), means.flatten(1))
    assert (distance.argmin(1) == data.test_labels).float().mean() > 0.75


def generator(seed):
    return torch.Generator().manual_seed(seed)


def batches(n=10, size=4):
    return Batches(torch.arange(n)[:, None].float(), torch.arange(n), size)


def test_an_epoch_has_every_sample_once_and_keeps_the_last_partial_batch():
    drawn = list(batches().epoch(generator(0), generator(0)))
    assert [len(labels) for _, labels in drawn] == [4, 4, 2]
    assert len(batches()) == 3
    labels = torch.cat([labels for _, labels in drawn])
    assert sorted(labels.tolist()) == list(range(10))
    assert labels.tolist() != list(range(10))
    assert all(torch.equal(images[:, 0], labels.float()) for images, labels in drawn)


def test_an_epoch_can_go_on_where_it_stopped():
    whole = list(batches().epoch(generator(3), generator(0)))
    rest = list(batches().epoch(generator(3), generator(0), start=1))
    assert all(torch.equal(a[1], b[1]) for a, b in zip(whole[1:], rest, strict=True))


def test_epochs_do_not_touch_the_global_generator():
    before = torch.get_rng_state()
    list(batches().epoch(generator(3), generator(0)))
    assert torch.equal(before, torch.get_rng_state())


def test_evaluation_goes_in_the_order_of_the_data():
    assert torch.cat([labels for _, labels in batches()]).tolist() == list(range(10))


@pytest.mark.parametrize("subset", [0, -3, 4001])
def test_a_subset_that_is_not_there_is_refused(subset):
    with pytest.raises(DataError, match=f"data.subset must be in 1 … 4000, got {subset}"):
        digits(subset=subset)


@pytest.mark.usefixtures("no_network")
def test_missing_mnist_without_a_network_says_where_and_how(tmp_path):
    with pytest.raises(DataError) as error:
        mnist(str(tmp_path))
    for part in (str(tmp_path), "train-images-idx3-ubyte", "data.root", "LRD_DATA"):
        assert part in str(error.value)


def test_real_mnist(mnist_root):
    data = mnist(mnist_root, subset=1000)
    assert data.train_images.shape == (1000, 1, 28, 28)
    assert data.test_images.shape == (10_000, 1, 28, 28)
    assert data.provenance["train"] == 1000
    assert data.train_labels[:5].tolist() == [5, 0, 4, 1, 9]


def test_held_out_digits_are_the_last_of_training_in_place_of_the_test_digits(mnist_root):
    whole, data = mnist(mnist_root), mnist(mnist_root, held_out=5000)
    assert (data.provenance["train"], data.provenance["test"]) == (55_000, 5000)
    assert torch.equal(data.train_images, whole.train_images[:55_000])
    assert torch.equal(data.test_images, whole.train_images[55_000:])
    assert torch.equal(data.test_labels, whole.train_labels[55_000:])
    for count in (-1, 60_000):
        with pytest.raises(DataError, match=rf"data.held_out must be in 0 … 59999, got {count}"):
            mnist(mnist_root, held_out=count)


@pytest.mark.parametrize("damage", ["truncated", "altered", "swapped"])
def test_a_damaged_file_is_named(mnist_root, tmp_path, damage):
    raw = tmp_path / "MNIST" / "raw"
    shutil.copytree(f"{mnist_root}/MNIST/raw", raw)
    labels = raw / "train-labels-idx1-ubyte"
    labels.chmod(0o644)
    if damage == "truncated":
        labels.write_bytes(labels.read_bytes()[:-1])
    elif damage == "altered":
        content = bytearray(labels.read_bytes())
        content[1000] ^= 1
        labels.write_bytes(bytes(content))
    else:
        labels.write_bytes((raw / "t10k-labels-idx1-ubyte").read_bytes())
    with pytest.raises(DataError, match=r"train-labels-idx1-ubyte .*Delete it"):
        mnist(str(tmp_path))


def test_batches_do_not_change_the_images_that_they_standardise():
    images = torch.rand(5, 1, 2, 2)
    kept = images.clone()
    both = Batches(images, torch.arange(5), 2, mean=[0.5], std=[0.25])
    for _ in range(2):
        seen = torch.cat([batch for batch, _ in both])
        torch.testing.assert_close(seen, (kept - 127.5) / 63.75)
    assert torch.equal(images, kept)
