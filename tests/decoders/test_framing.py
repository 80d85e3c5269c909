"""How pictures are cut for nets: Caffe's warp, random and centre crop, and mirror."""

import cv2
import numpy as np
import pytest

from caffe_port.preprocess import Recipe
from decoders.framing import Cover, Warp
from tests.photos import draw

CAFFENET = Warp((256, 256), (227, 227))


def test_the_centre_is_the_recipe_s() -> None:
    """`Recipe` is what converted nets are fed with; here in RGB without a mean."""
    picture = draw(0, 300, 411)
    recipe = Recipe((256, 256), (227, 227), np.zeros(3, np.float32), order="RGB")
    assert np.array_equal(CAFFENET.centre(picture).transpose(2, 0, 1), recipe(picture))


def test_random_crops_come_from_the_warped_picture_half_of_them_mirrored() -> None:
    warped = cv2.resize(draw(1, 300, 411), (256, 256), interpolation=cv2.INTER_LINEAR)
    assert np.array_equal(CAFFENET.prepare(draw(1, 300, 411)), warped)
    rows, columns = np.indices((256, 256), np.uint8)
    places = np.stack([rows, columns, rows], axis=-1)  # every pixel says where it was
    found = []
    for seed in range(40):
        crop = CAFFENET.draw(places, np.random.default_rng(seed))
        mirrored = crop[0, 0, 1] > crop[0, 1, 1]
        top, left = int(crop[0, 0, 0]), int(crop[0, :, 1].min())
        part = places[top : top + 227, left : left + 227]
        assert np.array_equal(crop, part[:, ::-1] if mirrored else part)
        found.append((mirrored, top, left))
    assert 10 <= sum(mirrored for mirrored, _, _ in found) <= 30
    for offsets in ({top for _, top, _ in found}, {left for _, _, left in found}):
        assert min(offsets) < 5
        assert 24 < max(offsets) <= 29


def test_nets_without_a_crop_only_mirror() -> None:
    framing = Warp((64, 48), (64, 48))
    picture = draw(2, 64, 48)
    assert framing.prepare(picture) is picture
    drawn = [framing.draw(picture, np.random.default_rng(seed)) for seed in range(20)]
    assert {np.array_equal(one, picture) for one in drawn} == {True, False}
    assert all(np.array_equal(one, picture) or np.array_equal(one[:, ::-1], picture) for one in drawn)


def test_other_sizes_keep_the_margin_s_share() -> None:
    assert CAFFENET.sized((454, 454)) == Warp((512, 512), (454, 454))
    assert CAFFENET.sized((227, 227)) == CAFFENET
    assert Cover((256, 256)).sized((512, 512)).centre(draw(0, 300, 700)).shape == (512, 512, 3)


@pytest.mark.parametrize(("crop_size", "zoom"), [(128, 1.0), (None, 1.5)])
def test_caffe_s_crops_have_one_size(crop_size: int | None, zoom: float) -> None:
    with pytest.raises(ValueError, match="takes pictures of 227x227"):
        CAFFENET.for_training(crop_size, zoom)
    assert CAFFENET.for_training(227, 1.0) is CAFFENET
