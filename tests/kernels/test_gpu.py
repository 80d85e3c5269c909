"""The kernels on a real GPU: against the CPU, zero copies, streams, batches, refusals."""

from typing import Any

import numpy as np
import pytest

import kernels
from tests.benchmarks import bench_gpu
from tests.kernels.gpu_cases import CASES
from tests.kernels.pictures import PICTURES, picture
from tests.tolerances import close

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def cupy() -> Any:
    """CuPy, where there is a GPU for it."""
    module = pytest.importorskip("cupy", reason='CuPy is not installed: pip install "caffe-port[gpu]"')
    pytest.importorskip("numba_cuda", reason='numba-cuda is not installed: pip install "caffe-port[gpu]"')
    try:
        count = module.cuda.runtime.getDeviceCount()
    except module.cuda.runtime.CUDARuntimeError as error:
        pytest.skip(f"no GPU: {error}")
    if not count:
        pytest.skip("no GPU")
    return module


@pytest.mark.parametrize("name", [name for name in CASES if not name.startswith("sift")])
def test_the_gpu_gives_the_cpu_s_bits(cupy: Any, name: str) -> None:
    case = CASES[name]
    expected, found = case.compute(case.array), case.compute(cupy.asarray(case.array))
    for part in expected:
        assert isinstance(found[part], cupy.ndarray)
        assert found[part].dtype == expected[part].dtype
        np.testing.assert_array_equal(found[part].get(), expected[part])


@pytest.mark.parametrize("form", ["uint8", "float 0..255"])
@pytest.mark.parametrize("kind", PICTURES)
@pytest.mark.parametrize("function", ["hog", "lbp"])
def test_the_gpu_gives_the_cpu_s_bits_on_larger_batches(
    cupy: Any, function: str, kind: str, form: str
) -> None:
    images = np.stack([picture(kind, 227, 301, form, seed) for seed in range(5)])
    compute = getattr(kernels, function)
    np.testing.assert_array_equal(compute(cupy.asarray(images)).get(), compute(images))


def _compare(found: Any, expected: kernels.Keypoints) -> None:
    assert found.frames.shape == expected.frames.shape
    close(found.frames.get(), expected.frames, "sift frames", backend="gpu")
    difference = np.abs(found.descriptors.get().astype(float) - expected.descriptors.astype(float))
    assert difference.max(initial=0) <= 1
    assert (difference > 0).mean() <= 1e-3 if difference.size else True


@pytest.mark.parametrize("name", [name for name in CASES if name.startswith("sift")])
def test_sift_on_small_images(cupy: Any, name: str) -> None:
    case = CASES[name]
    found = kernels.sift(cupy.asarray(case.array), **case.settings)
    for on_gpu, expected in zip(found, kernels.sift(case.array, **case.settings), strict=True):
        _compare(on_gpu, expected)


@pytest.mark.parametrize("kind", ["noise", "waves", "boxes"])
def test_sift_on_a_larger_batch(cupy: Any, kind: str) -> None:
    images = np.stack([picture(kind, 211, 160, "uint8", seed) for seed in range(3)])
    for found, expected in zip(kernels.sift(cupy.asarray(images)), kernels.sift(images), strict=True):
        _compare(found, expected)


def test_each_image_of_a_batch_is_as_alone_and_twice_the_same(cupy: Any) -> None:
    images = cupy.asarray(np.stack([picture("noise", 120, 90, "uint8", seed) for seed in range(3)]))
    for image, keypoints in zip(images, kernels.sift(images), strict=True):
        alone = kernels.sift(image)
        assert (alone.frames == keypoints.frames).all()
        assert (alone.descriptors == keypoints.descriptors).all()
    for compute in (kernels.hog, kernels.lbp):
        assert (compute(images)[1] == compute(images[1])).all()


def test_arrays_are_taken_where_they_lie(cupy: Any) -> None:
    """Also slices, transposed ones and torch's; nothing is written into them."""
    gray = picture("noise", 64, 48, "float 0..1", 1)
    expected = kernels.hog(gray)
    wide = cupy.asarray(np.repeat(gray, 2, axis=1))
    for array in (wide[:, ::2], cupy.asarray(np.ascontiguousarray(gray.T)).T):
        np.testing.assert_array_equal(kernels.hog(array).get(), expected)
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        tensor = torch.from_numpy(gray).cuda()
        assert kernels.backend.array_of(tensor).data.ptr == tensor.data_ptr()
        features = kernels.hog(tensor)
        assert torch.from_dlpack(features).data_ptr() == features.data.ptr
        np.testing.assert_array_equal(features.get(), expected)


def test_work_goes_to_the_caller_s_stream(cupy: Any) -> None:
    images = np.stack([picture("noise", 256, 256, "float 0..1", seed) for seed in range(4)])
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        copies = cupy.asarray(images)
        features = kernels.lbp(copies * np.float32(2))  # would be early, or late, on another stream
    stream.synchronize()
    np.testing.assert_array_equal(features.get(), kernels.lbp(images))


@pytest.mark.parametrize("compute", [kernels.hog, kernels.lbp, kernels.sift])
def test_bad_images_are_refused(cupy: Any, compute: Any) -> None:
    images = np.zeros((2, 32, 32), np.float32)
    images[1, 20, 9] = np.nan
    with pytest.raises(ValueError, match="image 1 holds NaN or infinity"):
        compute(cupy.asarray(images))
    with pytest.raises(TypeError, match=r"float64.*float32 or uint8"):
        compute(cupy.zeros((32, 32)))


@pytest.mark.parametrize("function", bench_gpu.FUNCTIONS)
def test_the_benchmark_measures(cupy: Any, function: str) -> None:
    row = bench_gpu.measure(cupy, function, bench_gpu.batch(2, 128), rounds=2)
    assert row["ns_per_pixel"] > 0
    assert 0 < row["share_of_bandwidth"] < 1
