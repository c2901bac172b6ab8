"""Learning Rate Dropout (arXiv:1912.00144) for PyTorch: optimizers whose updates are masked."""

from lrd.family import Bernoulli, Cautious, CautiousDecay, Magma, Noise
from lrd.kernels import kernel_available
from lrd.kernels.build import CompilationError
from lrd.mask import keep_mask
from lrd.optim import SGD, Adam, AdamW, RAdam, RMSprop
from lrd.wrap import LearningRateDropout, MaskedUpdate

__version__ = "0.2.0"
__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "Bernoulli",
    "Cautious",
    "CautiousDecay",
    "CompilationError",
    "LearningRateDropout",
    "Magma",
    "MaskedUpdate",
    "Noise",
    "RAdam",
    "RMSprop",
    "keep_mask",
    "kernel_available",
]
