"""How closely results must agree, and why not more closely: the one table."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Tolerance:
    """|found - expected| <= atol + rtol * |expected|, for the reason given."""

    rtol: float
    atol: float
    reason: str


# (subject, dtype, backend)
TOLERANCES = {
    ("upconv", "float32", "cpu"): Tolerance(
        1e-5, 1e-5, "sums of up to 150 float32 products, in another order"
    ),
    ("upconv gradient", "float32", "cpu"): Tolerance(1e-4, 1e-4, "sums over all pixels, in another order"),
    ("hog", "float32", "cpu"): Tolerance(
        0.0, 1e-6, "the reference sums the same float32 shares in another order"
    ),
    ("lbp", "float32", "cpu"): Tolerance(
        0.0, 5e-6, "the reference rounds weights and their sums to float32; here both are exact"
    ),
    ("sift frames", "float32", "gpu"): Tolerance(
        1e-5,
        1e-4,
        "CUDA's pow may round a scale's last bit otherwise than the C library's, and angles follow from scales; in the"
        " simulator of a GPU, whose pow it is, gray, HOG, LBP and SIFT are compared with no tolerance at all",
    ),
    ("sift position", "float32", "cpu"): Tolerance(
        0.0, 0.01, "pixels; equal bit for bit where VLFeat and NumPy round alike, as on x86-64"
    ),
    ("sift scale", "float32", "cpu"): Tolerance(1e-3, 0.0, "as the position"),
    ("sift angle", "float32", "cpu"): Tolerance(0.0, 1e-3, "rad; as the position"),
    ("sift descriptor", "uint8", "cpu"): Tolerance(
        0.0, 1.0, "of 255, in 99.9 % of the entries; as the position"
    ),
    ("features of pictures", "float32", "cpu"): Tolerance(
        1e-5, 1e-5, "float32 sums of a small net; the reference is in float64"
    ),
    ("normaliser", "float64", "cpu"): Tolerance(1e-12, 0.0, "exact squares; the sum of roots rounds"),
    ("caffe blob", "float32", "cpu"): Tolerance(
        1e-5, 0.0, "of the blob's largest magnitude: sums of float32 products in another order"
    ),
    ("caffe fc8", "float32", "cpu"): Tolerance(
        2e-6, 0.0, "of the blob's largest magnitude: Caffe differs from itself by 1e-6 with other threads"
    ),
    ("bfloat16 blob", "bfloat16", "cpu"): Tolerance(
        0.05, 0.0, "of the blob's largest magnitude: 8 bits, rounded after each of about twenty layers"
    ),
    ("picture", "float32", "cpu"): Tolerance(
        0.0, 3e-5, "grey levels of 0..255, resized in float64 here and in float32 there"
    ),
    ("warped picture", "float32", "cpu"): Tolerance(0.0, 1.0, "OpenCV rounds its weights and grey levels"),
    ("unit picture", "float32", "cpu"): Tolerance(0.0, 1e-6, "values of about 1, rounded to float32 often"),
    ("freiburg decoder", "float32", "cpu"): Tolerance(
        1e-5, 0.0, "of the blob's largest magnitude: up to eight layers in float32, the reference in float64"
    ),
    ("shallow net", "float32", "cpu"): Tolerance(
        0.0, 1e-6, "float64 sums; arccosines near 1 lose half the digits"
    ),
    ("CNN-HOG, inside", "float32", "cpu"): Tolerance(
        0.0, 1e-5, "VLFeat adds 1e-4 under the norm, and sums in another order"
    ),
    ("net inversion", "float32", "cpu"): Tolerance(
        0.0, 0.02, "grey levels after tens of steps in float32, summed in another order for other batches"
    ),
    ("iHOG", "float32", "cpu"): Tolerance(0.0, 1e-6, "float64 sums, then rounded to float32"),
    ("iHOG against VLFeat's", "float32", "cpu"): Tolerance(
        0.0, 5e-3, "directions of four digits change a bin now and then"
    ),
    ("sparse codes", "float64", "cpu"): Tolerance(
        0.0, 1e-3, "the sparse coder stops at a duality gap of 1e-8"
    ),
    ("learned atoms", "float32", "cpu"): Tolerance(
        0.0, 1e-4, "of unit length; the sparse coder stops at a duality gap of 1e-8"
    ),
    ("HOGgles", "float32", "cpu"): Tolerance(
        0.0, 0.05, "grey levels; the sparse coder stops at a duality gap of 1e-8"
    ),
    ("layer", "float64", "cpu"): Tolerance(1e-9, 1e-11, "sums in another order"),
    ("layer, constants in float32", "float64", "cpu"): Tolerance(
        2e-6, 1e-9, "Caffe holds a layer's constants in floats; the reference does not"
    ),
    ("decoder, onnx", "float32", "cpu"): Tolerance(
        0.0, 0.005, "grey levels of 0..255; another order of sums"
    ),
}


def blob_close(found: object, expected: object, subject: str, *, dtype: str = "float32") -> None:
    """Assert agreement within ``subject``'s rtol of the blob's largest magnitude; not finite: equality."""
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    row = TOLERANCES[subject, dtype, "cpu"]
    assert found.shape == expected.shape, subject
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(found[~finite], expected[~finite], err_msg=subject)
    magnitude = np.abs(expected[finite]).max(initial=0.0)
    worst = np.abs(found[finite] - expected[finite]).max(initial=0.0)
    assert worst <= row.rtol * magnitude, f"{subject}: {worst / magnitude:.2e} of the blob: {row.reason}"


def close(found: object, expected: object, subject: str, *, dtype: str = "", backend: str = "cpu") -> None:
    """Assert agreement within the table's tolerance for ``subject``."""
    found, expected = np.asarray(found), np.asarray(expected)
    row = TOLERANCES[subject, dtype or str(found.dtype), backend]
    np.testing.assert_allclose(
        found, expected, rtol=row.rtol, atol=row.atol, err_msg=f"{subject}: {row.reason}"
    )
