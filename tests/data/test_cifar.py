"""CIFAR: parquet files and archives, what is wrong with them, and the crops and flips."""

import pytest
import torch
from torchvision.transforms import v2

from conftest import encoded
from data.augment import crop_and_flip, draw_crops
from data.batches import Batches, DataError
from data.cifar import cifar10, cifar100


def test_parquet_files_give_pixels_labels_and_provenance(cifar_files):
    data = cifar10(cifar_files.root, subset=3)
    assert data.train_images.shape == (3, 3, 32, 32)
    assert data.train_images[2, :, 5, 5].tolist() == [40, 0, 0]
    assert data.train_labels.tolist() == [3, 0, 9]
    digest = data.provenance.pop("sha256")
    assert len(digest) == 64
    assert data.provenance == {
        "name": "CIFAR-10", "format": "parquet of PNG images", "train": 3, "test": 4
    }  # fmt: skip


def test_a_jpeg_copy_is_called_one(cifar_files):
    cifar_files(images=[encoded("JPEG")] * 4)
    assert cifar10(cifar_files.root).provenance["name"] == "CIFAR-10 (JPEG copy)"


def test_cifar100_reads_its_fine_labels(cifar_files):
    for split in ("train", "test"):
        cifar_files(split, labels=(99, 4), column="fine_label", name="cifar100")
    assert cifar100(cifar_files.root).train_labels.tolist() == [99, 4]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (dict(column="class"), "must have the columns img .* and label .*class: int64"),
        (dict(labels=("cat", "dog")), "label .integers.*label: string"),
        (dict(labels=(3, 10)), "label must be in 0 … 9, got 10"),
        (dict(labels=(3, -1)), "got -1"),
        (dict(images=[encoded()[:60]] * 4), "image 0 of .*cannot be read as an image"),
        (dict(images=[encoded(), b"", encoded(), encoded()]), "image 1 of .*has no bytes"),
        (dict(images=[encoded(size=(16, 32))] * 4), r"shape \(32, 16, 3\), expected \(32, 32, 3\)"),
    ],
)
def test_a_parquet_file_that_is_not_cifar_is_named(cifar_files, damage, message):
    path = cifar_files(**damage)
    with pytest.raises(DataError, match=message) as error:
        cifar10(cifar_files.root)
    assert path.parent.name in str(error.value)


def test_a_truncated_parquet_file_is_named(cifar_files):
    path = cifar_files()
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"train-00000-of-00001.parquet is no readable parquet"):
        cifar10(cifar_files.root)


def test_a_missing_part_of_a_split_is_named(cifar_files):
    path = cifar_files()
    path.rename(path.with_name("train-00001-of-00002.parquet"))
    with pytest.raises(DataError, match=r"has 1 of the 2 files train-\*.parquet"):
        cifar10(cifar_files.root)


def test_a_missing_split_is_named(cifar_files):
    cifar_files().unlink()
    with pytest.raises(DataError, match=r"no .*train-\*.parquet"):
        cifar10(cifar_files.root)


def test_nothing_there_and_no_network_says_what_was_expected(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "torchvision.datasets.cifar.download_and_extract_archive",
        lambda *_, **__: (_ for _ in ()).throw(OSError("no network")),
    )
    with pytest.raises(DataError) as error:
        cifar10(str(tmp_path))
    for part in (str(tmp_path), "cifar-10-batches-py", "train-*.parquet", "LRD_DATA", "no network"):
        assert part in str(error.value)


def test_an_archive_that_is_there_comes_first_and_its_checksums_are_kept(
    cifar_files, tmp_path, monkeypatch
):
    (tmp_path / "cifar-10-batches-py").mkdir()
    (tmp_path / "cifar-10-batches-py" / "data_batch_1").write_bytes(b"not a pickle of anyone's")
    monkeypatch.setattr(
        "torchvision.datasets.cifar.download_and_extract_archive", lambda *_, **__: None
    )
    with pytest.raises(DataError, match="not found or corrupted"):
        cifar10(cifar_files.root)


def test_real_cifar(cifar_root):
    for read, classes, mean, std in (
        (cifar10, 10, (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
        (cifar100, 100, (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
    ):
        data = read(cifar_root, subset=2000, test_subset=500)
        assert data.train_images.shape == (2000, 3, 32, 32)
        assert len(data.train_labels.unique()) == classes
        pixels = data.train_images.float() / 255
        assert pixels.mean((0, 2, 3)).tolist() == pytest.approx(mean, abs=0.01)
        assert pixels.std((0, 2, 3)).tolist() == pytest.approx(std, abs=0.01)
        train, test = data.loaders(500, torch.device("cpu"))
        for images in (next(iter(test))[0], train_images(train, 1)):
            assert images.dtype == torch.float32
            assert images.mean((0, 2, 3)).abs().max() < 0.6
            assert (images.std((0, 2, 3)) - 1).abs().max() < 0.3


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
    found, times = torch.unique(ours.flatten(1), dim=0, return_counts=True)
    assert views == {view.reshape(3, 4, 4).numpy().tobytes() for view in found}
    # views that show nothing but padding coincide; each other one has its own row of crops
    whole = times[(found != 0).any(1)].double()
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
