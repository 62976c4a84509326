import numpy as np

from mmdet_lite.data.photometric import PhotometricDistortion


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
