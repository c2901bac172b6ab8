"""Tiny Shakespeare: its parts, random windows that go on anywhere, windows that tile the rest."""

import hashlib
import os
from pathlib import Path

import pytest
import torch

from data import shakespeare as module
from data.batches import DataError, check_provenance
from data.shakespeare import shakespeare
from experiments import streams

TEXT = ("abc\n" * 50)[:-1] + "z"
CPU = torch.device("cpu")


@pytest.fixture
def root(tmp_path, monkeypatch):
    (tmp_path / "shakespeare").mkdir()
    (tmp_path / "shakespeare" / "input.txt").write_text(TEXT)
    monkeypatch.setattr(module, "_MD5", hashlib.md5(TEXT.encode()).hexdigest())
    return str(tmp_path)


def test_parts_are_the_first_nine_tenths_and_the_halves_of_the_rest(root):
    text = shakespeare(root, context=4, steps=3)
    assert [len(part) for part in text[:3]] == [180, 10, 10]
    letters = sorted(set(TEXT))
    whole = "".join(letters[number] for part in text[:3] for number in part)
    assert whole == TEXT
    check_provenance(text.provenance)
    assert text.provenance["test"] == 2  # windows


def test_windows_are_pieces_of_the_training_text_and_what_follows(root):
    train, _ = shakespeare(root, context=4, steps=3).loaders(5, CPU)
    batches = list(train.epoch(streams.generator(0, "order", 1), None))
    assert len(batches) == len(train) == 3
    assert train.counts(1) == [5, 5]
    pieces = train.text.unfold(0, 5, 1)
    for inputs, targets in batches:
        assert inputs.shape == targets.shape == (5, 4)
        assert torch.equal(inputs[:, 1:], targets[:, :-1])
        for window in torch.cat([inputs, targets[:, -1:]], 1):
            assert (pieces == window).all(1).any()


def test_an_epoch_goes_on_from_any_batch_and_each_epoch_and_seed_has_its_own(root):
    train, _ = shakespeare(root, context=4, steps=6).loaders(5, CPU)

    def inputs(seed, epoch, **more):
        drawn = train.epoch(streams.generator(seed, "order", epoch), None, **more)
        return torch.stack([inputs for inputs, _ in drawn])

    whole = inputs(0, 1)
    assert torch.equal(whole[4:], inputs(0, 1, start=4))
    assert torch.equal(whole[:, 1:3], inputs(0, 1, part=lambda count: slice(1, 3)))
    assert not torch.equal(whole, inputs(0, 2))
    assert not torch.equal(whole, inputs(1, 1))


def test_evaluation_sees_each_character_once_in_its_own_part(root):
    text = shakespeare(root, context=3, steps=1)
    _, held_out = text.loaders(5, CPU)
    for name, part in (("val", text.validation), ("test", text.test)):
        batches = [(inputs, targets) for of, inputs, targets in held_out if of == name]
        inputs, targets = (torch.cat(each).flatten() for each in zip(*batches, strict=True))
        assert torch.equal(inputs, part[:9])
        assert torch.equal(targets, part[1:10])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"context": 10, "steps": 1}, r"data.context must be in 1 … 9"),
        ({"context": 0, "steps": 1}, r"data.context must be in 1 … 9"),
        ({"context": 4, "steps": 0}, "data.steps must be at least 1"),
        ({"context": 4, "steps": 1, "subset": 4}, "data.context must be in 1 … 3"),
    ],
)
def test_what_cannot_be_cut_into_windows_is_refused(root, arguments, message):
    with pytest.raises(DataError, match=message):
        shakespeare(root, **arguments)


@pytest.mark.usefixtures("no_network")
def test_another_file_is_refused_and_a_missing_one_downloaded(root, tmp_path, monkeypatch):
    path = tmp_path / "shakespeare" / "input.txt"
    path.write_text("another text")
    with pytest.raises(DataError, match="is not Tiny Shakespeare's"):
        shakespeare(root, 4, 3)
    path.unlink()

    def download(url, folder, name, md5):
        assert url.startswith("https://")
        assert md5 == module._MD5
        Path(folder, name).write_text(TEXT)

    with monkeypatch.context() as network:
        network.setattr("torchvision.datasets.utils.download_url", download)
        assert len(shakespeare(root, 4, 3).train) == 180
    path.unlink()
    with pytest.raises(DataError, match=r"no Tiny Shakespeare in .*no network.*LRD_DATA"):
        shakespeare(root, 4, 3)


def test_the_real_text_has_65_characters_in_its_published_sizes():
    root = os.environ.get("LRD_DATA")
    if not root or not Path(root, "shakespeare").is_dir():
        pytest.skip("LRD_DATA names no folder with shakespeare")
    text = shakespeare(root, context=64, steps=250)
    assert [len(part) for part in text[:3]] == [1_003_854, 55_770, 55_770]
    assert all(part.unique().numel() <= 65 for part in text[:3])
    assert text.train.max() == 64
