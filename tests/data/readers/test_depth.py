from __future__ import annotations

import numpy as np
import pytest

from kdbench.data.readers.depth import FARTHEST, MARGIN, crop, person_box, range_of, to_grey


def test_the_box_holds_the_person_over_the_whole_trial_with_a_margin():
    mask = np.zeros((3, 60, 80), bool)
    mask[0, 20:40, 30:40] = True
    mask[2, 25:45, 50:60] = True
    top, left, side = person_box(mask)
    assert side == round(30 * (1 + 2 * MARGIN))
    assert top <= 20
    assert top + side >= 45
    assert left <= 30
    assert left + side >= 60


def test_specks_do_not_widen_the_box():
    mask = np.zeros((4, 60, 80), bool)
    mask[:, 20:40, 30:40] = True
    clean = person_box(mask)
    mask[0, 2, 70] = mask[1, 55, 3:5] = mask[2, 5:7, 5] = True
    # Many specks of different frames that together make a block.
    for frame, (row, column) in enumerate([(50, 70), (51, 71), (52, 70), (50, 72)]):
        mask[frame, row, column] = True
    assert person_box(mask) == clean


def test_an_empty_trial_has_no_box():
    with pytest.raises(ValueError, match="no person in any frame"):
        person_box(np.zeros((2, 20, 20), bool))


def test_what_lies_beyond_the_image_is_background():
    frames = np.arange(1, 17, dtype=np.uint16).reshape(1, 4, 4)
    cut = crop(frames, -1, 2, 4)
    assert cut.tolist() == [[[0, 0, 0, 0], [3, 4, 0, 0], [7, 8, 0, 0], [11, 12, 0, 0]]]


def test_near_is_bright_far_is_dim_and_nobody_is_black():
    depth = np.concatenate([np.full(500, 2000), np.linspace(2000, 3000, 1000), np.full(500, 3000), [9000, 1, 0]])
    near, far = range_of(depth)
    assert (near, far) == (2000, 3000)
    grey = to_grey(depth, near, far)
    assert grey.dtype == np.uint8
    assert (grey[0], grey[1500], grey[-3], grey[-2], grey[-1]) == (255, FARTHEST, FARTHEST, 255, 0)
    assert (np.diff(grey[500:1500].astype(int)) <= 0).all()


def test_a_flat_person_is_no_division_by_zero():
    grey = to_grey(np.array([[[2500, 0]]], np.uint16), 2500.0, 2500.0)
    assert grey[0, 0, 1] == 0
    assert grey[0, 0, 0] >= FARTHEST
