"""VOC's average precision: cases worked out by hand, the devkit's own rule, and torchmetrics."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from torchmetrics.detection import MeanAveragePrecision

from experiments.tasks import detection as task
from helpers.drawn import boxes


def found(rows, scores, labels):
    return {
        "boxes": boxes(*rows),
        "scores": torch.as_tensor(scores),
        "labels": torch.as_tensor(labels, dtype=torch.long),
    }


def true(rows, labels, difficult=None):
    marks = torch.tensor(difficult or [0] * len(labels), dtype=torch.bool)
    return {
        "boxes": boxes(*rows),
        "labels": torch.tensor(labels, dtype=torch.long),
        "difficult": marks,
    }


A, B, C = [0, 0, 10, 10], [20, 20, 30, 30], [50, 50, 60, 60]


def test_average_precision_is_the_11_point_one():
    """Right, wrong, right: precision 1 up to recall 0.5, six points, and 2/3 at the other five."""
    detections = [found([A, B, C], [0.9, 0.8, 0.7], [1, 1, 1])]
    assert task.mean_average_precision(detections, [true([A, C], [1, 1])]) == pytest.approx(
        (6 * 1 + 5 * 2 / 3) / 11
    )


def test_average_precision_wants_an_iou_of_one_half():
    for height, expected in ((5, 1), (4.9, 0)):
        detections = [found([[0, 0, 10, height]], [0.9], [1])]
        figure = task.mean_average_precision(detections, [true([A], [1])])
        assert figure == pytest.approx(expected)


def test_average_precision_is_the_mean_over_the_classes_that_the_set_has():
    detections = [found([A, B, C], [0.9, 0.8, 0.7], [1, 1, 5])]  # class 5 is nowhere
    truth = [true([A, B], [1, 2])]
    assert task.mean_average_precision(detections, truth) == pytest.approx((1 + 0) / 2)


def test_recall_reaches_a_tenth_exactly():
    """3 of 10 objects: four points (0, 0.1, 0.2, 0.3), whatever 3 × 0.1 is in binary."""
    rows = [[20 * i, 0, 20 * i + 10, 10] for i in range(10)]
    for count in range(11):
        detections = found(rows[:count], [0.5] * count, [1] * count)
        figure = task.mean_average_precision([detections], [true(rows, [1] * 10)])
        assert figure == pytest.approx((count + 1) / 11 if count else 0)


# Each case: detections by falling score, objects, which are difficult, verdicts, average precision
LARGE, SMALL = [100, 100, 140, 140], [110, 110, 120, 120]
LOW, MIDDLE, HIGH = [0, 0, 10, 10], [0, 0.5, 10, 10.5], [0, 2, 10, 12]  # IoU 0.90, 0.74, 0.67
CASES = {
    "a small box in a difficult object is wrong": ([SMALL, A], [A, LARGE], [0, 1], [0, 1], 1 / 2),
    "a box on a difficult object is ignored": ([LARGE, A], [A, LARGE], [0, 1], [-1, 1], 1),
    "and so are more of them": ([LARGE, LARGE, A], [A, LARGE], [0, 1], [-1, -1, 1], 1),
    "difficult objects are not missed": ([A], [A, LARGE], [0, 1], [1], 1),
    "a second box on an object is wrong": ([A, A, B], [A, B], [0, 0], [1, 0, 1], (6 + 10 / 3) / 11),
    "also if another object is free": ([LOW, MIDDLE], [LOW, HIGH], [0, 0], [1, 0], 6 / 11),
    "a box on a difficult object leaves others": ([MIDDLE], [LOW, HIGH], [1, 0], [-1], 0),
    "a box on an object leaves difficult ones": ([MIDDLE], [LOW, HIGH], [0, 1], [1], 1),
    "the first of two equal objects is taken": ([A, A], [A, A], [0, 1], [1, 0], 1),
    "in the order of the objects": ([A, A], [A, A], [1, 0], [-1, -1], 0),
    "a box on nothing is wrong": ([C, A], [A], [0], [0, 1], 1 / 2),
    "no box finds nothing": ([], [A], [0], [], 0),
}


@pytest.mark.parametrize("case", CASES)
def test_detections_are_judged_as_by_vocs_devkit(case):
    rows, objects, difficult, verdicts, figure = CASES[case]
    detections = found(rows, [1 - i / 10 for i in range(len(rows))], [3] * len(rows))
    truth = true(objects, [3] * len(objects), difficult)
    assert task.judge(detections, truth).tolist() == verdicts
    assert task.mean_average_precision([detections], [truth]) == pytest.approx(figure)


def test_the_higher_score_finds_the_object_wherever_it_stands():
    detections = found([A, A], [0.3, 0.8], [1, 1])
    assert task.judge(detections, true([A], [1])).tolist() == [task.WRONG, task.RIGHT]


def test_boxes_of_other_classes_and_images_find_nothing():
    other = task.judge(found([A], [0.9], [2]), true([A, B], [1, 2]))
    assert other.tolist() == [task.WRONG]
    images = [found([A], [0.9], [1]), found([A], [0.8], [1])]
    figure = task.mean_average_precision(images, [true([A], [1]), true([B], [1])])
    assert figure == pytest.approx(6 / 11)


def test_boxes_that_are_no_numbers_find_nothing():
    detections = found([[float("nan")] * 4], [0.9], [1])
    assert task.judge(detections, true([A], [1])).tolist() == [task.WRONG]


def test_a_class_with_difficult_objects_alone_is_not_in_the_mean():
    detections = [found([A, C], [0.9, 0.8], [1, 2])]
    truth = [true([A, B], [1, 2], [0, 1])]
    assert task.mean_average_precision(detections, truth) == 1


@pytest.mark.parametrize("truth", [true([A, B], [1, 2], [1, 1]), true([], [])])
def test_average_precision_without_an_object_that_counts_is_no_number(truth):
    assert math.isnan(task.mean_average_precision([found([A], [0.9], [1])], [truth]))


def devkits(detections, truth, label):
    """VOCevaldet.m, line by line, with the recalls as fractions."""
    rows = [
        (float(score), image, box)
        for image, of_image in enumerate(detections)
        for score, box, kind in zip(
            of_image["scores"], of_image["boxes"].tolist(), of_image["labels"], strict=True
        )
        if kind == label
    ]
    objects = [
        [[box, bool(hard), False] for box, hard, kind in zip(
            each["boxes"].tolist(), each["difficult"], each["labels"], strict=True
        ) if kind == label]
        for each in truth
    ]  # fmt: skip
    positives = sum(not hard for image in objects for _, hard, _ in image)
    right = wrong = 0
    curve = []
    for _, image, box in sorted(rows, key=lambda row: -row[0]):
        best, matched = -math.inf, None
        for candidate in objects[image]:
            other = candidate[0]
            width = min(box[2], other[2]) - max(box[0], other[0])
            height = min(box[3], other[3]) - max(box[1], other[1])
            if width > 0 and height > 0:
                areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (box, other)]
                overlap = width * height / (sum(areas) - width * height)
                if overlap > best:
                    best, matched = overlap, candidate
        if best >= 0.5:
            if not matched[1]:
                right, wrong = (right, wrong + 1) if matched[2] else (right + 1, wrong)
                matched[2] = True
        else:
            wrong += 1
        if right + wrong:
            curve.append((Fraction(right, positives), right / (right + wrong)))
    recalls = [Fraction(tenths, 10) for tenths in range(11)]
    return sum(max([p for r, p in curve if r >= least], default=0) for least in recalls) / 11


def random_boxes(random, count, spread):
    corners = random.integers(0, spread, (count, 2)).astype(float)
    return np.concatenate([corners, corners + random.integers(6, 14, (count, 2))], axis=1).tolist()


def test_mean_average_precision_is_the_devkits_on_crowded_images():
    random, figures = np.random.default_rng(0), set()
    for _ in range(60):
        detections, truth = [], []
        for _ in range(3):
            count = int(random.integers(1, 9))
            truth.append(
                true(
                    random_boxes(random, count, 7),
                    random.integers(1, 3, count).tolist(),
                    random.integers(0, 2, count).tolist(),
                )
            )
            count = int(random.integers(0, 15))
            scores = random.permutation(count) / 20
            detections.append(
                found(random_boxes(random, count, 7), scores, random.integers(1, 3, count))
            )
        labels = {int(label) for each in truth for label in each["labels"][~each["difficult"]]}
        expected = [devkits(detections, truth, label) for label in labels]
        figure = task.mean_average_precision(detections, truth)
        if labels:
            assert figure == pytest.approx(sum(expected) / len(expected))
        figures.add(round(figure, 6))
    assert len(figures) > 40


def test_mean_average_precision_is_torchmetrics_where_their_rules_agree():
    """COCO gives a detection to the best object that is free: the same where none overlap."""
    random = np.random.default_rng(1)
    cells = np.stack(np.meshgrid(np.arange(6), np.arange(6)), -1).reshape(-1, 2) * 30.0
    reference = MeanAveragePrecision(
        iou_thresholds=[0.5],
        rec_thresholds=[recall / 10 for recall in range(11)],
        max_detection_thresholds=[1, 10, 200],
    )
    detections, truth = [], []
    for _ in range(20):
        places = cells[random.permutation(36)[:12]]
        rows = np.concatenate([places, places + random.integers(12, 30, (12, 2))], axis=1)
        labels = random.integers(1, 6, 12)
        truth.append(true(rows.tolist(), labels.tolist()))
        jittered = np.repeat(rows, 2, axis=0) + random.normal(0, 2, (24, 4))
        scores = random.random(24).astype(np.float32)
        guesses = np.where(random.random(24) < 0.8, np.repeat(labels, 2), 3)
        detections.append(found(jittered.tolist(), scores, guesses))
    reference.update(detections, truth)
    figure = task.mean_average_precision(detections, truth)
    assert 0.2 < figure < 0.9
    assert figure == pytest.approx(float(reference.compute()["map_50"]), abs=1e-6)
