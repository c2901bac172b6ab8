"""What a process does to test the kernels for GPUs on a CPU: TRITON_INTERPRET=1 interpreted.py.

It prints a line for whatever differs from the eager step, and how many comparisons there were.
"""

import numpy as np
import torch
from torch import nn
from triton.runtime import interpreter

import lrd
from helpers.optimizers import CASES
from lrd import copies, family, kernels, shards, step
from lrd.kernels.table import Table
from lrd.mask import Draw, threshold

DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]
RULES = [
    lrd.Bernoulli(mask="row", rescale=True),
    lrd.Noise(0.5, 0.2),
    lrd.Cautious(),
    lrd.CautiousDecay(),
    lrd.Magma(),
]
SIZES = [(0,), (1,), (2048,), (64, 33), (4099,)]


class OfGPU(Table):
    """The table of a GPU's kernel, for tensors of the CPU."""

    def __init__(self, _):
        super().__init__(0)


def convert_float(values, given, wanted, _):
    """To and from bfloat16 as GPUs do it: Triton's interpreter does not round to nearest."""
    names = [str(interpreter._get_np_dtype(dtype)) for dtype in (given, wanted)]
    kinds = [torch.bfloat16 if name == "uint16" else getattr(torch, name) for name in names]
    source = torch.from_numpy(np.ascontiguousarray(values)).view(kinds[0])
    return source.to(kinds[1]).view(getattr(torch, names[1])).numpy()


def compare(name, dtype, make, tensors, eager_tensors=None, steps=3):
    """Whether weights and state are the eager step's to the bit."""
    sides = []
    for compile, values in ((False, eager_tensors or tensors), (True, tensors)):
        params = [nn.Parameter(value.clone().to(dtype)) for value in values]
        for param, value in zip(params, values, strict=True):
            assert param.stride() == value.stride()
        sides.append((params, make(params, compile)))
    for number in range(steps):
        for params, optimizer in sides:
            torch.manual_seed(number)
            for param in params:
                param.grad = torch.randn(param.shape).to(dtype)
            optimizer.step()
    (params, one), (twins, other) = sides
    for param, twin in zip(params, twins, strict=True):
        pairs = {"weights": (param, twin)}
        if isinstance(one, lrd.MaskedUpdate):
            assert one.param_groups[0]["mask_steps"] == other.param_groups[0]["mask_steps"]
        else:
            pairs |= {
                key: (value, other.state[twin][key]) for key, value in one.state[param].items()
            }
        for key, (expected, given) in pairs.items():
            if not torch.equal(expected, given):
                different = int((expected != given).sum())
                print(f"{name} {dtype} {tuple(param.shape)}: {key} differ in {different}")
    return len(params)


def main():
    kernels._built = lambda _, *definitions: kernels.gpu_kernel(definitions)
    step.Table = copies.Table = family.Table = OfGPU
    interpreter._convert_float = convert_float
    torch.Tensor.sqrt = lambda tensor: torch.from_numpy(np.sqrt(tensor.numpy()))  # IEEE's
    torch.manual_seed(5)
    values, count = [torch.randn(size) for size in SIZES], 0
    for dtype in DTYPES:
        for name, (cls, hyper) in CASES.items():

            def make(params, compile, cls=cls, hyper=hyper):
                return cls(params, **hyper, keep_prob=0.3, seed=2**40 + 1, compile=compile)

            count += compare(name, dtype, make, values)

        def wrap(params, compile):
            return lrd.LearningRateDropout(torch.optim.SGD(params, lr=0.1), compile=compile)

        count += compare("wrapper", dtype, wrap, values)
        for mask in ("row", "tensor"):

            def share(params, compile, mask=mask):
                return lrd.Adam(params, mask=mask, rescale=True, compile=compile)

            count += compare(mask, dtype, share, values)
        for rule in RULES if dtype in (torch.float32, torch.bfloat16) else []:

            def change(params, compile, rule=rule):
                inner = torch.optim.SGD(params, lr=0.1, momentum=0.9, weight_decay=0.1)
                return lrd.MaskedUpdate(inner, rule, compile=compile)

            count += compare(str(rule), dtype, change, values)
    image = torch.randn(9, 5, 7, 3)
    layouts = [
        image.to(memory_format=torch.channels_last),
        image.permute(3, 0, 2, 1).contiguous().permute(1, 3, 2, 0),
        image[..., :1].to(memory_format=torch.channels_last),
    ]
    plain = [layout.contiguous() for layout in layouts]

    def adam(params, compile):
        return lrd.Adam(params, compile=compile)

    with torch.no_grad():
        count += compare("layouts", torch.float32, adam, layouts, plain)
    count += compare_line()
    for module in (shards, kernels.table):  # blocks that end inside of tensors
        module.BLOCK = 1 << 11
    count += compare_blocks(adam)
    print(f"{count} tensors")


def compare_line():
    """A shard of one column, whose elements are a line with indices 8 apart."""
    part = shards.Part((21, 8), (0, 3), (21, 1))
    W, old = torch.ones(21, 1), torch.zeros(21, 1)
    draw, table = Draw(threshold(0.5), 7, 0, 0), OfGPU(None)
    table.add((W, old), kernels.walk(W, part, True), draw)
    table.run(kernels.copy_kernel("put_back", torch.float32, 0))
    if not torch.equal(W, shards.local_mask(W, part, draw).float()):
        print("the mask of a line of indices differs")
    return 1


def compare_blocks(make):
    """The eager mask in blocks of 2,048 elements, where a GPU's kernel begins a new key."""
    import lrd.mask

    lrd.mask.BLOCK = 1 << 11
    kernels.line.cache_clear()
    kernels.table.spans.cache_clear()
    return compare("blocks", torch.float32, make, [torch.randn(5001)])


if __name__ == "__main__":
    main()
