"""Random Caffe messages, made from the schema's rows."""

from hypothesis import strategies as st

from caffe_port.schema import ENUMS, MESSAGES

_VALUES = {
    "float": st.floats(width=32, allow_nan=False),
    "double": st.floats(allow_nan=False),
    "int32": st.integers(-(2**31), 2**31 - 1),
    "uint32": st.integers(0, 2**32 - 1),
    "int64": st.integers(-(2**63), 2**63 - 1),
    "uint64": st.integers(0, 2**64 - 1),
    "bool": st.booleans(),
    "string": st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
    "bytes": st.binary(max_size=12),
}


@st.composite
def messages(draw: st.DrawFn, message: str, depth: int = 3, text_only: bool = True) -> dict:
    """A random message of the schema; `text_only` allows fields that have no number of their own."""
    fields = {name: field for name, field in MESSAGES[message].items() if field.number or text_only}
    result = {}
    for name in draw(st.lists(st.sampled_from(sorted(fields)), unique=True, max_size=4)):
        field = fields[name]
        if field.kind.startswith("message:"):
            values = (
                messages(field.kind.removeprefix("message:"), depth - 1, text_only) if depth else st.just({})
            )
            if field.kind == "message:ClipParameter":
                values = st.just({"min": -1.0, "max": 1.0})
        elif field.kind.startswith("enum:"):
            values = st.sampled_from(sorted(ENUMS[field.kind.removeprefix("enum:")]))
        else:
            values = _VALUES[field.kind]
        result[name] = draw(st.lists(values, min_size=1, max_size=3) if field.repeated else values)
    return result
