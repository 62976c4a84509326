"""TIDE's error types on errors that were made on purpose, and what mending them gains."""

from __future__ import annotations

import numpy as np
import pytest
from evaluation_scenes import Scene, random_scene

from mmdet_lite.evaluation.matching import NO_MATCH, match
from mmdet_lite.evaluation.tide import TYPES, count_errors, find_errors, gains

A, B, C = (0, 0, 100, 100), (200, 0, 100, 100), (0, 150, 100, 100)
NEAR_A = (40, 0, 100, 100)  # IoU 0.43
GOOD = [(1, 0, 0.95, A)]  # a true detection of A
OBJECTS = [(1, 0, A), (1, 1, B)]


def analyse(scene):
    overlaps = scene.overlaps()
    matches = match(overlaps, 0.5)
    return overlaps, matches, find_errors(overlaps, matches)


def counts(objects, found):
    """Types that occur, and how often."""
    return {k: v for k, v in count_errors(analyse(Scene(objects, found))[2]).items() if v}


def gain(scene, name):
    return gains(*analyse(scene))[name]


def ap50(scene):
    """Of pycocotools, over all classes that have objects."""
    precision = scene.pycocotools().eval["precision"][0, :, :, 0, -1]
    return precision[:, precision[0] >= 0].mean()


# --------------------------------------------------------------- one error of each type


def test_the_right_place_with_the_wrong_class_is_a_classification_error():
    assert counts(OBJECTS, [*GOOD, (1, 2, 0.9, B)]) == {"classification": 1}


def test_the_right_class_with_too_little_overlap_is_a_localisation_error():
    assert counts([(1, 0, A)], [(1, 0, 0.9, NEAR_A)]) == {"localisation": 1}


def test_the_wrong_class_with_too_little_overlap_is_both():
    assert counts([(1, 0, A)], [*GOOD, (1, 1, 0.9, NEAR_A)]) == {"both": 1}


def test_a_second_detection_of_an_object_is_a_duplicate():
    assert counts([(1, 0, A)], [*GOOD, (1, 0, 0.5, A)]) == {"duplicate": 1}


def test_a_detection_of_nothing_is_background():
    assert counts([(1, 0, A)], [*GOOD, (1, 0, 0.5, C)]) == {"background": 1}
    assert counts([(1, 0, A)], [*GOOD, (2, 0, 0.5, A)]) == {"background": 1}


def test_an_object_that_nothing_came_near_is_missed():
    assert counts(OBJECTS, GOOD) == {"missed": 1}


# --------------------------------------------------------------- mixtures


def test_an_object_that_is_not_found_is_missed_unless_an_error_is_about_it():
    both = [(1, 1, 0.9, NEAR_A)]
    assert counts([(1, 0, A)], both) == {"both": 1, "missed": 1}
    assert counts([(1, 0, A)], [*both, (1, 1, 0.8, A)]) == {"both": 1, "classification": 1}


def test_one_of_each_in_one_image():
    objects = [(1, 0, A), (1, 1, B), (1, 0, C), (1, 2, (200, 150, 100, 100)), (2, 1, A)]
    found = [
        (1, 0, 0.95, A),
        (1, 0, 0.90, A),  # duplicate
        (1, 0, 0.85, B),  # classification
        (1, 0, 0.80, (0, 190, 100, 100)),  # localisation, of C
        (1, 1, 0.75, (245, 150, 100, 100)),  # both; its object is missed, as is that of image 2
        (1, 2, 0.70, (330, 260, 20, 20)),  # background
    ]
    expected = dict.fromkeys(TYPES, 1) | {"missed": 2}
    assert counts(objects, found) == expected


def test_where_two_types_fit_localisation_goes_before_classification_before_duplicate():
    # its own class at 0.43, another at 0.67
    objects = [(1, 0, A), (1, 1, (60, 0, 100, 100))]
    assert counts(objects, [*GOOD, (1, 0, 0.5, NEAR_A)]) == {"localisation": 1, "missed": 1}
    # its own class at 1, found already, another at 0.67
    objects = [(1, 0, A), (1, 1, (20, 0, 100, 100))]
    assert counts(objects, [*GOOD, (1, 0, 0.5, A)]) == {"classification": 1}


def test_crowds_make_no_errors():
    crowd = (1, 0, (0, 0, 300, 300), True)
    assert counts([crowd], [(1, 0, 0.9, A)]) == {}
    assert counts([crowd], [(1, 1, 0.9, A)]) == {"background": 1}


def test_every_false_detection_has_one_type():
    overlaps, matches, errors = analyse(random_scene(1, num_images=30))
    assert ((errors.types >= 0) == matches.is_false).all()
    assert set(np.unique(errors.types[errors.types >= 0])) == set(range(5))
    about = errors.is_type("classification") | errors.is_type("localisation")
    assert ((errors.about != NO_MATCH) == about).all()
    assert not (errors.is_missed & (matches.found_by != NO_MATCH)).any()


# --------------------------------------------------------------- gains, evaluated anew


