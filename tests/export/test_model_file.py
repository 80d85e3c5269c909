"""Files from strangers and damaged ones: every changed byte noticed, everything unbounded refused, in one line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import export
from export.card import CARD_FIELD
from export.check import check
from export.model_file import SEAL_FIELD, read_model_file, sealed

DECODERS = Path(__file__).parents[2] / "decoders" / "pretrained"


@pytest.fixture
def model(small: Path) -> onnx.ModelProto:
    """What was exported, without its seal."""
    loaded = onnx.load(small)
    del loaded.metadata_props[2:]
    return loaded


def stranger() -> onnx.ModelProto:
    """A valid ONNX file that nobody here exported."""
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N"])
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N"])
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [value], [out])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


def refusal(data: bytes, folder: Path) -> str:
    """The one line with which a file of these bytes is refused."""
    path = folder / "file.onnx"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"^[^\n]*file\.onnx: [^\n]*$") as refused:
        export.load(path)
    return str(refused.value)


def test_any_changed_byte_is_noticed(small: Path, tmp_path: Path) -> None:
    data, path = small.read_bytes(), tmp_path / "changed.onnx"
    assert read_model_file(data, "file").sealed
    for place in np.random.default_rng(0).integers(0, len(data), 200):
        changed = bytearray(data)
        changed[place] ^= 1 << int(place) % 8
        path.write_bytes(changed)
        with pytest.raises(ValueError, match=r"changed\.onnx: (damaged|its seal is gone|not an ONNX)"):
            export.load(path)


def test_a_seal_that_was_cut_off_is_missed(small: Path, model: onnx.ModelProto, tmp_path: Path) -> None:
    assert "its seal is gone" in refusal(model.SerializeToString(), tmp_path)
    assert "damaged: its bytes" in refusal(b"\x08\x09" + small.read_bytes(), tmp_path)


def test_the_seal_is_a_metadata_entry_of_its_own(small: Path) -> None:
    entries = {entry.key: entry.value for entry in onnx.load(small).metadata_props}
    assert len(entries[SEAL_FIELD]) == 64


def test_what_the_file_holds_is_what_onnx_says(small: Path) -> None:
    found, said = read_model_file(small.read_bytes(), "file"), onnx.load(small)
    assert sum(found.operators.values()) == len(said.graph.node)
    assert found.parameters == sum(int(np.prod(tensor.dims)) for tensor in said.graph.initializer)
    assert found.inputs == tuple(value.name for value in said.graph.input)
    assert found.outputs == tuple(value.name for value in said.graph.output)
    assert found.metadata == {entry.key: entry.value for entry in said.metadata_props}


def test_what_ships_still_gives_its_answers() -> None:
    files = sorted(DECODERS.rglob("*.onnx"))
    assert files
    for path in files:
        assert check(path)["passed"], path


def test_strangers_files_are_refused(model: onnx.ModelProto, tmp_path: Path) -> None:
    assert "no metadata field caffe_port.card" in refusal(stranger().SerializeToString(), tmp_path)
    forged = stranger()
    for text, said in (
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "the card lacks everything"),
        (json.dumps({"representation": "hog"}), "lacks feature_shape, feature_multiple"),
        (card(feature_shape=[31, "x", 1]), "lacks feature_shape"),
        (card(feature_shape=[31, 10**9, 1]), "lacks feature_shape"),
        (card(kind="virus"), "lacks a kind that is known: decoder, pipeline, net"),
        (card(kind="pipeline"), "lacks photograph_size, photograph_multiple"),
        (card(), "inputs and outputs are not those of a decoder"),
        (card(kind="net", data_shape=[3]), "a Caffe net; open it with export.load_net|inputs and outputs"),
    ):
        helper.set_model_props(forged, {CARD_FIELD: text})
        assert any(
            part in refusal(sealed(forged.SerializeToString()), tmp_path) for part in said.split("|")
        ), said


def card(**entries: Any) -> str:
    return json.dumps(
        {"representation": "hog", "feature_shape": [31, 32, 32], "feature_multiple": 8} | entries
    )


def _external(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")


def _claims(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].dims[0] = 2**40


def _custom(model: onnx.ModelProto) -> None:
    model.graph.node[0].domain = "evil"


def _unknown(model: onnx.ModelProto) -> None:
    model.graph.node[0].op_type = "Loop"


def _graph_in_graph(model: onnx.ModelProto) -> None:
    model.graph.node[0].attribute.append(helper.make_attribute("body", stranger().graph))


def _function(model: onnx.ModelProto) -> None:
    model.functions.add().name = "f"


def _sparse(model: onnx.ModelProto) -> None:
    model.graph.sparse_initializer.add()


def _padding(model: onnx.ModelProto) -> None:
    node = next(node for node in model.graph.node if node.op_type == "Conv")
    next(a for a in node.attribute if a.name == "pads").ints[0] = 2**31


def _indices(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.array([2**40]), "index"))


def _input_shape(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2**40


def _sequence(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.CopyFrom(helper.make_sequence_type_proto(model.graph.input[0].type))


def _two_graphs(model: onnx.ModelProto) -> None:
    model.ClearField("graph")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_external, "lies outside the file"),
        (_claims, "claims"),
        (_custom, "operator 'evil."),
        (_unknown, "operator 'Loop' is none that decoders export writes"),
        (_graph_in_graph, "holds a graph of its own"),
        (_function, "holds functions"),
        (_sparse, "holds sparse tensors"),
        (_padding, "a setting of an operator is beyond 65536"),
        (_indices, "tensor 'index' holds a size or index beyond 65536"),
        (_input_shape, "value 'features' has the shape"),
        (_sequence, "value 'features' is no tensor"),
        (_two_graphs, "0 graphs"),
    ],
)
def test_what_is_unbounded_is_refused(
    model: onnx.ModelProto, change: Callable[[onnx.ModelProto], None], said: str, tmp_path: Path
) -> None:
    change(model)
    assert said in refusal(sealed(model.SerializeToString()), tmp_path)


def test_oversized_files_are_refused_unread(tmp_path: Path) -> None:
    with open(tmp_path / "huge.onnx", "wb") as file:
        file.truncate(2**31)  # takes no room on the disk
    with pytest.raises(ValueError, match=r"huge\.onnx: 2147483648 bytes; an ONNX file has at most"):
        export.load(tmp_path / "huge.onnx")
