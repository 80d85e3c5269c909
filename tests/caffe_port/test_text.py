"""The text format: Caffe's corner cases, one error a kind, and write then read."""

import math
from pathlib import Path

import pytest
from google.protobuf import text_format
from hypothesis import given, settings

from caffe_port import text
from caffe_port.errors import ConversionError
from caffe_port.schema import float32
from caffe_port.text import format_text, parse_text, read_text
from tests.oracles.messages import messages
from tests.oracles.protobuf_reader import as_dict, message_class

GOLDEN = Path(__file__).parents[1] / "golden" / "caffe"


def test_quirks_file() -> None:
    """The golden file that Caffe 1.0 reads, value by value (see its comments)."""
    net = read_text(GOLDEN / "textformat_quirks" / "net.prototxt")
    assert net["input"] == ["data"]
    assert net["input_shape"] == [{"dim": [1, 3, 7, 8]}]
    convolution = net["layer"][0]
    assert (convolution["name"], convolution["type"]) == ("conv", "Convolution")
    assert convolution["convolution_param"] == {
        "num_output": 2,
        "kernel_size": [3, 3],
        "pad": [1],
        "bias_term": False,
        "engine": "CAFFE",
        "weight_filler": {"type": "gaussian", "std": float32(0.01)},
    }
    assert net["layer"][1]["pooling_param"] == {"pool": "AVE", "kernel_size": 2, "stride": 2}
    assert net["layer"][2]["power_param"] == {"power": 2.0, "scale": 0.5, "shift": float32(-0.15)}
    assert net["layer"][3]["propagate_down"] == [True]
    assert net["layer"][4]["name"] == "sig"


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("1", 1.0),
        ("0", 0.0),
        ("-0", -0.0),
        (".5", 0.5),
        ("1.", 1.0),
        ("1.e-2f", float32(0.01)),
        ("2F", 2.0),
        ("1e3", 1000.0),
        ("- 1.5E-1", float32(-0.15)),
        ("inf", math.inf),
        ("-Infinity", -math.inf),
        ("1e60", math.inf),  # a double that overflows the float
        ("18446744073709551615", float32(2.0**64)),
    ],
)
def test_floats(written: str, value: float) -> None:
    got = parse_text(f"power: {written}", source="t", message="PowerParameter")["power"]
    assert got == value
    assert math.copysign(1, got) == math.copysign(1, value)


def test_nan_is_a_float() -> None:
    assert math.isnan(parse_text("power: -NaN", source="t", message="PowerParameter")["power"])


@pytest.mark.parametrize(
    ("written", "value"),
    [("7", 7), ("0x1F", 31), ("017", 15), ("-0x10", -16), ("- 5", -5), ("2147483647", 2**31 - 1)],
)
def test_integers(written: str, value: int) -> None:
    assert parse_text(f"axis: {written}", source="t", message="ConcatParameter") == {"axis": value}


@pytest.mark.parametrize(
    ("written", "value"),
    [
        (r"'a' \"b\"".replace("\\", ""), "ab"),
        (r'"\x41\102\n\t\"\'\?\\"', "AB\n\t\"'?\\"),
        (r'"\303\251"', "é"),
        ('"é"', "é"),
        (r'"\u00e9\U0001F600"', "é😀"),
        ("'#no comment'", "#no comment"),
        ("\"\" ''", ""),
        (r'"\351"', "é"),  # not UTF-8: read as Latin-1
    ],
)
def test_strings(written: str, value: str) -> None:
    assert parse_text(f"name: {written}", source="t") == {"name": value}


def test_delimiters_lists_and_separators() -> None:
    written = """\ufefflayer: < name: "a", top: ["x", "y"]; param: [{lr_mult:1}, <lr_mult:2>] > # end
    layer{bottom:[] relu_param{}name:'b'pooling_param{kernel_size:3pad:1}}"""
    net = parse_text(written, source="t")
    assert net["layer"] == [
        {"name": "a", "top": ["x", "y"], "param": [{"lr_mult": 1.0}, {"lr_mult": 2.0}]},
        {"relu_param": {}, "name": "b", "pooling_param": {"kernel_size": 3, "pad": 1}},
    ]


