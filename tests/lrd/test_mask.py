"""The keep mask: its bits, its statistics, and what it must not depend on."""

import hashlib
import math

import pytest
import torch

import lrd
from lrd.mask import _WORD, Draw, flat_mask, parameter_words, step_words, threshold

# Frozen with the first release: changing any of these is a breaking change.
GOLDEN = [
    (dict(keep_prob=0.5, seed=0, step=0, index=0), "a0b2d4c77dcd8740"),
    (dict(keep_prob=0.5, seed=0, step=1, index=0), "0f1cd3270890574f"),
    (dict(keep_prob=0.5, seed=0, step=0, index=1), "e486112f55d5ef53"),
    (dict(keep_prob=0.5, seed=1, step=0, index=0), "eba43ad051640621"),
    (dict(keep_prob=0.1, seed=2**64 - 1, step=46_899, index=109), "002c200800808000"),
    (
        dict(keep_prob=0.9, seed=123_456_789_012, step=2**32 - 1, index=2**32 - 1),
        "efedffdfffdffddb",
    ),
]


def as_hex(mask: torch.Tensor) -> str:
    """The first 64 elements as bits, the first element the highest."""
    return f"{int(''.join(str(int(kept)) for kept in mask[:64]), 2):016x}"


@pytest.mark.parametrize(("arguments", "bits"), GOLDEN)
def test_bits_are_frozen(arguments, bits):
    assert as_hex(lrd.keep_mask(64, **arguments)) == bits


def test_a_million_bits_are_frozen():
    mask = lrd.keep_mask(1_000_003, 0.3, seed=5, step=7, index=11)
    digest = hashlib.sha256(bytes(mask.to(torch.uint8).tolist())).hexdigest()[:16]
    assert digest == "da2de43bd787a5d1"


def test_bits_are_the_documented_arithmetic():
    """The hash written out in unbounded Python integers."""
    limit = threshold(0.3) + (1 << 31)
    (a, b), (c, d) = parameter_words(5, 11), step_words(7)
    expected = []
    for i in (0, 1, 2, 65_535, 65_536, 999_999):
        x = ((i ^ (a ^ c)) * 0x9E3779B1) & _WORD
        x ^= x >> 16
        x = ((x ^ (b ^ d)) * 0x7FEB352D) & _WORD
        x ^= x >> 15
        x = (x * 0x846CA68B) & _WORD
        signed = x - (1 << 32) if x >> 31 else x
        expected.append(signed + (1 << 31) <= limit)
    mask = lrd.keep_mask(1_000_000, 0.3, seed=5, step=7, index=11)
    assert [bool(mask[i]) for i in (0, 1, 2, 65_535, 65_536, 999_999)] == expected


@pytest.mark.parametrize("p", [0.01, 0.1, 0.5, 0.9, 0.99])
def test_kept_share_is_p_over_ten_million_draws(p):
    steps, size = 10, 1_000_000
    share = sum(
        lrd.keep_mask(size, p, seed=1, step=step, index=3).float().mean().item()
        for step in range(steps)
    )
    assert abs(share / steps - p) < 4 * math.sqrt(p * (1 - p) / (steps * size))


def signs(step=0, index=0, seed=0, size=1 << 16):
    return lrd.keep_mask(size, 0.5, seed=seed, step=step, index=index).double() * 2 - 1


PAIRS = [
    (dict(step=s), dict(step=t)) for s, t in [(0, 1), (1, 2), (0, 1000), (7, 8), (100, 65_636)]
]
PAIRS += [(dict(index=0), dict(index=k)) for k in (1, 2, 64)]
PAIRS += [(dict(seed=0), dict(seed=k)) for k in (1, 2, 2**32)]
PAIRS += [(dict(step=0, index=1), dict(step=1, index=0)), (dict(step=3, seed=2), dict(seed=3))]


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_masks_are_no_shifted_or_permuted_copies(first, second):
    """Correlations at all 65,536 shifts, and under i -> i xor d for all d, stay those of chance."""
    a, b = signs(**first), signs(**second)
    n = len(a)
    shifts = torch.fft.irfft(torch.fft.rfft(a) * torch.fft.rfft(b).conj(), n=n)
    swaps = walsh(walsh(a) * walsh(b)) / n
    # 6.5 standard errors: once in 200,000 such tests by chance
    assert shifts.abs().max() < 6.5 * math.sqrt(n)
    assert swaps.abs().max() < 6.5 * math.sqrt(n)


