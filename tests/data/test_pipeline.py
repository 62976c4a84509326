from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from mmdet_lite.data.dataset import DetectionDataset
from mmdet_lite.data.pipeline import (
    MixingTransform,
    RandomChoice,
    UntilEpoch,
    UntilIteration,
    run_pipeline,
)
from mmdet_lite.data.sample import SampleRef
from mmdet_lite.data.transforms import RandomFlip
from mmdet_lite.registry import TRANSFORMS, build


class Name:
    """Appends a letter to the sample's file name."""

    def __init__(self, letter):
        self.letter = letter

    def __call__(self, sample, rng):
        return replace(sample, file=sample.file + self.letter)


class Mix(MixingTransform):
    """Writes the partner's file name behind the sample's."""

    def __call__(self, sample, rng, draw_partner):
        return replace(sample, file=f"{sample.file}({draw_partner().file})")


@pytest.fixture
def run(sample):
    def run(transforms, seed=0):
        start, partner = replace(sample, file="."), replace(sample, file="p")
        return run_pipeline(transforms, start, np.random.default_rng(seed), lambda: partner).file

    return run


def test_a_partner_has_gone_through_the_transforms_before(run):
    assert run([Name("a"), Name("b"), Mix(), Name("c")]) == ".ab(pab)c"
    assert run([Mix()]) == ".(p)"


def test_mixing_twice_ends(run):
    assert run([Name("a"), Mix(), Mix()]) == ".a(pa)(pa(pa))"


def test_a_partner_takes_the_way_of_its_branch(run):
    choice = RandomChoice([[Name("b"), Mix(), Name("c")]])
    assert run([Name("a"), choice]) == ".ab(pab)c"
    assert run([choice, Mix()]) == ".b(pb)c(pb(pb)c)"


def test_random_choice_keeps_to_its_probabilities(run):
    choice = RandomChoice([[Name("a"), Name("A")], [Name("b")], []], prob=[0.5, 0.4, 0.1])
    counts = Counter(run([choice], seed) for seed in range(400))
    assert counts.keys() == {".aA", ".b", "."}
    shares = [counts[key] / 400 for key in (".aA", ".b", ".")]
    assert shares == pytest.approx([0.5, 0.4, 0.1], abs=0.06)
    even = Counter(run([RandomChoice([[Name("a")], [Name("b")]])], seed) for seed in range(400))
    assert even[".a"] / 400 == pytest.approx(0.5, abs=0.06)


def test_random_choice_is_built_with_its_transforms(sample):
    flips = [[dict(type="RandomFlip", prob=1.0)], [dict(type="RandomFlip", prob=1.0)]]
    choice = build(dict(type="RandomChoice", transforms=flips), TRANSFORMS)
    assert choice(sample, np.random.default_rng(0), lambda: sample).flip == "horizontal"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"transforms": []}, r"transforms must be lists to choose from, got \[\]"),
        ({"transforms": [RandomFlip()]}, "transforms must be lists to choose from"),
        ({"transforms": [[], []], "prob": [1.0]}, r"prob must be 2 numbers .* of sum 1.*\[1.0\]"),
        ({"transforms": [[], []], "prob": [0.5, 0.6]}, ".*of sum 1"),
        ({"transforms": [[], []], "prob": [-0.5, 1.5]}, ".*of sum 1"),
    ],
)
def test_random_choice_names_what_is_wrong(arguments, message):
    with pytest.raises(ValueError, match=f"RandomChoice: {message}"):
        RandomChoice(**arguments)


def test_a_phase_ends_with_its_epoch(sample):
    phases = UntilEpoch(2, [Name("a"), Mix()], then=[Name("b")])
    start, partner = replace(sample, file="."), replace(sample, file="p")
    rng = np.random.default_rng(0)
    samples = [replace(start, epoch=epoch) for epoch in range(4)]
    files = [run_pipeline([phases], one, rng, lambda: partner).file for one in samples]
    assert files == [".a(pa)", ".a(pa)", ".b", ".b"]


def test_a_phase_ends_with_its_iteration_and_may_be_followed_by_nothing(sample):
    phases = UntilIteration(10, [Name("a")])
    start = replace(sample, file=".")
    files = [
        phases(replace(start, iteration=iteration, epoch=99), None, None).file
        for iteration in (0, 9, 10, 11)
    ]
    assert files == [".a", ".a", ".", "."]


@pytest.mark.parametrize(
    ("make_transform", "message"),
    [
        (lambda: UntilEpoch(-1, []), "UntilEpoch: epoch must be a whole number from 0 on, got -1"),
        (lambda: UntilEpoch(2.5, []), "UntilEpoch: epoch must be a whole number"),
        (lambda: UntilIteration(True, []), "UntilIteration: iteration must be a whole number"),
        (
            lambda: UntilEpoch(1, RandomFlip()),
            "transforms must be a list of transforms, got",
        ),
        (lambda: UntilEpoch(1, [], None), "UntilEpoch: then must be a list .*, got None"),
    ],
)
def test_phases_name_what_is_wrong(make_transform, message):
    with pytest.raises(ValueError, match=message):
        make_transform()


@pytest.mark.parametrize("kind", ["UntilEpoch", "UntilIteration"])
def test_samples_and_their_partners_are_of_the_same_phase(sample, kind):
    class Many(DetectionDataset):
        def __len__(self):
            return 1000

        def load(self, index):
            return replace(sample, index=index, file=str(index))

    class Place:
        def __call__(self, sample, rng):
            return replace(sample, file=f"{sample.epoch},{sample.iteration}")

    first, second = [dict(type=Mix)], [dict(type="RandomFlip", prob=0)]
    end = {"UntilEpoch": {"epoch": 3}, "UntilIteration": {"iteration": 30}}[kind]
    phases = build(dict(type=kind, transforms=first, then=second, **end), TRANSFORMS)
    dataset = Many("abcd", range(4), [Place(), phases], seed=1)
    files = [dataset[SampleRef(5, epoch=e, iteration=10 * e)].file for e in (1, 2, 3)]
    assert files == ["1,10(1,10)", "2,20(2,20)", "3,30"]


def test_mixing_transform_that_returns_nothing_is_named(run):
    class Forgetful(MixingTransform):
        def __call__(self, sample, rng, draw_partner):
            draw_partner()

    with pytest.raises(TypeError, match="transform Forgetful returned None, expected a Sample"):
        run([Forgetful()])


def test_partners_depend_on_seed_epoch_and_index_only(sample):
    class Many(DetectionDataset):
        def __len__(self):
            return 1000

        def load(self, index):
            return replace(sample, index=index, file=str(index))

    def file(seed=1, **ref):
        return Many("abcd", range(4), [Mix(), Mix()], seed)[SampleRef(**ref)].file

    reference = file(index=3, epoch=2)
    assert reference == file(index=3, epoch=2, iteration=7, slot=1)
    others = {file(index=3, epoch=3), file(index=4, epoch=2), file(seed=2, index=3, epoch=2)}
    assert len(others | {reference}) == 4
