"""bfloat16 and channels-last in the training of a convolutional net."""

import numpy as np
import pandas as pd
import pytest

LITE = [
    "experiment=cifar10",
    "scale=lite",
    "optimizer=adam",
    "data.subset=320",
    "data.test_subset=10",
    "batch_size=16",
    "epochs=10",
    "channels_last=true",
]


@pytest.mark.slow
def test_bf16s_loss_curve_stays_within_the_spread_of_fp32s_seeds(make, cifar_root, tmp_path):
    """200 steps of ResNet-34 at lite width on real images, the mean loss of every 20."""

    def curve(seed, precision):
        words = [f"data.root={cifar_root}", f"seed={seed}", f"precision={precision}"]
        _, folder = make(*LITE, *words, where=tmp_path / f"{precision}{seed}")
        return pd.read_csv(folder / "metrics.csv")["train_loss"].to_numpy()

    seeds = np.stack([curve(seed, "fp32") for seed in range(3)])
    half = curve(0, "bf16")
    distance = abs(half - seeds[0])
    assert half[-1] < half[0]
    assert distance.any()  # it is another arithmetic
    assert distance.mean() < (seeds.max(axis=0) - seeds.min(axis=0)).mean()
