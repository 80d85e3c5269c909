"""V0 and V1 nets in today's format: Caffe's own upgraded files, the Freiburg fork, one error a kind."""

from pathlib import Path

import pytest

from caffe_port.binary import encode
from caffe_port.errors import ConversionError
from caffe_port.schema import MESSAGES
from caffe_port.text import format_text, parse_text, read_text
from caffe_port.upgrade import _V0_FIELDS, _V0_SAME, _V1_LISTS, V0_TYPES, V1_TYPES, upgrade_net
from caffe_port.wire import open_caffemodel

GOLDEN = Path(__file__).parents[1] / "golden" / "caffe"


def upgraded(text: str) -> dict:
    return upgrade_net(parse_text(text, source="t"), "t")


def test_v1_text_is_caffes_own() -> None:
    """Byte for byte what Caffe's upgrade_net_proto_text writes."""
    net = upgrade_net(read_text(GOLDEN / "v1_small" / "net.prototxt"), "net.prototxt")
    assert format_text(net) == (GOLDEN / "v1_small" / "net.upgraded.prototxt").read_text()


def test_v1_weights_are_caffes_own() -> None:
    """Byte for byte what Caffe's upgrade_net_proto_binary writes."""
    model = open_caffemodel(GOLDEN / "v1_small" / "net.caffemodel")
    data = b"".join(encode(upgrade_net(model.message, model.source), "NetParameter"))
    assert data == (GOLDEN / "v1_small" / "net.upgraded.caffemodel").read_bytes()


@pytest.mark.parametrize("case", ["small", "weights_double", "weights_legacy_dims"])
def test_a_net_of_today_stays_as_it_is(case: str) -> None:
    path = GOLDEN / case / "net.caffemodel"
    model = open_caffemodel(path)
    assert b"".join(encode(upgrade_net(model.message, model.source), "NetParameter")) == path.read_bytes()
    net = read_text(path.with_suffix(".prototxt"))
    assert upgrade_net(net, "t") == net


V0_NET = """
name: "old" input: "data" input_dim: 1 input_dim: 3 input_dim: 9 input_dim: 9 force_backward: true
layers { layer { name: "pad" type: "padding" pad: 2 } bottom: "data" top: "padded" }
layers {
  layer {
    name: "conv" type: "conv" num_output: 4 kernelsize: 3 stride: 2 group: 1 biasterm: false
    weight_filler { type: "gaussian" std: 0.5 } blobs_lr: 1 blobs_lr: 2 weight_decay: 1
  }
  bottom: "padded" top: "conv"
}
layers { layer { name: "relu" type: "relu" } bottom: "conv" top: "conv" }
layers {
  layer { name: "pool" type: "pool" pool: AVE kernelsize: 2 stride: 1 pad: 1 } bottom: "conv" top: "pool"
}
layers {
  layer { name: "lrn" type: "lrn" local_size: 3 alpha: 0.25 beta: 0.5 k: 2 } bottom: "pool" top: "lrn"
}
layers { layer { name: "drop" type: "dropout" dropout_ratio: 0.25 } bottom: "lrn" top: "lrn" }
layers { layer { name: "fc" type: "innerproduct" num_output: 5 } bottom: "lrn" top: "fc" }
layers { layer { name: "cat" type: "concat" concat_dim: 1 } bottom: "fc" bottom: "fc" top: "cat" }
"""
V0_AS_V2 = """
name: "old" force_backward: true
layer { name: "input" type: "Input" top: "data" input_param { shape { dim: [1, 3, 9, 9] } } }
layer {
  name: "conv" type: "Convolution" bottom: "data" top: "conv"
  param { lr_mult: 1 decay_mult: 1 } param { lr_mult: 2 }
  convolution_param {
    num_output: 4 kernel_size: 3 stride: 2 group: 1 bias_term: false pad: 2
    weight_filler { type: "gaussian" std: 0.5 }
  }
}
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer {
  name: "pool" type: "Pooling" bottom: "conv" top: "pool"
  pooling_param { pool: AVE kernel_size: 2 stride: 1 pad: 1 }
}
layer {
  name: "lrn" type: "LRN" bottom: "pool" top: "lrn" lrn_param { local_size: 3 alpha: 0.25 beta: 0.5 k: 2 }
}
layer { name: "drop" type: "Dropout" bottom: "lrn" top: "lrn" dropout_param { dropout_ratio: 0.25 } }
layer { name: "fc" type: "InnerProduct" bottom: "lrn" top: "fc" inner_product_param { num_output: 5 } }
layer { name: "cat" type: "Concat" bottom: "fc" bottom: "fc" top: "cat" concat_param { concat_dim: 1 } }
"""


def test_v0_net() -> None:
    """Expected by hand from upgrade_proto.cpp: padding folds, types and fields take their new names."""
    assert upgraded(V0_NET) == parse_text(V0_AS_V2, source="t")


def test_v0_data_layer_keeps_its_transformation() -> None:
    net = upgraded("""layers { layer { name: "d" type: "data" source: "db" batchsize: 4 cropsize: 3
        mirror: true scale: 0.5 meanfile: "m" rand_skip: 1 } top: "data" }""")
    assert net["layer"][0]["data_param"] == {"source": "db", "batch_size": 4, "rand_skip": 1}
    wanted = {"crop_size": 3, "mirror": True, "scale": 0.5, "mean_file": "m"}
    assert net["layer"][0]["transform_param"] == wanted


def test_v0_fields_of_another_type_are_named() -> None:
    with pytest.warns(UserWarning, match="t: layer 'r': V0 type 'relu' has no field 'num_output': left out"):
        net = upgraded('layers { layer { name: "r" type: "relu" num_output: 3 } }')
    assert net["layer"] == [{"name": "r", "type": "ReLU"}]


