"""What a data set says of where it came from: checked, and known before training."""

import pytest
import torch

from data.batches import DataError, Dataset, check_provenance
from data.cifar import cifar10
from data.devkit import drawn_detection, drawn_segmentation
from data.digits import digits

RIGHT = {"name": "shapes", "format": "png", "train": 3, "test": 1}


@pytest.mark.parametrize(
    "more",
    [{}, {"sha256": "0f", "parts": [1, 2.5, None, True, {"a": "b"}]}, {"repaired": {"boxes": 0}}],
)
def test_a_record_of_the_required_keys_and_of_what_json_has_is_right(more):
    check_provenance(RIGHT | more)


@pytest.mark.parametrize("key", RIGHT)
def test_a_missing_key_is_named(key):
    rest = {name: value for name, value in RIGHT.items() if name != key}
    with pytest.raises(DataError, match=f"must have '{key}': .*got nothing"):
        check_provenance(rest)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": 3}, "'name': a string of at most 1000 letters; got 3"),
        ({"name": ""}, "'name': a string of .*; got ''"),
        ({"name": "x" * 1001}, "'name': a string of at most 1000 letters; got 'xxx"),
        ({"format": None}, "'format': a string of .*; got None"),
        ({"train": "60000"}, "'train': a number of .*got '60000'"),
        ({"train": 3.0}, "'train': .*got 3.0"),
        ({"train": True}, "'train': .*got True"),
        ({"train": torch.tensor(3)}, "'train': .*got tensor"),
        ({"test": 0}, "'test': .*at least 1; got 0"),
        ({"test": -2}, "'test': .*got -2"),
        ({"mean": torch.zeros(2)}, "has 'mean': tensor.* expected what JSON has"),
        ({"shape": (1, 2)}, r"has 'shape': \(1, 2\), expected"),
        ({"a": {"b": [0, float("nan")]}}, "has 'a': {'b': .0, nan.}, expected"),
        ({"a": float("inf")}, "has 'a': inf, expected"),
        ({"a": {1: "b"}}, "has 'a': {1: 'b'}, .* keys are strings"),
        ({1: "b"}, "has 1: 'b', .* keys are strings"),
    ],
)
def test_a_key_of_another_type_is_named(change, message):
    with pytest.raises(DataError, match=message):
        check_provenance(RIGHT | change)


@pytest.mark.parametrize("provenance", [None, [], "MNIST", [("name", "x")]])
def test_what_is_no_dict_is_refused(provenance):
    with pytest.raises(DataError, match="must be a dict, got"):
        check_provenance(provenance)


def test_a_data_set_that_was_not_counted_is_refused():
    data = Dataset(*[torch.zeros(1)] * 4, {"name": "x", "format": "y"})
    with pytest.raises(DataError, match="'train'"):
        check_provenance(data.provenance)


def test_our_own_data_sets_are_right_before_a_batch_is_drawn(cifar_files, tmp_path):
    keys = {"root": str(tmp_path), "images": 4, "test_images": 2, "complete": False}
    for data in (
        digits(subset=20),
        cifar10(cifar_files.root),
        drawn_segmentation(**keys),
        drawn_detection(**keys),
    ):
        before = dict(data.provenance)
        check_provenance(before)
        train, test = data.loaders(2, torch.device("cpu"))
        assert (sum(train.counts()), sum(test.counts())) == (before["train"], before["test"])
        assert data.provenance == before
