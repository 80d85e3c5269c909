"""Pooling over every small size, kernel, stride and pad, exactly; the shapes too."""

import itertools

import numpy as np
import pytest
import torch

from caffe_port import ConversionError
from caffe_port.layers import LAYERS
from caffe_port.reference.windows import pooled_size, pooling
from caffe_port.shapes import pooled
from caffe_port.spec import PoolingSpec

SETTINGS = [
    (size, kernel, stride, pad, mode)
    for size, kernel, stride, mode in itertools.product(
        range(1, 10), range(1, 6), range(1, 6), ("CEIL", "FLOOR")
    )
    for pad in range(kernel)
]


def test_sizes_are_caffes() -> None:
    refused = 0
    for size, kernel, stride, pad, mode in SETTINGS:
        for clips in {pad > 0, True}:
            expected = pooled_size(size, kernel, stride, pad, mode == "CEIL", clips)
            if expected < 1:
                refused += 1
                with pytest.raises(ConversionError, match="field 'kernel_size'"):
                    pooled(size, kernel, stride, pad, mode, clips=clips)
            else:
                assert pooled(size, kernel, stride, pad, mode, clips=clips) == expected
    assert refused > 100


@pytest.mark.parametrize("method", ["MAX", "AVE"])
def test_numbers_are_caffes(method: str) -> None:
    row = LAYERS["Pooling"]
    rng = np.random.default_rng(0)
    seen = 0
    for size, kernel, stride, pad, mode in SETTINGS:
        if pooled_size(size, kernel, stride, pad, mode == "CEIL", pad > 0) < 1:
            continue
        x = rng.integers(-4, 5, (1, 1, size, size + 1)).astype(
            np.float64
        )  # sums are exact, and there are ties
        x[rng.random(x.shape) < 0.05] = np.nan if method == "MAX" else 0
        x[rng.random(x.shape) < 0.05] = -np.inf if method == "MAX" else 0
        field = {"kernel_size": kernel, "stride": stride, "pad": pad, "round_mode": mode, "pool": method}
        tops = ["y", "mask"] if method == "MAX" else ["y"]
        expected = pooling({"pooling_param": field, "top": tops}, [x], [])
        spec = PoolingSpec(method, (kernel, kernel), (stride, stride), (pad, pad), mode)
        shapes = row.shape(spec, [x.shape], len(tops))
        found = row.run(spec, [torch.from_numpy(x)], [], shapes)
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(one.numpy(), other, err_msg=str(field))
        seen += 1
    assert seen > 1000


def test_the_gradient_of_a_maximum_goes_to_one_place() -> None:
    spec = PoolingSpec("MAX", (3, 3), (2, 2), (1, 1), "CEIL")
    x = torch.tensor(np.random.default_rng(0).permutation(2 * 2 * 7 * 5).reshape(2, 2, 7, 5) / 10.0)
    shape = LAYERS["Pooling"].shape(spec, [tuple(x.shape)], 1)
    x.requires_grad_(True)
    assert torch.autograd.gradcheck(lambda x: LAYERS["Pooling"].run(spec, [x], [], shape)[0], (x,))