FOUND = [
    (1, 0, 0.95, A),
    (1, 2, 0.90, B),  # classification: it is a 1
    (1, 0, 0.85, (0, 190, 100, 100)),  # localisation: it is C
    (1, 0, 0.80, A),  # duplicate
    (1, 1, 0.75, (160, 0, 20, 20)),  # background
    (1, 1, 0.70, B),  # true
    (2, 1, 0.65, NEAR_A),  # both
    (2, 2, 0.60, C),  # true
    (2, 0, 0.50, B),  # true
    (2, 1, 0.40, (300, 200, 80, 80)),  # true
]
MIXED = [(1, 0, A), (1, 1, B), (1, 0, C), (2, 0, A), (2, 2, C), (2, 2, (200, 150, 100, 100))]
MIXED += [(2, 0, B), (2, 1, (300, 200, 80, 80))]
MENDED = {
    # detections that change (or, with None, go), by the type that is mended; of two detections of
    # B the one with the lower score goes
    "classification": {1: (1, 1, 0.90, B), 5: None},
    "localisation": {2: (1, 0, 0.85, C)},
    "both": {6: None},
    "duplicate": {3: None},
    "background": {4: None},
    "false positives": {1: None, 2: None, 3: None, 4: None, 6: None},
}


def test_the_mixture_is_what_it_says():
    expected = dict.fromkeys(TYPES, 1) | {"missed": 2}
    assert counts(MIXED, FOUND) == expected


@pytest.mark.parametrize("name", MENDED)
def test_a_gain_is_what_pycocotools_finds_with_the_errors_mended(name):
    changes = MENDED[name]
    mended = [changes.get(i, each) for i, each in enumerate(FOUND)]
    expected = ap50(Scene(MIXED, [each for each in mended if each])) - ap50(Scene(MIXED, FOUND))
    assert gain(Scene(MIXED, FOUND), name) == pytest.approx(expected, abs=1e-12)
    assert expected > 0.01


@pytest.mark.parametrize(("name", "gone"), [("missed", {3, 5}), ("false negatives", {2, 3, 5})])
def test_missed_objects_are_no_longer_asked_for(name, gone):
    left = [each for i, each in enumerate(MIXED) if i not in gone]
    expected = ap50(Scene(left, FOUND)) - ap50(Scene(MIXED, FOUND))
    assert gain(Scene(MIXED, FOUND), name) == pytest.approx(expected, abs=1e-12)
    assert expected > 0.01


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", TYPES)
def test_gains_in_crowded_scenes_are_what_pycocotools_finds(name, seed):
    scene = random_scene(seed, num_images=25)
    overlaps, matches, errors = analyse(scene)
    mended = Scene([], [], num_images=25)
    mended.objects, mended.found = mend(scene, overlaps, matches, errors, name)
    expected = ap50(mended) - ap50(scene)
    assert gains(overlaps, matches, errors)[name] == pytest.approx(expected, abs=1e-12)
    assert name == "both" or expected > 0


def mend(scene, overlaps, matches, errors, name):
    """Objects and detections as they were without the errors of one type, one after the other."""
    ordered = sorted(scene.objects, key=lambda each: each[0])  # as in overlaps.truth
    if name == "missed":
        return [
            o for o, gone in zip(ordered, errors.is_missed, strict=True) if not gone
        ], scene.found
    found = sorted(scene.found, key=lambda each: each[0])  # as overlaps.rows counts them
    taken = set()
    for i, row in enumerate(overlaps.rows):  # the best first
        thing = matches.object_of[i] if matches.is_true[i] else NO_MATCH
        if errors.is_type(name)[i]:
            thing = errors.about[i]
            image, label, box, _ = ordered[thing] if thing != NO_MATCH else (None,) * 4
            found[row] = None if thing == NO_MATCH else (image, label, found[row][2], box)
        if thing != NO_MATCH and thing in taken:
            found[row] = None
        taken.add(thing)
    return ordered, [each for each in found if each]


def test_the_detection_with_the_higher_score_stays_when_two_are_of_one_object():
    objects = [(1, 0, A), (2, 0, A)]
    above = Scene(objects, [(1, 1, 0.9, A), (1, 0, 0.5, A), (2, 0, 0.4, (200, 200, 9, 9))])
    below = Scene(objects, [(1, 1, 0.3, A), (1, 0, 0.5, A), (2, 0, 0.4, (200, 200, 9, 9))])
    assert gain(above, "classification") == pytest.approx(0, abs=1e-12)
    assert gain(below, "classification") == pytest.approx(0, abs=1e-12)
    alone = Scene(objects, [(1, 1, 0.9, A), (2, 0, 0.4, A)])
    assert gain(alone, "classification") == pytest.approx(1 - 51 / 101, abs=1e-12)


def test_a_class_that_is_missed_altogether_gains_nothing():
    assert gain(Scene(OBJECTS, GOOD), "missed") == pytest.approx(0, abs=1e-12)


def test_all_mended_together_leave_nothing_to_gain():
    perfect = Scene(OBJECTS, [*GOOD, (1, 1, 0.9, B)])
    assert set(gains(*analyse(perfect)).values()) == {0.0}


def test_nothing_at_all():
    assert np.isnan(list(gains(*analyse(Scene([], []))).values())).all()
    assert set(gains(*analyse(Scene(OBJECTS, []))).values()) == {0.0}
