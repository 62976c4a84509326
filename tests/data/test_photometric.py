import cv2
import numpy as np
import pytest

from mmdet_lite.data.photometric import HSVJitter, PhotometricDistortion


class Scripted:
    """Stands for a generator: a transform is applied where ``random`` is below one half."""

    def __init__(self, randoms, uniforms=()):
        self.randoms, self.uniforms = iter(randoms), iter(uniforms)

    def random(self):
        return next(self.randoms)

    def uniform(self, low, high):
        value = next(self.uniforms)
        assert low <= value <= high
        return value


YES, NO = 0.1, 0.9
# in the order in which they are drawn: contrast first?, brightness, [contrast], saturation, hue


def constant(sample, rgb):
    sample.image = np.full((4, 4, 3), rgb, dtype=np.uint8)
    return sample


def test_nothing_drawn_changes_nothing(sample):
    before = sample.image.copy()
    out = PhotometricDistortion()(sample, Scripted([NO] * 5))
    assert (out.image == before).all()


def test_brightness_is_added_before_contrast_multiplies(sample):
    sample = constant(sample, (100, 200, 250))
    out = PhotometricDistortion()(sample, Scripted([YES, YES, YES, NO, NO], [-20, 1.25]))
    assert out.image[0, 0].tolist() == [100, 225, 255]


def test_saturation_zero_is_grey_and_keeps_the_value(sample):
    sample = constant(sample, (200, 100, 50))
    transform = PhotometricDistortion(saturation_range=(0, 1))
    out = transform(sample, Scripted([NO, NO, YES, NO, NO], [0.0]))
    assert out.image[0, 0].tolist() == [200, 200, 200]


def test_hue_turns_red_into_green(sample):
    sample = constant(sample, (250, 0, 0))
    transform = PhotometricDistortion(hue_delta=120)
    out = transform(sample, Scripted([NO, NO, NO, YES, NO], [120]))
    np.testing.assert_allclose(out.image[0, 0].astype(int), [0, 250, 0], atol=8)


def test_result_is_uint8_and_boxes_stay(sample):
    boxes = sample.boxes
    for seed in range(20):
        out = PhotometricDistortion()(sample, np.random.default_rng(seed))
        assert out.image.dtype == np.uint8 and out.image.shape == (40, 60, 3)
        assert out.boxes is boxes


class Factors:
    """Stands for a generator: what is drawn of -1..1 for hue, saturation and value."""

    def __init__(self, *values):
        self.values = np.array(values, dtype=float)

    def uniform(self, low, high, size):
        return self.values


def _hsv(image):
    return cv2.cvtColor(image, cv2.COLOR_RGB2HSV_FULL).astype(int)


def test_hsv_jitter_multiplies_each_channel(sample):
    sample = constant(sample, (150, 120, 75))
    hue, saturation, value = _hsv(sample.image)[0, 0]
    for draws, expected in (
        ((0, 0, 1), (hue, saturation, value * 1.4)),
        ((0, -1, 0), (hue, saturation * 0.3, value)),
        ((1, 0, 0), (hue * 1.5, saturation, value)),
        ((-1, 0, -1), (hue * 0.5, saturation, value * 0.6)),
    ):
        out = HSVJitter(0.5, 0.7, 0.4)(sample, Factors(*draws)).image
        np.testing.assert_allclose(_hsv(out)[0, 0], expected, atol=2)


def test_hsv_jitter_clips_what_is_bright_and_wraps_hues(sample):
    sample = constant(sample, (250, 20, 90))  # a hue of 342 degrees
    out = HSVJitter(0.1, 0.0, 1.0)(sample, Factors(1, 0, 1)).image
    hue, _, value = _hsv(out)[0, 0]
    assert value == 255 and hue * 360 / 256 == pytest.approx(342 * 1.1 - 360, abs=3)


def test_hsv_jitter_draws_within_its_gains(sample):
    values = []
    for seed in range(200):
        grey = constant(sample, (100, 100, 100))
        out = HSVJitter()(grey, np.random.default_rng(seed)).image
        assert (out == out[0, 0, 0]).all(), "grey has no hue"
        values.append(int(out[0, 0, 0]))
    assert 60 <= min(values) < 65 and 135 < max(values) <= 140


def test_hsv_jitter_without_gains_changes_nothing(sample):
    out = HSVJitter(0, 0, 0)(sample, np.random.default_rng(0))
    assert (out.image == sample.image).all()
    with pytest.raises(ValueError, match="HSVJitter: saturation must be between 0 and 1, got 1.5"):
        HSVJitter(saturation=1.5)
