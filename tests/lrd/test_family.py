"""The rules of MaskedUpdate: against scalar Python, and what each promises."""

import copy
import math

import pytest
import torch
from torch import nn

import lrd
from lrd.family import bell
from lrd.mask import _WORD, Draw, flat_mask, parameter_words, step_words

ADAMW = dict(lr=1e-2, weight_decay=0.1)
BASES = {
    "sgd": lambda params: torch.optim.SGD(params, lr=0.1),
    "sgdm": lambda params: torch.optim.SGD(params, lr=0.1, momentum=0.9, weight_decay=1e-3),
    "adamw": lambda params: torch.optim.AdamW(params, **ADAMW),
    "adamw up": lambda params: torch.optim.AdamW(params, **ADAMW, maximize=True),
    "muon": lambda params: torch.optim.Muon(params, lr=1e-2),
    "adafactor": lambda params: torch.optim.Adafactor(params, lr=1e-2, weight_decay=0.1),
    "rmsprop": lambda params: torch.optim.RMSprop(params, lr=1e-3),
    "radam": lambda params: torch.optim.RAdam(params, lr=1e-2),
    "fused": lambda params: torch.optim.AdamW(params, **ADAMW, fused=True),
}
RULES = {
    "bernoulli": lrd.Bernoulli(0.3),
    "skip update": lrd.Bernoulli(0.5, mask="tensor", rescale=True, hold=2),
    "rows": lrd.Bernoulli(0.5, mask="row", rescale=True),
    "magma": lrd.Magma(),
    "scale": lrd.Magma(keep_prob=1.0, tau=0.5),
    "cautious": lrd.Cautious(),
    "cautious, not rescaled": lrd.Cautious(rescale=False),
    "cautious decay": lrd.CautiousDecay(),
    "noise": lrd.Noise(0.5, 0.5),
    "noise of rows": lrd.Noise(0.3, 0.4, mask="row"),
}
SHAPES = [(6, 5), (4, 3)]
each_rule = pytest.mark.parametrize("rule", RULES.values(), ids=RULES)


def parameters(dtype=torch.float64, shapes=SHAPES):
    torch.manual_seed(0)
    return [nn.Parameter(torch.randn(shape).to(dtype)) for shape in shapes]


def steps(params, optimizers, count, first=0):
    """Steps of all optimizers by the same random gradients; yields after each."""
    for number in range(first, first + count):
        torch.manual_seed(100 + number)
        for param in params:
            param.grad = torch.randn(param.shape).to(param.dtype)
        for optimizer in optimizers:
            optimizer.step()
        yield number


def trained(make, count=6, dtype=torch.float32, shapes=SHAPES):
    params = parameters(dtype, shapes)
    for _ in steps(params, [make(params)], count):
        pass
    return torch.cat([param.detach().flatten() for param in params])