def walsh(x: torch.Tensor) -> torch.Tensor:
    width = 1
    while width < len(x):
        x = x.view(-1, 2, width)
        x = torch.stack((x[:, 0] + x[:, 1], x[:, 0] - x[:, 1]), 1).reshape(-1)
        width *= 2
    return x


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_elements_of_one_mask_are_independent(p):
    mask = lrd.keep_mask(1 << 18, p, seed=3, step=2, index=1)
    x = (mask.double() - p) / math.sqrt(p * (1 - p))
    n = len(x)
    lags = torch.fft.irfft(torch.fft.rfft(x).abs() ** 2, n=n)[1 : n // 2]
    assert lags.abs().max() < 6.5 * math.sqrt(n)
    octets = (mask.view(-1, 8) * (2 ** torch.arange(8))).sum(1)
    observed = torch.bincount(octets, minlength=256).double()
    ones = torch.tensor([bin(octet).count("1") for octet in range(256)])
    expected = len(octets) * p**ones * (1 - p) ** (8 - ones)
    usual = expected > 5
    chi = ((observed - expected) ** 2 / expected)[usual].sum()
    freedom = usual.sum() - 1
    assert abs(chi - freedom) < 6 * math.sqrt(2 * freedom)


def test_elements_are_kept_independently_of_their_past():
    """Per element over 4,096 steps: the share kept, and the share kept twice in a row."""
    masks = torch.stack(
        [lrd.keep_mask(512, 0.5, seed=0, step=step, index=0) for step in range(4096)]
    ).double()
    again = (masks[1:] * masks[:-1]).mean(0)
    assert (masks.mean(0) - 0.5).abs().max() < 5.5 * 0.5 / math.sqrt(4096)
    assert (again - 0.25).abs().max() < 5.5 * 0.55 / math.sqrt(4096)


def test_mask_does_not_depend_on_threads():
    masks = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        masks.append(lrd.keep_mask(300_001, 0.5, seed=0, step=0, index=0))
    torch.set_num_threads(1)
    assert torch.equal(masks[0], masks[1])
    assert torch.equal(masks[0], masks[2])


def test_a_shards_mask_is_a_slice_of_the_whole():
    whole = lrd.keep_mask((7, 100_003), 0.5, seed=0, step=4, index=2)
    shorter = lrd.keep_mask(250_000, 0.5, seed=0, step=4, index=2)
    assert torch.equal(whole.flatten()[:250_000], shorter)


def test_blocks_beyond_the_first_have_other_bits(monkeypatch):
    monkeypatch.setattr("lrd.mask.BLOCK", 1000)
    mask = flat_mask(2500, Draw(threshold(0.5), seed=0, index=0, step=0), "cpu")
    assert not torch.equal(mask[:1000], mask[1000:2000])
    assert len(mask) == 2500


def test_mask_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    lrd.keep_mask(1000, 0.5, seed=0, step=0, index=0)
    assert torch.equal(before, torch.get_rng_state())


def test_p_of_one_keeps_all():
    assert lrd.keep_mask(100_000, 1.0, seed=0, step=0, index=0).all()


def test_a_tiny_p_keeps_almost_nothing():
    assert lrd.keep_mask(1_000_000, 1e-30, seed=0, step=0, index=0).sum() < 10


@pytest.mark.parametrize("p", [0, -0.1, 1.5, float("nan"), "half", None])
def test_keep_prob_outside_its_range_is_refused(p):
    with pytest.raises(ValueError, match=r"keep_prob must be a number in \(0, 1\], got"):
        lrd.keep_mask(4, p, seed=0, step=0, index=0)


@pytest.mark.parametrize("seed", [-1, 2**64, 0.5, True])
def test_seed_outside_its_range_is_refused(seed):
    with pytest.raises(ValueError, match="seed must be an integer"):
        lrd.keep_mask(4, 0.5, seed=seed, step=0, index=0)


@pytest.mark.parametrize("where", ["step", "index"])
def test_negative_counters_are_refused(where):
    with pytest.raises(ValueError, match=f"{where} must be an integer in"):
        lrd.keep_mask(4, 0.5, **{"seed": 0, "step": 0, "index": 0, where: -1})
