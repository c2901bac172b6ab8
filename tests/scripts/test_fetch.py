"""`make data`, on the data sets that conf/data names."""

from pathlib import Path

import pytest

from helpers.drawn import devkit
from scripts import fetch

SETS = {
    "cifar10",
    "cifar100",
    "digits",
    "mnist",
    "shakespeare",
    "voc_detection",
    "voc_segmentation",
}


@pytest.fixture
def fetched(no_network, monkeypatch, capsys):
    """Fetch into a folder, without a network; returns exit status, output and error lines."""

    def run(root):
        monkeypatch.setenv("LRD_DATA", str(root))
        with pytest.raises(SystemExit) as end:
            fetch.main()
        lines = capsys.readouterr()
        return end.value.code, lines.out.splitlines(), lines.err.splitlines()

    return run


def test_every_data_set_of_the_configuration_is_tried(fetched, tmp_path):
    """None of them ends the command, and a task without data is none of them."""
    status, output, errors = fetched(tmp_path)
    assert status == 1
    assert [line.split(":")[0] for line in output] == ["digits"]
    assert {line.split(": ")[1] for line in errors} == SETS - {"digits"}
    for line in errors:
        assert line.startswith("error: ")
        assert "no network" in line
        assert str(tmp_path) in line


def test_what_is_there_is_checked(fetched, tmp_path):
    """VOC too, the last in the alphabet: its lists here are not those of the published sizes."""
    devkit(tmp_path)
    status, _, errors = fetched(tmp_path)
    assert status == 1
    messages = dict(line.split(": ", 2)[1:] for line in errors)
    for name in ("voc_detection", "voc_segmentation"):
        assert "images, the published list" in messages[name]


def test_an_empty_variable_is_no_folder(fetched):
    status, output, errors = fetched("")
    assert status == 1
    assert len(output) == 1
    assert all("data.root is '', expected the name of a folder" in line for line in errors)


def test_the_provenance_of_real_data_is_printed(fetched, tmp_path, mnist_root):
    (tmp_path / "MNIST").symlink_to(Path(mnist_root).resolve() / "MNIST")
    _, output, _ = fetched(tmp_path)
    assert any(
        line.startswith("mnist: name MNIST, format idx, md5") and "train 60000, test 10000" in line
        for line in output
    )