class Scalar:
    """AdamW and the rules in scalar Python, from their papers, a parameter at a time."""

    def __init__(self, rule, param, index, seed):
        self.rule, self.index, self.seed, self.shape = rule, index, seed, param.shape
        self.W, n = param.flatten().tolist(), param.numel()
        self.M, self.V, self.s, self.t = [0.0] * n, [0.0] * n, 0.0, 0

    def step(self, G):
        self.t += 1
        lr, decay, n = ADAMW["lr"], ADAMW["lr"] * ADAMW["weight_decay"], len(G)
        self.M = [0.9 * m + 0.1 * g for m, g in zip(self.M, G, strict=True)]
        self.V = [0.999 * v + 0.001 * g * g for v, g in zip(self.V, G, strict=True)]
        delta = []
        for m, v in zip(self.M, self.V, strict=True):
            root = math.sqrt(v / (1 - 0.999**self.t))
            delta.append(lr * m / (1 - 0.9**self.t) / (root + 1e-8))
        factors, decays = self.factors(delta, G, n)
        self.W = [
            w - f * d - c * decay * w
            for w, f, d, c in zip(self.W, factors, delta, decays, strict=True)
        ]

    def factors(self, delta, G, n):
        """What the update and the decay of each element are multiplied by."""
        rule = self.rule
        if isinstance(rule, lrd.Cautious):
            agree = [d * g > 0 for d, g in zip(delta, G, strict=True)]
            scale = n / (sum(agree) + 1) if rule.rescale else 1.0
            return [scale * a for a in agree], [1.0] * n
        if isinstance(rule, lrd.CautiousDecay):
            return [1.0] * n, [float(d * w >= 0) for d, w in zip(delta, self.W, strict=True)]
        if isinstance(rule, lrd.Noise):
            factors = [rule.mean + rule.std * z for z in self.normal()]
            return factors, factors
        where = dict(seed=self.seed, step=(self.t - 1) // rule.hold, index=self.index)
        D = lrd.keep_mask(self.shape, rule.keep_prob, **where, mask=rule.mask).flatten().tolist()
        scale = 1 / rule.keep_prob if isinstance(rule, lrd.Bernoulli) and rule.rescale else 1.0
        if isinstance(rule, lrd.Magma):
            dot = math.fsum(m * g for m, g in zip(self.M, G, strict=True))
            norms = math.hypot(*self.M) * math.hypot(*G)
            sigma = 1 / (1 + math.exp(-dot / norms / rule.tau))
            scale = self.s = 0.9 * self.s + 0.1 * sigma if self.t > 1 else sigma
        return [scale * d for d in D], [scale * d for d in D]

    def normal(self):
        """Twelve bytes of three words, written out in unbounded integers."""
        (a, b), (c, d) = parameter_words(self.seed, self.index), step_words(self.t - 1)
        for i in range(math.prod(self.shape)):
            unit = i // self.shape[1] if self.rule.mask == "row" else i
            x = ((unit ^ (a ^ c)) * 0x9E3779B1) & _WORD
            x = ((x ^ x >> 16 ^ b ^ d) & _WORD) * 0x7FEB352D & _WORD
            x = (x ^ x >> 15) * 0x846CA68B & _WORD
            x ^= x >> 16
            y = x * 0x7FEB352D & _WORD
            y ^= y >> 15
            z = y * 0x846CA68B & _WORD
            z ^= z >> 16
            yield (sum(sum(w.to_bytes(4, "big")) for w in (x, y, z)) - 1530) / math.sqrt(65535)


@pytest.mark.parametrize("compile", [False, True])
@each_rule
def test_follows_scalar_python(rule, compile):
    params = parameters()
    optimizer = lrd.MaskedUpdate(BASES["adamw"](params), rule, 7, compile=compile)
    plain = [Scalar(rule, param, index, 7) for index, param in enumerate(params)]
    for _ in steps(params, [optimizer], 12):
        for param, reference in zip(params, plain, strict=True):
            reference.step(param.grad.flatten().tolist())
            expected = torch.tensor(reference.W, dtype=torch.float64)
            torch.testing.assert_close(param.detach().flatten(), expected, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("base", ["sgd", "adamw up"])
@each_rule
def test_kernels_have_the_bits_of_eager_operations(rule, base, dtype):
    shapes = [(70_001, 2), (5,), (), (0, 3), (7, 3, 5)]
    sides = [
        trained(
            lambda params, compile=compile: lrd.MaskedUpdate(
                BASES[base](params), rule, 3, compile=compile
            ),
            3, dtype, shapes,
        )
        for compile in (False, True)
    ]  # fmt: skip
    # AdamW's eps is 0 in float16, and so an update NaN where the gradient is 0
    torch.testing.assert_close(*sides, rtol=0, atol=0, equal_nan=dtype is torch.float16)


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize(
    "rule", [lrd.Bernoulli(1.0, m, r) for m in ("element", "tensor") for r in (False, True)]
)
def test_at_p_1_what_is_around_an_optimizer_leaves_its_bits(base, rule):
    wrapped = trained(lambda params: lrd.MaskedUpdate(BASES[base](params), rule))
    assert torch.equal(wrapped, trained(BASES[base]))


@pytest.mark.parametrize("base", BASES)
@each_rule
def test_state_of_the_base_is_that_of_the_plain_optimizer(rule, base):
    """Fed the same gradients; weight decay feeds weights back, unless it is decoupled."""
    params = parameters()
    twins = copy.deepcopy(params)
    optimizer, plain = lrd.MaskedUpdate(BASES[base](params), rule), BASES[base](twins)
    for group in (*optimizer.param_groups, *plain.param_groups):
        group["weight_decay"] = 0.0
    for _ in steps(params, [optimizer], 4):
        for param, twin in zip(params, twins, strict=True):
            twin.grad = param.grad
        plain.step()
    for param, twin in zip(params, twins, strict=True):
        for name, value in plain.state[twin].items():
            if value is not None:
                assert torch.equal(optimizer.state[param][name], value)


@pytest.mark.parametrize("mask", ["element", "row", "tensor"])
@pytest.mark.parametrize("rescaled", [True, False])
def test_the_mean_of_many_updates_is_the_bases_and_noise_has_the_masks_variance(mask, rescaled):
    """Over 600 seeds, within four standard errors of mean and variance."""
    p, seeds = 0.3, 600
    rule = lrd.Bernoulli(p, mask, True) if rescaled else lrd.Noise(p, math.sqrt(p * (1 - p)), mask)
    mean, variance, kurtosis = (
        (1.0, 1 / p - 1, 1 / (p * (1 - p)) - 3) if rescaled else (p, p * (1 - p), 2.9)
    )
    moves = []
    for seed in range(seeds):
        W = nn.Parameter(torch.zeros(20, 10, dtype=torch.float64))
        W.grad = torch.ones(20, 10, dtype=torch.float64)
        lrd.MaskedUpdate(torch.optim.SGD([W], lr=1.0), rule, seed).step()
        moves.append(-W.detach())
    moves = torch.stack(moves)
    assert ((moves.mean(0) - mean).abs() < 4 * math.sqrt(variance / seeds)).all()
    error = variance * math.sqrt((kurtosis - 1) / seeds)
    assert ((moves.var(0) - variance).abs() < 4.5 * error).all()
    units = {"element": 200, "row": 20, "tensor": 1}[mask]
    assert len(moves.flatten(1).T.unique(dim=0)) == units


def test_noise_of_elements_steps_and_seeds_is_independent():
    size = 1 << 16
    words = [Draw(None, 0, 0, 0), Draw(None, 1, 0, 0), Draw(None, 0, 1, 0), Draw(None, 0, 0, 1)]
    z = torch.stack([bell(flat_mask(size, draw, "cpu")) for draw in words]).double()
    z = (z - 1530) / math.sqrt(65535)
    f = torch.fft.rfft(z)
    for i in range(4):
        lags = torch.fft.irfft(f * f[i].conj(), n=size)
        lags[i, 0] = 0
        assert lags.abs().max() < 6.5 * math.sqrt(size)
    assert (z**4).mean() == pytest.approx(2.9, abs=0.1)


def test_magmas_s_follows_a_scalar_reference_over_200_steps():
    """In float32, of gradients that turn: s comes within 1e-6 and is far from constant."""
    params = parameters(torch.float32, [(40, 30)])
    optimizer = lrd.MaskedUpdate(torch.optim.SGD(params, lr=1e-3, momentum=0.9), lrd.Magma())
    M, s, found = [0.0] * 1200, 0.0, []
    for number in range(200):
        torch.manual_seed(number)
        params[0].grad = torch.randn(40, 30) + math.sin(number / 9)
        optimizer.step()
        G = params[0].grad.flatten().tolist()
        M = [0.9 * m + g for m, g in zip(M, G, strict=True)]
        dot = math.fsum(m * g for m, g in zip(M, G, strict=True))
        sigma = 1 / (1 + math.exp(-dot / math.hypot(*M) / math.hypot(*G) / 2))
        s = 0.9 * s + 0.1 * sigma if number else sigma
        found.append(optimizer.param_groups[0]["mask_scales"][0])
        assert found[-1] == pytest.approx(s, abs=1e-6)
    assert max(found) - min(found) > 0.03
    assert 0.378 < min(found) < max(found) < 0.623


def test_magma_keeps_an_average_of_gradients_where_the_base_has_no_momentum():
    params = parameters(shapes=[(4, 3)])
    optimizer = lrd.MaskedUpdate(BASES["rmsprop"](params), lrd.Magma())
    expected = torch.zeros(4, 3, dtype=torch.float64)
    for _ in steps(params, [optimizer], 5):
        expected = 0.9 * expected + 0.1 * params[0].grad
    torch.testing.assert_close(optimizer.state[params[0]]["mask_momentum"], expected)


def test_a_block_is_held_for_as_many_steps():
    W = nn.Parameter(torch.zeros(1000))
    optimizer = lrd.MaskedUpdate(torch.optim.SGD([W], lr=1.0), lrd.Bernoulli(hold=3))
    for number in range(9):
        before = W.detach().clone()
        W.grad = torch.ones(1000)
        optimizer.step()
        mask = lrd.keep_mask(1000, 0.5, seed=0, step=number // 3, index=0)
        assert torch.equal(W.detach() != before, mask)
