"""Tests that want a GPU; all are skipped where there is none."""

from pathlib import Path

import pytest
import torch

HERE = Path(__file__).parent
GPUS = torch.cuda.device_count()


def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.is_relative_to(HERE) and not GPUS:
            item.add_marker(pytest.mark.skip(reason="torch finds no GPU here"))


@pytest.fixture(params=range(max(1, min(GPUS, 2))), ids="cuda:{}".format)
def device(request):
    """The first GPU, and the second if there is one."""
    return torch.device("cuda", request.param)
