"""What a decoder table is: rows of layers, their sizes, and how it prints.

Sizes are (height, width, maps); the paper prints width x height x maps. A vector of C numbers has the size
(1, 1, C), is printed as C, and lies in memory as (N, C).
"""

import dataclasses
from typing import Any

OPS = ("conv", "upconv", "fc", "reshape")
MAX_PARAMETERS = 2**31  # of a table that is read from a file

Size = tuple[int, int, int]


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of a decoder table.

    Attributes
    ----------
    name : the paper's name of the layer, e.g. ``upconvA1``.
    op : ``conv`` (pads (kernel - 1) / 2), ``upconv`` (doubles the map), ``fc`` (fully connected), or ``reshape``
        (a vector becomes maps, channel-major as in Caffe).
    inputs : names of the rows whose maps are concatenated; ``features`` is the decoder's input.
    kernel, stride : of the convolution; an up-convolution's stride is the factor 2 by which it enlarges; 0 where
        there is none.
    out : (height, width, maps) at the table's own input size; the builder checks it.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    kernel: int
    stride: int
    out: Size


@dataclasses.dataclass(frozen=True)
class DecoderSpec:
    """A decoder as a table: frozen, readable without weights.

    Attributes
    ----------
    representation : name of the features that go in.
    features : (height, width, channels) of the features of one image of the table's size.
    rows : the layers in the order in which they are computed; the last one is the picture.
    provenance : where the table comes from and how sure it is.
    multiple : sides of the predicted picture come in multiples of this; 0 where they are fixed.
    feature_scale : features are multiplied by this before the first layer, to be near unit range.
    pixel_scale : the last layer predicts (pixel - mean) / pixel_scale. The paper does not say how its
        initialisation reached pixel range; a fixed unit changes the parametrisation, not the net.
    width : factor applied to the map counts, 1 for the paper's own table.
    input_name : what the table calls the features, e.g. ``FC8``.
    """

    representation: str
    features: Size
    rows: tuple[Row, ...]
    provenance: str
    multiple: int
    feature_scale: float = 1.0
    pixel_scale: float = 64.0
    width: float = 1.0
    input_name: str = "features"

    def scaled(self, width: float) -> "DecoderSpec":
        """The same table with every map count but the picture's three multiplied by ``width``.

        Counts are rounded to the nearest integer, and are at least 1. Fully connected layers are scaled as well, but
        the one that is reshaped keeps as many units as its maps have values.

        Raises
        ------
        ValueError : if this table is already scaled, or ``width`` is not in (0, 4].
        """
        if self.width != 1.0:
            raise ValueError(
                f"decoder {self.representation}: width is already {self.width}; scale the paper's table"
            )
        if not 0 < width <= 4:
            raise ValueError(
                f"decoder {self.representation}: width is {width}; it must be over 0 and at most 4"
            )
        *hidden, picture = self.rows
        outs = {row.name: (*row.out[:2], max(1, round(row.out[2] * width))) for row in hidden}
        for row in hidden:
            if row.op == "reshape":
                height, breadth, maps = outs[row.name]
                outs[row.inputs[0]] = (1, 1, height * breadth * maps)
        narrowed = [dataclasses.replace(row, out=outs[row.name]) for row in hidden]
        return dataclasses.replace(self, rows=(*narrowed, picture), width=width)

    @property
    def takes_vectors(self) -> bool:
        """Whether features are (N, C), not (N, C, H, W)."""
        return self.rows[0].op == "fc"

    def maps_in(self, row: Row) -> int:
        """Number of maps that ``row`` reads: the sum over its concatenated inputs."""
        return sum(self.size_of(name)[2] for name in row.inputs)

    def size_of(self, name: str) -> Size:
        """(height, width, maps) of the row called ``name``, or of the features."""
        if name == "features":
            return self.features
        return next(row.out for row in self.rows if row.name == name)

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) of the predicted picture at the table's own input size."""
        return self.rows[-1].out[:2]

    @property
    def feature_shape(self) -> tuple[int, ...]:
        """Shape of the features of one image in memory: (C, H, W), or (C,) for a vector."""
        return channels_first(self.features)

    @property
    def parameters(self) -> int:
        """Number of weights and biases."""
        kernels = {"conv": 2, "upconv": 2, "fc": 0}
        return sum(
            (self.maps_in(row) * row.kernel ** kernels[row.op] + 1) * row.out[2]
            for row in self.rows
            if row.op in kernels
        )

    def table(self) -> str:
        """The table as the paper prints it: layer, input, in-size, kernel, stride, out-size."""
        lines = [("Layer", "Input", "InSize", "K", "S", "OutSize")]
        for row in self.rows:
            height, width, _ = self.size_of(row.inputs[0])
            names = [self.input_name if name == "features" else name for name in row.inputs]
            source = names[0] if len(names) == 1 else "{" + ", ".join(names) + "}"
            in_size = _by((height, width, self.maps_in(row)))
            lines.append(
                (row.name, source, in_size, str(row.kernel or "–"), str(row.stride or "–"), _by(row.out))
            )
        widths = [max(len(line[i]) for line in lines) for i in range(6)]
        return "\n".join(
            "  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in lines
        )

    @classmethod
    def from_json(cls, value: Any, source: str) -> "DecoderSpec":
        """Read back what `dataclasses.asdict` and JSON made of a table.

        Raises
        ------
        ValueError : if it is no such table, or a net of over 2^31 parameters; the text names ``source``.
        """
        try:
            rows = tuple(
                Row(**row | {"inputs": tuple(row["inputs"]), "out": _size(row["out"])})
                for row in value["rows"]
            )
            spec = cls(**value | {"rows": rows, "features": _size(value["features"])})
            known = ["features"]
            for row in rows:
                if row.op not in OPS or not row.inputs or not set(row.inputs) <= set(known):
                    raise ValueError(f"row {row.name} is {row.op} of {', '.join(row.inputs) or 'nothing'}")
                known.append(row.name)
            if not rows or not 0 < spec.parameters <= MAX_PARAMETERS:
                raise ValueError(f"it has {len(rows)} rows; 1 to {MAX_PARAMETERS} parameters are built")
        except (TypeError, KeyError, ValueError, AttributeError, OverflowError) as error:
            raise ValueError(f"{source}: not a decoder's table ({error}); restore the file") from error
        return spec


