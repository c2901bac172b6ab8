"""The paper's tables and learning curves: which arms stand in them, and where.

An arm's name is an optimizer's and a method's suffix: `adam` and `+lrd0.5` make `adam+lrd0.5`.
"""

from __future__ import annotations

from typing import NamedTuple

OPTIMIZERS = {
    "sgdm": "SGDM",
    "rmsprop": "RMSprop",
    "adam": "Adam",
    "amsgrad": "AMSGrad",
    "radam": "RAdam",
}
TITLES = {
    "mnist": "MNIST, FCNet",
    "cifar10": "CIFAR-10, ResNet-34",
    "cifar100": "CIFAR-100, DenseNet-121",
    "digits": "digits, FCNet",
    "pspnet": "VOC2012 segmentation, PSPNet",
    "ssd": "VOC detection, SSD",
}
LOSS, TRAIN, TEST = "train_loss", "train_accuracy", "test_accuracy"
_ADAM_SGDM = ("adam", "sgdm")


class Item(NamedTuple):
    """Methods (label: suffix) by optimizers, on each of the experiments."""

    sweep: str  # that makes its runs
    caption: str
    experiments: tuple[str, ...]
    optimizers: tuple[str, ...]
    methods: dict[str, str]
    published: str | None = None  # the paper's table that has numbers of some of its arms

    def arms(self) -> list[str]:
        """The names of all arms."""
        return [name + suffix for name in self.optimizers for suffix in self.methods.values()]


class Curves(NamedTuple):
    """A figure: an item's arms on one experiment, a panel for each optimizer and metric."""

    item: Item
    experiment: str
    metrics: tuple[str, ...]
    optimizers_across: bool  # optimizers are columns and metrics rows, or the other way round


_TABLE1 = Item(
    "table1",
    "Test accuracy in percent without (base) and with learning rate dropout (LRD, p = 0.5)",
    ("mnist", "cifar10", "cifar100"),
    tuple(OPTIMIZERS),
    {"base": "", "LRD": "+lrd0.5"},
    "table1",
)
_TABLE2 = Item(
    "table2",
    "Test accuracy in percent by p, the probability that a parameter is updated (p = 1: without "
    "learning rate dropout)",
    ("cifar10",),
    _ADAM_SGDM,
    {f"p = {p:g}": "" if p == 1 else f"+lrd{p:g}" for p in (1, 0.1, 0.3, 0.5, 0.7, 0.9)},
    "table2",
)
_TABLE3 = Item(
    "table3",
    "Test accuracy in percent with standard dropout (SD, 0.9 of the units kept), noisy gradient "
    "(NG), noisy label (NL, 5 %) and learning rate dropout (LRD, p = 0.5)",
    ("cifar10",),
    _ADAM_SGDM,
    {
        "none": "",
        "SD": "+sd0.9",
        "NG": "+ng0.1",
        "NL": "+nl0.05",
        "LRD": "+lrd0.5",
        "LRD and SD": "+lrd0.5+sd0.9",
        "LRD and NG": "+lrd0.5+ng0.1",
    },
    "table3",
)
_TABLE4 = Item(
    "table4",
    "Test accuracy in percent with standard dropout by p_sd, the probability that a unit is kept "
    "(p_sd = 1: none)",
    ("cifar10",),
    ("adam",),
    {f"p_sd = {p:g}": "" if p == 1 else f"+sd{p:g}" for p in (1, 0.9, 0.8, 0.7, 0.6)},
    "table4",
)
_FIGURE12 = Item(
    "figure12",
    "Learning rate dropout (LRD, p = 0.5) and dropout on the gradient (DG, p = 0.5)",
    ("cifar10",),
    _ADAM_SGDM,
    {"none": "", "LRD": "+lrd0.5", "DG": "+dg0.5"},
)
_CONTROLS = Item(
    "controls",
    "Is it the mask, or the smaller mean step? Test accuracy in percent of the base optimizer, of "
    "learning rate dropout (LRD, p = 0.5), of the base at half the learning rate, and of LRD with "
    "its updates doubled",
    ("mnist", "cifar10"),
    ("sgdm", "adam"),
    {
        "base": "",
        "LRD": "+lrd0.5",
        "base, rate halved": "+lr0.5",
        "LRD, updates doubled": "+lrd0.5+rescale",
    },
)
_AUTHORS = Item(
    "authors",
    "Test accuracy in percent of RMSprop with learning rate dropout (LRD, p = 0.5) by the paper's "
    "equations, and as its authors released it: without weight decay in the update",
    ("cifar10",),
    ("rmsprop",),
    {"base": "", "LRD": "+lrd0.5", "LRD, authors' variant": "+lrd0.5+authors"},
)
_SETTINGS = Item(
    "settings",
    "Settings that the paper leaves open: test accuracy in percent as in Table 1, without (base) "
    "and with learning rate dropout (LRD, p = 0.5); with weight decay, of the base at half the "
    "rate too; and with pixels in [0, 1] that are not standardised",
    ("mnist",),
    ("sgdm", "adam", "radam"),
    {
        "base": "",
        "LRD": "+lrd0.5",
        "base, weight decay 0.0005": "+weight_decay=0.0005",
        "LRD, weight decay 0.0005": "+lrd0.5+weight_decay=0.0005",
        "base, rate halved, weight decay 0.0005": "+lr0.5+weight_decay=0.0005",
        "base, pixels in [0, 1]": "+standardised=false",
    },
    "table1",
)

TABLES = {
    "table1": _TABLE1,
    "table2": _TABLE2,
    "table3": _TABLE3,
    "table4": _TABLE4,
    "controls": _CONTROLS,
    "authors": _AUTHORS,
    "settings": _SETTINGS,
}
CURVES = {
    "figure5": Curves(_TABLE1, "mnist", (LOSS, TRAIN, TEST), True),
    "figure6": Curves(_TABLE1, "cifar10", (LOSS, TRAIN, TEST), True),
    "figure7": Curves(_TABLE1, "cifar100", (LOSS, TRAIN, TEST), True),
    "figure10": Curves(_TABLE2, "cifar10", (TRAIN, TEST), False),
    "figure11": Curves(_TABLE3, "cifar10", (TRAIN, TEST), False),
    "figure12": Curves(_FIGURE12, "cifar10", (TRAIN, TEST), False),
    "figure13": Curves(_TABLE4, "cifar10", (TRAIN, TEST), False),
    "controls": Curves(_CONTROLS, "cifar10", (TRAIN, TEST), False),
    "authors": Curves(_AUTHORS, "cifar10", (TRAIN, TEST), False),
    "settings": Curves(_SETTINGS, "mnist", (LOSS, TRAIN, TEST), True),
}
