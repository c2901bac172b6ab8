"""The items of the paper and of the suite's own questions: one row for each table and its figures.

Tables, figures, the report, the list of missing runs and Make read these rows. An arm's name is an
optimizer's and a method's suffix: `adam` and `+lrd0.5` make `adam+lrd0.5`.
"""

from __future__ import annotations

from dataclasses import replace

from scripts.item import (
    BEYOND,
    CHOICE_RATES,
    HALF_LABEL,
    HALF_RATE,
    KEEP_PROBS,
    RATES,
    STEP_RATES,
    TOY_RATES,
    Item,
    step_arm,
    toy_arm,
)


def _drawing(name: str, heading: str) -> Item:
    return Item(name, heading, figures={name: ""}, layout="drawing")


def _choice(optimizer: str, name: str) -> Item:
    decays = {"": "", ", weight decay 0.0005": "+weight_decay=0.0005"}
    return Item(
        f"choice_{optimizer}",
        f"Not in the paper: {name} on MNIST without and with LRD, by learning rate",
        caption=f"{name} without (base) and with LRD (p = 0.5) on MNIST, by learning rate",
        experiments=("mnist_choice",),
        optimizers=(optimizer,),
        methods={m + d: s + e for d, e in decays.items() for m, s in _LRD.items()},
        rates=CHOICE_RATES[optimizer],
        seeds=(0, 1),
        figures={f"choice_{optimizer}": "mnist_choice"},
        layout="rates",
    )


