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
        0.0, 2e-6, "the reference sums the same float32 shares in another order"
    ),
    ("normaliser", "float64", "cpu"): Tolerance(1e-12, 0.0, "exact squares; the sum of roots rounds"),
    ("layer", "float64", "cpu"): Tolerance(1e-9, 1e-11, "sums in another order"),
    ("layer, constants in float32", "float64", "cpu"): Tolerance(
        2e-6, 1e-9, "Caffe holds a layer's constants in floats; the reference does not"
    ),
    ("decoder, onnx", "float32", "cpu"): Tolerance(
        0.0, 0.005, "grey levels of 0..255; another order of sums"
    ),
}


def close(found: object, expected: object, subject: str, *, dtype: str = "", backend: str = "cpu") -> None:
    """Assert agreement within the table's tolerance for ``subject``."""
    found, expected = np.asarray(found), np.asarray(expected)
    row = TOLERANCES[subject, dtype or str(found.dtype), backend]
    np.testing.assert_allclose(
        found, expected, rtol=row.rtol, atol=row.atol, err_msg=f"{subject}: {row.reason}"
    )
