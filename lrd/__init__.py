"""Learning Rate Dropout (arXiv:1912.00144) for PyTorch: optimizers whose updates are masked."""

from lrd.kernel import CompilationError
from lrd.mask import keep_mask
from lrd.optim import SGD, Adam, AdamW, RAdam, RMSprop
from lrd.optimizer import worth_compiling
from lrd.wrap import LearningRateDropout

__version__ = "0.1.0"
__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "CompilationError",
    "LearningRateDropout",
    "RAdam",
    "RMSprop",
    "keep_mask",
    "worth_compiling",
]


def kernel_available() -> bool:
    return False
