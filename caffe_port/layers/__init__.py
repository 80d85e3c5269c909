"""Every layer type that can be run: `LAYERS`, one row a type, one family of types a file.

`DATA_LAYERS` read files and become inputs; `CAFFE_ONLY` are the types of Caffe that have no meaning here,
each with the reason.
"""

from caffe_port.layers import (
    activation,
    arithmetic,
    arrangement,
    convolution,
    inner_product,
    loss,
    lrn,
    normalization,
    origin,
    pooling,
    recurrent,
    reduction,
    resampling,
)
from caffe_port.layers.origin import DATA_LAYERS
from caffe_port.layers.row import Row

LAYERS: dict[str, Row] = {
    **origin.ROWS,
    **convolution.ROWS,
    **pooling.ROWS,
    **lrn.ROWS,
    **inner_product.ROWS,
    **activation.ROWS,
    **arithmetic.ROWS,
    **normalization.ROWS,
    **arrangement.ROWS,
    **reduction.ROWS,
    **recurrent.ROWS,
    **loss.ROWS,
    **resampling.ROWS,
}

CAFFE_ONLY: dict[str, str] = {
    "Python": "it runs code that is not in the files; write the layer out, or cut the net before it",
    "HDF5Output": "it writes a file; remove the layer",
}

__all__ = ["CAFFE_ONLY", "DATA_LAYERS", "LAYERS"]
