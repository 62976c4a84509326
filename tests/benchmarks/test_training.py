"""Variants of the training step, and which of them there are."""

from __future__ import annotations

import pytest

from mmdet_lite.benchmarks.inputs import InputSize
from mmdet_lite.benchmarks.training import Variant, benchmark_infer, parse_variant


@pytest.mark.parametrize(
    ("text", "variant", "name"),
    [
        ("fp16", Variant("fp16"), "fp16"),
        ("bf16,channels_last", Variant("bf16", True), "bf16, channels_last"),
        ("float32,compile", Variant("float32", False, True), "float32, compile"),
        (
            "float32,compile,channels_last",
            Variant("float32", True, True),
            "float32, channels_last, compile",
        ),
    ],
)
def test_variants_are_read_and_named(text, variant, name):
    assert parse_variant(text) == variant
    assert variant.name == name


@pytest.mark.parametrize("text", ["half", "bf16,channels", "compile", ""])
def test_other_words_are_told(text):
    with pytest.raises(ValueError, match="expected float32, bf16, fp16, alone or with ,channels"):
        parse_variant(text)


def test_detection_is_not_compiled(tiny):
    with pytest.raises(ValueError, match="',compile' is for training steps"):
        benchmark_infer(tiny(), InputSize(1, 64, 64, 2), [Variant(compile=True)])