def test_v1_fields() -> None:
    net = upgraded("""layers { name: "d" type: IMAGE_DATA top: "d" image_data_param { scale: 2 source: "x" }
          transform_param { crop_size: 5 } include { phase: TRAIN } }
        layers { name: "c" type: CONVOLUTION param: "w" blob_share_mode: STRICT blob_share_mode: PERMISSIVE
          blobs_lr: 0 loss_weight: 3 }""")
    data, convolution = net["layer"]
    assert data["image_data_param"] == {"source": "x"}
    assert data["transform_param"] == {"crop_size": 5, "scale": 2.0}
    assert data["include"] == [{"phase": "TRAIN"}]
    assert convolution["param"] == [
        {"name": "w", "share_mode": "STRICT", "lr_mult": 0.0},
        {"share_mode": "PERMISSIVE"},
    ]
    assert convolution["loss_weight"] == [3.0]


def test_freiburg_layers() -> None:
    net = upgraded("""layers { name: "up" type: DECONVOLUTION bottom: "a" top: "b" deconvolution_param {
          output_channels: 3 output_height: 8 output_width: 9 kernel_size: 5 stride: 2 pad: 2 } }
        layers { name: "r" type: RESHAPE bottom: "b" top: "c"
          reshape_param { channels: 4 height: 3 width: 2 } }""")
    sizes = {"output_channels": 3, "output_height": 8, "output_width": 9}
    up, reshape = net["layer"]
    assert (up["type"], reshape["type"]) == ("Deconvolution", "Reshape")
    assert up["deconvolution_param"] == {**sizes, "kernel_size": 5, "stride": 2, "pad": 2}
    assert reshape["reshape_param"] == {"shape": {"dim": [0, 4, 3, 2]}}
    encode(net, "NetParameter")  # both have a place in a caffemodel


def test_inputs_and_batch_norm() -> None:
    net = upgraded("""input: "a" input: "b" input_shape { dim: 1 dim: 2 } input_shape { dim: 3 }
        layer { name: "bn" type: "BatchNorm" param { lr_mult: 1 } param {} param { name: "p" } }""")
    assert net["layer"][0] == {
        "name": "input",
        "type": "Input",
        "top": ["a", "b"],
        "input_param": {"shape": [{"dim": [1, 2]}, {"dim": [3]}]},
    }
    frozen = {"lr_mult": 0.0, "decay_mult": 0.0}
    assert net["layer"][1]["param"] == [frozen, frozen, {**frozen, "name": "p"}]
    assert upgraded('input: "a" name: "weights"') == {"name": "weights"}  # an old caffemodel's inputs


def test_the_net_given_is_left_alone() -> None:
    net = parse_text(V0_NET, source="t")
    upgrade_net(net, "t")
    assert net == parse_text(V0_NET, source="t")


ERRORS = {
    'layer {} layers { name: "old" }': "t: layer 'old': fields 'layer' and 'layers' in one net",
    'layers { layer { name: "x" type: "reshape" } }': "layer 'x' has V0 type 'reshape'; known are accuracy, ",
    'layers { layer {} } layers { name: "y" }': "t: layer 'y' is not in V0 form as others here are",
    'layers { layer { name: "x" type: "relu" } bottom: "b" }': "t: layer 'x': bottom 'b' is made by no layer",
    'input: "a" input: "b" input_dim: [1, 2, 3, 4, 5]': "names 2 blobs but there are 1 shapes",
    """input: "a" layers { layer { name: "p" type: "padding" pad: 1 } bottom: "a" top: "p" }
       layers { layer { name: "r" type: "relu" } bottom: "p" top: "r" }""": "t: layer 'r': reads padding 'p'",
    """input: "a" layers { layer { name: "p" type: "padding" pad: 1 } bottom: "a" bottom: "a" top: "p" }
       layers { layer { name: "c" type: "conv" } bottom: "p" top: "c" }""": "padding 'p' must have one",
    'layers { name: "r" type: RESHAPE reshape_param { height: 3 } }': "reshape_param needs channels, width",
}


@pytest.mark.parametrize("text", ERRORS)
def test_errors(text: str) -> None:
    with pytest.raises(ConversionError) as caught:
        upgraded(text)
    assert ERRORS[text] in str(caught.value)
    assert "\n" not in str(caught.value)


def test_mixed_file_that_caffe_refuses() -> None:
    path = GOLDEN / "errors" / "v1_and_v2_mixed.prototxt"
    with pytest.raises(ConversionError, match="layer 'r': fields 'layer' and 'layers' in one net"):
        upgrade_net(read_text(path), str(path))


def test_tables_cover_the_old_formats() -> None:
    """Every field of V0 and V1 has a place in the next format; three V0 fields never had one."""
    no_place = {"new_num", "new_channels", "hdf5_output_param", "type"}
    assert MESSAGES["V0LayerParameter"].keys() == {*_V0_FIELDS, *_V0_SAME, *no_place}
    for field, owners in _V0_FIELDS.values():
        for owner in owners.values():
            message = MESSAGES["V1LayerParameter"][owner].kind.removeprefix("message:")
            assert field in MESSAGES[message]
    own = {*_V1_LISTS, "layer", "reshape_param"}
    assert MESSAGES["V1LayerParameter"].keys() - own <= MESSAGES["LayerParameter"].keys()
    assert set(V0_TYPES.values()) <= V1_TYPES.keys()
    kinds = MESSAGES["V1LayerParameter"]["type"].kind.removeprefix("enum:")
    assert kinds == "LayerType"
