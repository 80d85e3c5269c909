"""What a net is: frozen specs of the net, its layers and their parameters; no protobuf, torch or weights.

Source: Caffe 1.0's `src/caffe/proto/caffe.proto`. Every default of Caffe is filled in, so "field not set"
cannot be lost later; `None` stands only where Caffe itself asks whether a field is set. Field names are
Caffe's. Axes may be negative, as in the file; `shapes.py` resolves them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, TypeVar

from caffe_port.schema import MESSAGES, default

Shape = tuple[int, ...]
Spec = TypeVar("Spec")


def quote(name: str) -> str:
    """A name from a file, in quotes, on one line and not endless."""
    return repr(name if len(name) <= 80 else name[:77] + "...")


def listed(names: Iterable[str]) -> str:
    """Names from a file after one another, at most twenty."""
    names = list(names)
    return (
        ", ".join(map(quote, names[:20])) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
    ) or "none"


def title(name: str, kind: str) -> str:
    """How messages name a layer."""
    return f"layer {quote(name)} ({quote(kind)[1:-1]})"


@dataclass(frozen=True)
class FillerSpec:
    """How Caffe fills a blob that no file provides."""

    type: str = "constant"
    value: float = 0.0
    min: float = 0.0
    max: float = 1.0
    mean: float = 0.0
    std: float = 1.0
    sparse: int = -1
    variance_norm: str = "FAN_IN"


@dataclass(frozen=True)
class BlobSpec:
    """One parameter blob of a layer: shape, filler, whether training may change it, whether weights files
    hold it.
    """

    shape: Shape
    filler: FillerSpec = FillerSpec()
    trainable: bool = True
    stored: bool = True


@dataclass(frozen=True)
class ParamSpec:
    """One `param { }` of a layer: the name under which blobs are shared, and the training multipliers
    (None: unset).
    """

    name: str
    share_mode: str
    lr_mult: float | None = None
    decay_mult: float | None = None


@dataclass(frozen=True)
class LayerSpec:
    """One layer: Caffe's name and type, blob names, its parameter spec, and its `param` rules in blob
    order.
    """

    name: str
    type: str
    bottoms: tuple[str, ...]
    tops: tuple[str, ...]
    params: Any
    blob_params: tuple[ParamSpec, ...] = ()
    loss_weights: tuple[float, ...] = ()

    def __str__(self) -> str:
        return title(self.name, self.type)


@dataclass(frozen=True)
class NetSpec:
    """A net after the phase rules: `layers` in order, `inputs` by blob name, `source` for messages.

    `message` is the same net as a V2 NetParameter without blobs (see `schema.py`); `text.format_text`
    prints it.
    """

    name: str
    layers: tuple[LayerSpec, ...]
    inputs: Mapping[str, Shape]
    source: str = field(default="net", compare=False)
    message: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)


@dataclass(frozen=True)
class ConvolutionSpec:
    """Convolution, Deconvolution and Im2col: one number for all spatial axes, or one an axis (height first).

    `output_size` is the Freiburg fork's explicit (height, width) of a deconvolution.
    """

    num_output: int
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    pad: tuple[int, ...]
    dilation: tuple[int, ...]
    group: int
    bias_term: bool
    axis: int
    weight_filler: FillerSpec
    bias_filler: FillerSpec
    output_size: tuple[int, int] | None = None


@dataclass(frozen=True)
class PoolingSpec:
    """Pooling; pairs are (height, width); `kernel` None is the whole map (global pooling)."""

    method: str
    kernel: tuple[int, int] | None
    stride: tuple[int, int]
    pad: tuple[int, int]
    round_mode: str


@dataclass(frozen=True)
class LrnSpec:
    local_size: int
    alpha: float
    beta: float
    k: float
    norm_region: str


@dataclass(frozen=True)
class InnerProductSpec:
    num_output: int
    bias_term: bool
    axis: int
    transpose: bool
    weight_filler: FillerSpec
    bias_filler: FillerSpec


@dataclass(frozen=True)
class EmbedSpec:
    num_output: int
    input_dim: int
    bias_term: bool
    weight_filler: FillerSpec
    bias_filler: FillerSpec


@dataclass(frozen=True)
class RecurrentSpec:
    num_output: int
    weight_filler: FillerSpec
    bias_filler: FillerSpec
    expose_hidden: bool


@dataclass(frozen=True)
class ScaleSpec:
    """Scale and Bias: a blob over `num_axes` axes from `axis` on (-1: to the last)."""

    axis: int
    num_axes: int
    filler: FillerSpec
    bias_term: bool
    bias_filler: FillerSpec


@dataclass(frozen=True)
class BatchNormSpec:
    use_global_stats: bool
    eps: float


@dataclass(frozen=True)
class LossSpec:
    """Losses that ignore a label and divide by a count: `normalization` after Caffe's older `normalize`."""

    axis: int
    ignore_label: int | None
    normalization: str


@dataclass(frozen=True)
class ReshapeSpec:
    shape: Shape
    axis: int
    num_axes: int


@dataclass(frozen=True)
class SliceSpec:
    axis: int
    slice_point: tuple[int, ...]


@dataclass(frozen=True)
class InputSpec:
    """Shape of each top that needs data; an empty tuple where the file does not say it."""

    shapes: tuple[Shape, ...]


@dataclass(frozen=True)
class DummyDataSpec:
    shapes: tuple[Shape, ...]
    fillers: tuple[FillerSpec, ...]


@dataclass(frozen=True)
class UpsampleSpec:
    """Upsample: `scale` (height, width), or an explicit `size` for SegNet's unpooling."""

    scale: tuple[int, int]
    pad_out: tuple[int, int]
    size: tuple[int, int] | None


def value_of(message: str, name: str, values: Mapping[str, Any]) -> Any:
    """Value of a field of a `message`: as set in `values`, else Caffe's default; messages and lists made
    frozen.
    """
    kind = MESSAGES[message][name].kind
    value = values.get(name, default(message, name))
    if kind == "message:FillerParameter":
        value = [FillerSpec(**entry) for entry in value] if isinstance(value, list) else FillerSpec(**value)
    elif kind == "message:BlobShape":
        shapes = [tuple(entry.get("dim", ())) for entry in (value if isinstance(value, list) else [value])]
        value = shapes if isinstance(value, list) else shapes[0]
    return tuple(value) if isinstance(value, list) else value


def read_spec(spec: type[Spec], message: str, values: Mapping[str, Any], **given: Any) -> Spec:
    """Build a parameter spec from a message: each field of `spec` by its own name, `given` ones as they are.

    A field with a default in the dataclass takes that default when the message does not set it; all others
    take Caffe's default.
    """
    found = dict(given)
    for row in fields(spec):  # type: ignore[arg-type]
        unset = row.name not in values and (row.default is not MISSING or row.default_factory is not MISSING)
        if row.name not in found and not unset:
            found[row.name] = value_of(message, row.name, values)
    return spec(**found)
