"""Weights after six steps keep the bits that they had in the first release."""

import hashlib

import pytest
import torch
from torch import nn

from helpers.optimizers import CASES

# SHA-256 of the weights after the six steps of `digest`, by case and dtype.
GOLDEN = {
    ("sgd", "float32"): "bdeb59671fd4bfd9",
    ("sgdm", "float32"): "f77f1466dec3b382",
    ("sgdm damped", "float32"): "2ede52a9e800cbd0",
    ("nesterov", "float32"): "efd5af841ed60020",
    ("rmsprop", "float32"): "9e58a1a04d6be31e",
    ("rmsprop centered", "float32"): "936e21b0cc82b2a3",
    ("rmsprop momentum", "float32"): "f939501ea8260b31",
    ("adam", "float32"): "76c8668f6c6eea3f",
    ("amsgrad", "float32"): "65661f1dde99dfe0",
    ("adam decoupled", "float32"): "84ea7147badf386a",
    ("adamw", "float32"): "84ea7147badf386a",
    ("adamw amsgrad up", "float32"): "8cce7ecb6a20d583",
    ("radam", "float32"): "334ec52e1601ef53",
    ("radam decoupled", "float32"): "83a51f93209f13f1",
    ("sgd", "float64"): "82fa1970b0a33ed6",
    ("sgdm", "float64"): "d26f202f617a5c27",
    ("sgdm damped", "float64"): "c99d83adabfd55ef",
    ("nesterov", "float64"): "2eb471d1a6d9066d",
    ("rmsprop", "float64"): "2c6ca348f2c04b1e",
    ("rmsprop centered", "float64"): "21bbb713eb37f52f",
    ("rmsprop momentum", "float64"): "da1b203b065b5147",
    ("adam", "float64"): "8059900b7af7f30c",
    ("amsgrad", "float64"): "211f3d2a07c6a4c5",
    ("adam decoupled", "float64"): "228fa336a0a8335e",
    ("adamw", "float64"): "228fa336a0a8335e",
    ("adamw amsgrad up", "float64"): "aac13f49d48e8135",
    ("radam", "float64"): "b9feb00e67ba1e93",
    ("radam decoupled", "float64"): "fa98f77412923bde",
    ("sgd", "bfloat16"): "5d97beb4826d5a59",
    ("sgdm", "bfloat16"): "a1c98d9a38c8b294",
    ("sgdm damped", "bfloat16"): "89e76a0a02f63b95",
    ("nesterov", "bfloat16"): "23209426ac65e7ca",
    ("rmsprop", "bfloat16"): "fb6295389b377baf",
    ("rmsprop centered", "bfloat16"): "f38f5cf235a5a846",
    ("rmsprop momentum", "bfloat16"): "c0a5df0aaf6e5e3b",
    ("adam", "bfloat16"): "afb99b3040a25e50",
    ("amsgrad", "bfloat16"): "8a6a3eac1bd7ec3a",
    ("adam decoupled", "bfloat16"): "df1f9f68c8c96069",
    ("adamw", "bfloat16"): "df1f9f68c8c96069",
    ("adamw amsgrad up", "bfloat16"): "36b8002df282ee51",
    ("radam", "bfloat16"): "96cbef026857f310",
    ("radam decoupled", "bfloat16"): "4a084fc34174f990",
    ("sgd", "float16"): "d4d2472d3f6b7195",
    ("sgdm", "float16"): "b19edd20f597e08a",
    ("sgdm damped", "float16"): "7db29345476297d1",
    ("nesterov", "float16"): "82d68940228a2669",
    ("rmsprop", "float16"): "702941327e654c6c",
    ("rmsprop centered", "float16"): "9ff3f0f817a92bf5",
    ("rmsprop momentum", "float16"): "439cb266f64ca484",
    ("adam", "float16"): "552303c28f1b32ee",
    ("amsgrad", "float16"): "001e69951f6c0474",
    ("adam decoupled", "float16"): "edb6a8d7ec6f76b5",
    ("adamw", "float16"): "edb6a8d7ec6f76b5",
    ("adamw amsgrad up", "float16"): "7f60a9c3ecaf5060",
    ("radam", "float16"): "e4da2892bd253ec4",
    ("radam decoupled", "float16"): "5f7320e4a7976ade",
}


def numbers(count, shift, dtype):
    """Fractions between -1 and 1 that every processor makes alike."""
    integers = (torch.arange(count) * 7919 + shift * 131) % 2003 - 1001
    return (integers.double() / 1024).to(dtype)


def digest(cls, hyper, dtype, compile, device="cpu"):
    params = [nn.Parameter(numbers(count, 0, dtype).to(device)) for count in (70_001, 300)]
    optimizer = cls(params, **hyper, seed=3, keep_prob=0.7, compile=compile)
    for number in range(6):
        for param in params:
            param.grad = numbers(param.numel(), 1 + number, dtype).to(device)
        optimizer.step()
    flat = torch.cat([param.detach() for param in params]).cpu()
    return hashlib.sha256(flat.view(torch.uint8).numpy().tobytes()).hexdigest()[:16]


@pytest.mark.parametrize("compile", [False, True])
@pytest.mark.parametrize(("case", "dtype"), [key for key in GOLDEN if key[0] in CASES])
@pytest.mark.usefixtures("ieee_roots")
def test_bits_of_the_weights_are_those_of_the_first_release(case, dtype, compile):
    cls, hyper = CASES[case]
    assert digest(cls, hyper, getattr(torch, dtype), compile) == GOLDEN[case, dtype]
