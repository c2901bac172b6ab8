"""Shared by the tests of the optimizers."""

import numpy as np
import pytest
import torch


@pytest.fixture
def ieee_roots(monkeypatch):
    """MKL, by which torch takes square roots on some processors, rounds one in five otherwise than
    IEEE arithmetic, which the kernels follow; with IEEE's roots the eager step has their bits."""

    def sqrt(tensor):
        return torch.from_numpy(np.sqrt(tensor.numpy())) if tensor.is_cpu else torch.sqrt(tensor)

    monkeypatch.setattr(torch.Tensor, "sqrt", sqrt)