def channels_first(size: Size) -> tuple[int, ...]:
    """(height, width, maps) as it lies in memory: (maps, height, width), or (maps,) for a vector."""
    height, width, maps = size
    return (maps,) if height == width == 1 else (maps, height, width)


def channels_last(shape: tuple[int, ...]) -> Size:
    """The inverse of `channels_first`."""
    maps, height, width = shape if len(shape) == 3 else (shape[0], 1, 1)
    return height, width, maps


def _by(size: Size) -> str:
    height, width, maps = size
    return f"{maps}" if height == width == 1 else f"{width}×{height}×{maps}"


def _size(value: Any) -> Size:
    height, width, maps = value
    if not all(type(side) is int and side > 0 for side in value):
        raise ValueError(f"a size of {value}")
    return height, width, maps


def conv(name: str, inputs: str, kernel: int, stride: int, sides: tuple[int, int], maps: int) -> Row:
    """A convolution; ``inputs`` are names divided by spaces, ``sides`` (height, width) of the output."""
    return Row(name, "conv", tuple(inputs.split()), kernel, stride, (*sides, maps))


def upconv(name: str, inputs: str, kernel: int, sides: tuple[int, int], maps: int) -> Row:
    """An up-convolution to ``sides`` (height, width)."""
    return Row(name, "upconv", (inputs,), kernel, 2, (*sides, maps))


def fc(name: str, inputs: str, units: int) -> Row:
    """A fully connected layer."""
    return Row(name, "fc", (inputs,), 0, 0, (1, 1, units))


def reshape(name: str, inputs: str, sides: tuple[int, int], maps: int) -> Row:
    """A vector as maps of ``sides`` (height, width)."""
    return Row(name, "reshape", (inputs,), 0, 0, (*sides, maps))