_LRD = {"base": "", "LRD": "+lrd0.5"}
_PAPERS = ("sgdm", "rmsprop", "adam", "amsgrad", "radam")
_ADAM_SGDM = ("adam", "sgdm")
_ACCURACIES = ("train_accuracy", "test_accuracy")
_LOSS_AND_ACCURACIES = ("train_loss", *_ACCURACIES)
_BASES = ("rmsprop", "adamw")
_FAMILY = {
    "base": "",
    "SkipUpdate, element": "+lrd0.5+rescale",
    "SkipUpdate, row": "+lrd0.5+row+rescale",
    "SkipUpdate, tensor": "+lrd0.5+tensor+rescale",
    "Magma": "+magma0.5",
    "Magma's scale alone": "+magma1",
    "Cautious": "+cautious",
    "noise": "+noise0.5",
}
_STEPS = {"Magma": "magma0.5", "Magma's scale": "magma1", "Cautious": "cautious"}
_ROWS = (
    Item(
        name="table1",
        heading="Table 1 and Figures 5 to 7: learning rate dropout and five optimizers",
        caption="{result} without (base) and with learning rate dropout (LRD, p = 0.5)",
        experiments=("mnist", "cifar10", "cifar100"),
        optimizers=_PAPERS,
        methods=_LRD,
        figures={"figure5": "mnist", "figure6": "cifar10", "figure7": "cifar100"},
        columns=_LOSS_AND_ACCURACIES,
        optimizers_across=True,
        published="table1",
    ),
    Item(
        name="table2",
        heading="Table 2 and Figure 10: the probability of an update",
        caption="{result} by p, the probability that a parameter is updated (p = 1: without "
        "learning rate dropout)",
        experiments=("cifar10",),
        optimizers=_ADAM_SGDM,
        methods={"p = 1": "", **{f"p = {p:g}": f"+lrd{p:g}" for p in KEEP_PROBS[:-1]}},
        figures={"figure10": "cifar10"},
        columns=_ACCURACIES,
        published="table2",
    ),
    Item(
        name="table3",
        heading="Table 3 and Figure 11: other regularizations",
        caption="{result} with standard dropout (SD, 0.9 of the units kept), noisy gradient (NG), "
        "noisy label (NL, 5 %) and learning rate dropout (LRD, p = 0.5)",
        experiments=("cifar10",),
        optimizers=_ADAM_SGDM,
        methods={
            "none": "",
            "SD": "+sd0.9",
            "NG": "+ng0.1",
            "NL": "+nl0.05",
            "LRD": "+lrd0.5",
            "LRD and SD": "+lrd0.5+sd0.9",
            "LRD and NG": "+lrd0.5+ng0.1",
        },
        figures={"figure11": "cifar10"},
        columns=_ACCURACIES,
        published="table3",
    ),
    Item(
        name="figure12",
        heading="Figure 12: dropout on the gradient",
        experiments=("cifar10",),
        optimizers=_ADAM_SGDM,
        methods={"none": "", "LRD": "+lrd0.5", "DG": "+dg0.5"},
        figures={"figure12": "cifar10"},
        columns=_ACCURACIES,
    ),
    Item(
        name="table4",
        heading="Table 4 and Figure 13: standard dropout",
        caption="{result} with standard dropout by p_sd, the probability that a unit is kept "
        "(p_sd = 1: none)",
        experiments=("cifar10",),
        optimizers=("adam",),
        methods={f"p_sd = {p:g}": "" if p == 1 else f"+sd{p:g}" for p in (1, 0.9, 0.8, 0.7, 0.6)},
        figures={"figure13": "cifar10"},
        columns=_ACCURACIES,
        published="table4",
    ),
    Item(
        name="controls",
        heading="Not in the paper: is it the mask, or the smaller mean step?",
        caption="Is it the mask, or the smaller mean step? {Result} of the base optimizer, of "
        "learning rate dropout (LRD, p = 0.5), of the base at half the learning rate, and of LRD "
        "with its updates doubled",
        experiments=("mnist", "cifar10"),
        optimizers=_PAPERS,
        methods={**_LRD, HALF_LABEL: HALF_RATE, "LRD, updates doubled": "+lrd0.5+rescale"},
        figures={"controls": "cifar10"},
        columns=_ACCURACIES,
    ),
    Item(
        name="step",
        heading="Not in the paper: LRD beside the base at the same mean step, by learning rate",
        caption="LRD (p = 0.5) beside the base at half the rate, which has its mean step: {result} "
        "of SGDM with weight decay 0.0005",
        experiments=("mnist",),
        optimizers=("sgdm",),
        methods={
            f"{label}, rate {rate * share:g}": step_arm(method, rate).removeprefix("sgdm")
            for rate in STEP_RATES
            for label, method, share in (("LRD", "lrd0.5", 1), ("base", "lr0.5", 0.5))
        },
        seeds=tuple(range(6)),
        figures={"step": "mnist"},
        layout="step",
    ),
    _choice("sgdm", "SGDM"),
    _choice("adam", "Adam"),
    Item(
        name="choice_best",
        heading="Not in the paper: LRD and its base on MNIST, each at its best",
        caption="{result} without (base) and with learning rate dropout (LRD, p = 0.5), each at "
        "the learning rate and weight decay that are best on held-out training images, with seeds "
        "that have chosen none",
        experiments=("mnist",),
        optimizers=("sgdm", "adam"),
        methods={label: f"{suffix}+best" for label, suffix in _LRD.items()},
        seeds=tuple(range(10, 18)),
    ),
    Item(
        name="authors",
        heading="Not in the paper: RMSprop as its authors released it",
        caption="{result} of RMSprop with learning rate dropout (LRD, p = 0.5) by the paper's "
        "equations, and as its authors released it: without weight decay in the update",
        experiments=("cifar10",),
        optimizers=("rmsprop",),
        methods={**_LRD, "LRD, authors' variant": "+lrd0.5+authors"},
        figures={"authors": "cifar10"},
        columns=_ACCURACIES,
    ),
    Item(
        name="settings",
        heading="Not in the paper: settings that could explain numbers unlike the published ones",
        caption="Settings that the paper leaves open: {result} as in Table 1, without (base) and "
        "with learning rate dropout (LRD, p = 0.5); with weight decay, of the base at half the "
        "rate too; and with pixels in [0, 1] that are not standardised",
        experiments=("mnist",),
        optimizers=_PAPERS,
        methods={
            **_LRD,
            "base, weight decay 0.0005": "+weight_decay=0.0005",
            "LRD, weight decay 0.0005": "+lrd0.5+weight_decay=0.0005",
            "base, rate halved, weight decay 0.0005": "+lr0.5+weight_decay=0.0005",
            "base, pixels in [0, 1]": "+standardised=false",
        },
        figures={"settings": "mnist"},
        columns=_LOSS_AND_ACCURACIES,
        optimizers_across=True,
        published="table1",
    ),
    Item(
        name="figure8",
        heading="Figure 8: VOC2012 segmentation, PSPNet",
        caption="without (base) and with learning rate dropout (LRD, p = 0.5)",
        experiments=("pspnet",),
        optimizers=("adam",),
        methods={"base": "", "LRD, p = 0.5": "+lrd0.5"},
        figures={"figure8": "pspnet"},
        columns=("mean_iou", "pixel_accuracy"),
        layout="metrics",
        published="figure8",
    ),
    Item(
        name="figure9",
        heading="Figure 9: VOC detection, SSD",
        caption="without (base) and with learning rate dropout (LRD, p = 0.5)",
        experiments=("ssd",),
        optimizers=("adam",),
        methods={"base": "", "LRD, p = 0.5": "+lrd0.5"},
        figures={"figure9": "ssd"},
        columns=("train_loss", "val_loss"),
        layout="metrics",
    ),
    Item(
        name="figure4",
        heading="Figure 4: the toy example",
        caption="percent of the starts that end in the basin of each minimum, by learning rate and "
        "p, the probability that a parameter is updated",
        experiments=("toy",),
        optimizers=("adam",),
        methods={
            f"rate {rate:g}, p = {p:g}": toy_arm(rate, p).removeprefix("adam")
            for rate in TOY_RATES
            for p in KEEP_PROBS
        },
        figures={"figure4": "toy", "figure4-basins": "toy"},
        layout="toy",
    ),
    Item(
        name="family_rates",
        heading="Not in the paper: the family of masked updates, by learning rate",
        caption="The family of masked updates on a small language model, by learning rate",
        experiments=("language",),
        optimizers=_BASES,
        methods=_FAMILY,
        rates=(*RATES, *BEYOND),
        seeds=(0, 1),
        figures={"family_rates": "language"},
        layout="rates",
    ),
    Item(
        name="family_decay",
        heading="Not in the paper: cautious weight decay, by learning rate",
        caption="Weight decay only where it goes along with the update, by learning rate",
        experiments=("language",),
        optimizers=("adamw",),
        methods={"base": "", "cautious decay": "+cautious_decay"},
        rates=RATES,
        seeds=(0, 1),
        figures={"family_decay": "language"},
        layout="rates",
    ),
    Item(
        name="family_best",
        heading="Not in the paper: the family of masked updates, each at its best rate",
        caption="{result} of the family of masked updates, each at its best learning rate by "
        "validation, with seeds that have chosen none; and of the base at the rate at which its "
        "mean step is an arm's",
        experiments=("language",),
        optimizers=_BASES,
        methods={
            **{label: f"{suffix}+best" for label, suffix in _FAMILY.items()},
            **{f"base, {name}'s step": f"+step_of_{word}+best" for name, word in _STEPS.items()},
        },
        seeds=tuple(range(10, 18)),
    ),
    _drawing("figure1", "Figure 1: a saddle point, without and with learning rate dropout"),
    _drawing(
        "figure2", "Figure 2: what back-propagation, dropout and learning rate dropout update"
    ),
    _drawing("figure3", "Figure 3: the eight descent paths of three parameters"),
    replace(_drawing("lrd", "The README's picture of learning rate dropout"), in_report=False),
)
_DEMO = replace(
    _ROWS[0].of_experiment("digits"), heading="The demo: Table 1 on digits", in_report=False
)
ITEMS = {item.name: item for item in (*_ROWS, _DEMO)}
FIGURES = {figure: item.name for item in ITEMS.values() for figure in item.figures}