ERRORS = {
    "nme: 'x'": "t:1:1: NetParameter has no field 'nme'; it has name, ",
    "layer {\n name: 'a'\n typ: 'b' }": "t:3:2: layer 'a': LayerParameter has no field 'typ'; it has type, ",
    "name: 'a' name: 'b'": "t:1:11: field 'name' of NetParameter is set twice",
    "state {} state {}": "t:1:10: field 'state' of NetParameter is set twice",
    "name 'a'": "t:1:6: expected ':' after field 'name', found \"'a'\"",
    "name: a": "t:1:7: field 'name' needs a string in quotes, found 'a'",
    "name: 'a": "t:1:7: found a string that does not end on its line",
    "name: 'a\nb'": "t:1:7: found a string that does not end on its line",
    r"name: '\q'": r"t:1:7: unknown escape '\\q' in a string",
    r"name: '\ud800'": "t:1:7: escape",
    "layer { name: 'a' >": "t:1:19: layer 'a': expected '}' to end LayerParameter, found '>'",
    "layer { name: 'a'": "t:1:18: layer 'a': expected '}' to end LayerParameter, found the end of the file",
    "layer: 3": "t:1:8: expected '{' to begin field 'layer', found '3'",
    "}": "t:1:1: expected a field of NetParameter, found '}'",
    "3: 4": "t:1:1: expected a field of NetParameter, found '3'",
    "input_dim: 1.5": "t:1:12: field 'input_dim' needs an integer, found '1.5'",
    "input_dim: 1e5x": "t:1:12: field 'input_dim' needs an integer, found '1e5'",
    "input_dim: 08": "t:1:12: field 'input_dim': '08' is not a number",
    "input_dim: 2147483648": "t:1:12: field 'input_dim': 2147483648 is out of range",
    "input_dim: [1 2]": "t:1:15: expected ',' or ']' in the list of field 'input_dim', found '2'",
    "input_dim: [1,]": "t:1:15: field 'input_dim' needs an integer, found ']'",
    "debug_info: 2": "t:1:13: field 'debug_info': 2 is out of range; allowed are 0 to 1",
    "debug_info: yes": "t:1:13: field 'debug_info' needs true or false, found 'yes'",
    "name: ['a']": "t:1:7: field 'name' needs a string in quotes, found '['",
    "state { phase: MIDDLE }": "t:1:16: field 'phase' is 'MIDDLE'; allowed are TRAIN (0), TEST (1)",
    "state { phase: 7 }": "t:1:16: field 'phase' is 7; allowed are TRAIN (0), TEST (1)",
    "layer { name: 'c' clip_param { min: 0 } }": "layer 'c': ClipParameter needs the field 'max'",
    "layer { loss_weight: 0x10 }": "t:1:22: field 'loss_weight' needs a decimal number, found '0x10'",
    "layer { loss_weight: 1.5.2 }": "field 'loss_weight': '1.5' is followed by '.'",
    "layer { loss_weight: big }": "field 'loss_weight' needs a decimal number, found 'big'",
    "layer { phase: -1 }": "field 'phase' is -1; allowed are TRAIN (0), TEST (1)",
    "[caffe.extension]: 3": "t:1:1: expected a field of NetParameter, found '['",
    "name: \x00": "t:1:7: found the character '\\x00'",
    "naïve: 1": "t:1:1: NetParameter has no field 'na'",
    "name: ï": "t:1:7: found the character '\\xef'",
    "input_dim: " + "9" * 5000: "is not a number",
}


@pytest.mark.parametrize("written", ERRORS)
def test_errors_name_place_layer_and_field(written: str) -> None:
    with pytest.raises(ConversionError) as caught:
        parse_text(written, source="t")
    message = str(caught.value)
    assert ERRORS[written] in message
    assert "\n" not in message
    assert len(message) < 400


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("unknown_field", "12:16: layer 'i': ReLUParameter has no field 'slope'"),
        ("enum_unknown", "12:25: layer 'p': field 'pool' is 'MIN'"),
    ],
)
def test_files_that_caffe_refuses(name: str, expected: str) -> None:
    path = GOLDEN / "errors" / f"{name}.prototxt"
    with pytest.raises(ConversionError) as caught:
        read_text(path)
    assert str(caught.value).startswith(f"{path}:{expected}")


def test_large_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "MAX_BYTES", 2**20)
    path = tmp_path / "big.prototxt"
    path.write_bytes(b"#" * (2**20 + 1))
    with pytest.raises(ConversionError, match="more than 1 MiB"):
        read_text(path)
    with pytest.raises(ConversionError, match="more than 100000 values"):
        parse_text("layer{}" * 100_001, source="t")


def test_comments_in_another_encoding_are_read(tmp_path: Path) -> None:
    path = tmp_path / "gbk.prototxt"
    path.write_bytes("# 网络\nname: 'a'".encode("gbk"))
    assert read_text(path) == {"name": "a"}


@pytest.mark.parametrize("name", ["small", "v1_small", "textformat_quirks", "weights_double"])
def test_google_reads_the_same(name: str) -> None:
    path = GOLDEN / name / "net.prototxt"
    theirs = message_class("NetParameter")()
    if name != "textformat_quirks":  # Google's Python reader knows no `1.e-2f` and no empty list
        text_format.Parse(path.read_text(), theirs)
        assert as_dict(theirs) == read_text(path)
    theirs.Clear()
    text_format.Parse(format_text(read_text(path)), theirs)
    assert as_dict(theirs) == read_text(path)


@settings(max_examples=150, deadline=None)
@given(messages("NetParameter"))
def test_write_then_read_gives_the_same(net: dict) -> None:
    assert parse_text(format_text(net), source="t") == net


@settings(max_examples=50, deadline=None)
@given(messages("LayerParameter"))
def test_google_reads_what_we_write(layer: dict) -> None:
    theirs = message_class("LayerParameter")()
    text_format.Parse(format_text(layer, "LayerParameter"), theirs)
    assert as_dict(theirs) == layer
