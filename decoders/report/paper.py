"""The paper's numbers and relations (Dosovitskiy & Brox, CVPR 2016): what ours stand beside.

Figure 7 has no printed numbers. Those of `REMEMBERED` are of a table of the same authors' later paper (NIPS 2016), from
memory, and guide more than they bind.
"""

from collections.abc import Mapping
from types import MappingProxyType

TABLE_2: Mapping[tuple[str, str], float] = MappingProxyType(
    {
        ("hog", "HOGgles"): 0.61,
        ("hog", "HOG^-1 (Mahendran & Vedaldi)"): 0.63,
        ("hog", "decoder"): 0.24,
        ("sift", "decoder"): 0.28,
        ("lbp", "decoder"): 0.38,
    }
)

REMEMBERED: Mapping[tuple[str, str], float] = MappingProxyType(
    {
        ("conv5", "decoder"): 0.35,
        ("fc6", "decoder"): 0.51,
        ("fc7", "decoder"): 0.56,
        ("fc8", "decoder"): 0.58,
        ("conv5", "Mahendran & Vedaldi"): 0.71,
        ("fc6", "Mahendran & Vedaldi"): 0.80,
        ("fc7", "Mahendran & Vedaldi"): 0.82,
        ("fc8", "Mahendran & Vedaldi"): 0.84,
    }
)

LAYERS = ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8")
ORDER = ("hog", "lbp", "sift", *LAYERS)  # of representations, on pages
TRAINING = "300,000 to 1,200,000 steps of 64 on 1.28 million ImageNet pictures, at full width"


def beside(representation: str, method: str) -> tuple[float | None, str]:
    """The paper's number for a method on a representation, and where it stands; (None, "") if there is none."""
    key = (representation, method)
    if key in TABLE_2:
        return TABLE_2[key], "Table 2"
    if key in REMEMBERED:
        return REMEMBERED[key], "NIPS 2016, from memory"
    return None, ""
