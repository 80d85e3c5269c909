"""From a message to a spec: phases, data layers, wires, types, defaults; each refusal names layer and
field.
"""

import pytest

import caffe_port
from caffe_port import ConversionError
from caffe_port.layers import CAFFE_ONLY, DATA_LAYERS, LAYERS
from caffe_port.plan import make_plan
from caffe_port.spec import BlobSpec, FillerSpec, LayerSpec, LrnSpec, NetSpec, PoolingSpec
from caffe_port.text import format_text, parse_text
from caffe_port.wiring import read_net

DATA = 'layer { name: "d" type: "Input" top: "d" input_param { shape { dim: 2 dim: 4 dim: 6 dim: 6 } } }\n'

CAFFE_TYPES = (  # REGISTER_LAYER_CLASS and REGISTER_LAYER_CREATOR in Caffe 1.0
    "AbsVal,Accuracy,ArgMax,BNLL,BatchNorm,BatchReindex,Bias,Clip,Concat,ContrastiveLoss,Convolution,"
    "Crop,Data,Deconvolution,Dropout,DummyData,ELU,Eltwise,Embed,EuclideanLoss,Exp,Filter,Flatten,"
    "HDF5Data,HDF5Output,HingeLoss,Im2col,ImageData,InfogainLoss,InnerProduct,Input,LRN,LSTM,"
    "LSTMUnit,Log,MVN,MemoryData,MultinomialLogisticLoss,PReLU,Parameter,Pooling,Power,Python,RNN,"
    "ReLU,Reduction,Reshape,SPP,Scale,Sigmoid,SigmoidCrossEntropyLoss,Silence,Slice,Softmax,"
    "SoftmaxWithLoss,Split,Swish,TanH,Threshold,Tile,WindowData"
)


def spec_of(text: str, **options: object) -> NetSpec:
    return read_net(parse_text(text, source="text"), "net.prototxt", **options)  # type: ignore[arg-type]


def refusal(text: str, **options: object) -> str:
    with pytest.raises(ConversionError) as error:
        make_plan(spec_of(text, **options))
    assert "\n" not in str(error.value)
    return str(error.value)


def layer(kind: str, body: str = "", bottom: str = "d", top: str = "y") -> str:
    wires = "".join(f'bottom: "{b}" ' for b in bottom.split()) + "".join(f'top: "{t}" ' for t in top.split())
    return DATA + f'layer {{ name: "it" type: "{kind}" {wires} {body} }}\n'


def names(text: str, **options: object) -> list[str]:
    return [found.name for found in spec_of(text, **options).layers]


def test_caffes_defaults_are_filled_in() -> None:
    pool = spec_of(layer("Pooling", "pooling_param { kernel_size: 3 }")).layers[1].params
    assert pool == PoolingSpec("MAX", (3, 3), (1, 1), (0, 0), "CEIL")
    lrn = spec_of(layer("LRN")).layers[1].params
    assert lrn == LrnSpec(5, 1.0, 0.75, 1.0, "ACROSS_CHANNELS")
    plan = make_plan(spec_of(layer("PReLU")))
    assert [place.spec for place in plan.steps[1].blobs] == [BlobSpec((4,), FillerSpec(value=0.25))]


def test_specs_are_frozen_and_print_as_text_that_reads_the_same() -> None:
    text = layer("Convolution", "convolution_param { num_output: 2 kernel_size: 3 } include { phase: TEST }")
    spec = spec_of(text)
    with pytest.raises(AttributeError):
        spec.layers[0].name = "other"  # type: ignore[misc]
    again = spec_of(format_text(dict(spec.message)))
    assert again == spec
    assert isinstance(again.layers[1], LayerSpec)


@pytest.mark.parametrize(
    ("rules", "kept"),
    [
        ("", True),
        ("include { phase: TRAIN }", False),
        ("include { phase: TEST }", True),
        ("exclude { phase: TEST }", False),
        ("exclude { phase: TRAIN }", True),
        ('include { stage: "deploy" }', False),
        ('include { not_stage: "deploy" }', True),
        ("include { min_level: 1 }", False),
        ("include { max_level: 0 }", True),
        ("include { phase: TRAIN } include { min_level: 0 }", True),
        ("include { phase: TEST min_level: 1 }", False),
        ("exclude { phase: TRAIN } exclude { max_level: 3 }", False),
    ],
)
def test_rules_choose_layers(rules: str, kept: bool) -> None:
    assert (names(layer("ReLU", rules)) == ["d", "it"]) is kept


def test_level_and_stages_change_the_choice() -> None:
    text = layer("ReLU", 'include { min_level: 2 stage: "a" stage: "b" not_stage: "c" }')
    assert names(text) == ["d"]
    assert names(text, level=2, stages=["a", "b"]) == ["d", "it"]
    assert names(text, level=2, stages=["a", "b", "c"]) == ["d"]
    assert names('state { stage: "a" stage: "b" }' + text, level=3) == ["d", "it"]


def test_data_layers_become_inputs() -> None:
    text = """
    layer { name: "train" type: "Data" top: "data" top: "label" include { phase: TRAIN } }
    layer { name: "test" type: "Data" top: "data" top: "label" include { phase: TEST }
      transform_param { crop_size: 227 mean_file: "mean" } data_param { source: "lmdb" batch_size: 50 } }
    layer { name: "images" type: "ImageData" top: "grey"
      image_data_param { source: "list" batch_size: 3 new_height: 20 new_width: 30 is_color: false } }
    layer { name: "memory" type: "MemoryData" top: "m" top: "n"
      memory_data_param { batch_size: 2 channels: 5 height: 6 width: 7 } }
    layer { name: "h5" type: "HDF5Data" top: "h" hdf5_data_param { source: "x" batch_size: 2 } }
    """
    spec = spec_of(text, input_shapes={"h": (2, 9)})
    assert dict(spec.inputs) == {
        "data": (50, 3, 227, 227),
        "label": (50,),
        "grey": (3, 1, 20, 30),
        "m": (2, 5, 6, 7),
        "n": (2,),
        "h": (2, 9),
    }
    assert {found.type for found in spec.layers} == {"Input"}
    assert "layer 'h5' (HDF5Data): field 'top'" in refusal(text)
    assert "pass input_shapes={'h': (N, C, H, W)}" in refusal(text)
    assert dict(spec_of(format_text(dict(spec.message))).inputs) == dict(spec.inputs)


def test_input_shapes_may_be_replaced() -> None:
    assert spec_of(DATA, input_shapes={"d": (1, 4, 9, 9)}).inputs["d"] == (1, 4, 9, 9)
    assert "input_shapes: 'e' is no input; inputs are 'd'" in refusal(DATA, input_shapes={"e": (1,)})


def test_all_layers_that_cannot_run_are_reported_at_once() -> None:
    text = refusal(
        DATA
        + 'layer { name: "p" type: "Python" bottom: "d" top: "p" }'
        + 'layer { name: "q" type: "Bogus" bottom: "p" top: "q" }'
        + 'layer { name: "r" type: "HDF5Output" bottom: "q" bottom: "p" }'
    )
    assert "layer 'p' (Python): Caffe has this type and this port does not" in text
    assert "layer 'q' (Bogus): field 'type': no such layer type is known" in text
    assert "layer 'r' (HDF5Output): Caffe has this type" in text
    assert all(known in text for known in (*LAYERS, *DATA_LAYERS))


def test_every_type_of_caffe_is_run_or_refused_by_name() -> None:
    caffes = CAFFE_TYPES.split(",")
    assert set(caffes) <= {*LAYERS, *DATA_LAYERS, *CAFFE_ONLY}
    forks = {name for name, row in LAYERS.items() if row.source != "Caffe 1.0"}
    assert set(LAYERS) - set(caffes) == forks
    assert forks == {"Permute", "Normalize", "ReLU6", "Interp", "Upsample", "ShuffleChannel"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (layer("ReLU", bottom="d d"), "field 'bottom' is set 2 times; the layer takes 1"),
        (
            layer("Pooling", top="y z w", body="pooling_param { kernel_size: 2 }"),
            "field 'top' is set 3 times",
        ),
        (layer("Pooling", top="y z", body="pooling_param { kernel_size: 2 pool: AVE }"), "only MAX pooling"),
        (layer("Convolution", bottom="d d"), "fields 'bottom' and 'top' are set 2 and 1 times"),
        (layer("ReLU", "loss_weight: 1 loss_weight: 1"), "field 'loss_weight' is set 2 times"),
        (layer("ReLU", "propagate_down: true propagate_down: true"), "field 'propagate_down'"),
        (layer("ReLU", "param { lr_mult: 1 }"), "field 'param' is set 1 times; the layer has 0"),
        (layer("Dropout", "phase: TRAIN"), "field 'phase' is TRAIN"),
        (layer("LRN", top="d"), "field 'top': 'd' is also the bottom"),
        (layer("AbsVal", top="d"), "cannot work in place"),
        (layer("Flatten", top="d"), "cannot work in place"),
        (layer("Eltwise", bottom="d d", top="d"), "produced by multiple sources"),
        (
            layer("ReLU") + layer("ReLU", bottom="y", top="d").replace(DATA, ""),
            "produced by multiple sources",
        ),
        (
            layer("ReLU", "", top="y") + 'layer { name: "b" type: "ReLU" bottom: "d" top: "d" }',
            "layer 'b' (ReLU)",
        ),
        (layer("LRN", "lrn_param { local_size: 4 }"), "field 'lrn_param.local_size' is 4; it must be odd"),
        (layer("Pooling", "pooling_param { kernel_size: 2 pad: 2 }"), "field 'pooling_param.pad'"),
        (layer("Pooling", "pooling_param { kernel_h: 2 }"), "field 'pooling_param.kernel': set kernel_size"),
        (layer("Pooling", "pooling_param { kernel_size: 2 global_pooling: true }"), "global_pooling"),
        (
            layer("Pooling", "pooling_param { global_pooling: true stride: 2 }"),
            "allows only pad 0 and stride 1",
        ),
        (layer("Pooling", "pooling_param { kernel_size: 9 }"), "leaves a top of size -2"),
        (
            layer("Convolution", "convolution_param { num_output: 2 kernel_h: 3 }"),
            "'kernel_h' and 'kernel_w'",
        ),
        (
            layer(
                "Convolution", "convolution_param { num_output: 2 kernel_size: 3 kernel_h: 3 kernel_w: 3 }"
            ),
            "are both set",
        ),
        (
            layer("Convolution", "convolution_param { num_output: 2 kernel_size: 3 stride: 0 }"),
            "field 'convolution_param.stride' is 0",
        ),
        (
            layer(
                "Deconvolution",
                "deconvolution_param { output_channels: 2 output_height: 99 output_width: 12 "
                "kernel_size: 5 pad: 2 stride: 2 }",
            ),
            "field 'deconvolution_param.output_height' is 99; this bottom, kernel, stride and pad allow "
            "11 to 12",
        ),
        (layer("InnerProduct"), "field 'inner_product_param.num_output'"),
        (layer("Exp", "exp_param { base: -3 }"), "field 'exp_param.base' is -3"),
        (layer("Clip"), "field 'clip_param.min' is not set"),
        (layer("SPP"), "field 'spp_param.pyramid_height' is 0"),
        (layer("ArgMax", "argmax_param { top_k: 5 axis: 1 }"), "field 'argmax_param.top_k' is 5"),
        (layer("Filter"), "field 'bottom' is set 1 times"),
        (
            layer("LSTM", "recurrent_param { num_output: 2 }", bottom="d d"),
            "field 'bottom': x of shape 2 4 6 6",
        ),
        (
            layer("LSTM", "recurrent_param { num_output: 2 expose_hidden: true }", bottom="d d"),
            "takes 4 or 5",
        ),
        (layer("Embed", "embed_param { num_output: 2 }"), "field 'embed_param.input_dim'"),
        (layer("Concat", "concat_param { axis: 1 concat_dim: 1 }"), "are both set"),
        (layer("InfogainLoss", bottom="d d"), "field 'infogain_loss_param.source'"),
        (layer("Permute", "permute_param { order: 0 order: 4 }"), "the bottom 2 4 6 6 has fewer axes"),
        (layer("Upsample", "upsample_param { scale: 2 }", bottom="d d d"), "the layer takes 1 to 2"),
        (layer("DummyData", "dummy_data_param { num: 2 }", bottom=""), "field 'dummy_data_param.channels'"),
        (layer("Reshape", "reshape_param { shape { dim: -1 dim: -1 } }"), "one dim may be -1"),
        (layer("Tile", "tile_param { tiles: 100000000 }"), "holds more than 2147483647 numbers"),
        (DATA.replace("dim: 2", "dim: 0"), "every size must be positive"),
    ],
)
def test_refusals_name_layer_and_field(text: str, message: str) -> None:
    found = refusal(text)
    assert message in found
    assert "net.prototxt: layer '" in found


def test_names_from_a_file_cannot_break_the_line() -> None:
    text = refusal(DATA + f'layer {{ name: "{"x" * 500}\\n" type: "ReLU" bottom: "no\\nsuch" top: "y" }}')
    assert len(text) < 500
    assert "'no\\nsuch'" in text


def test_losses_name_their_own_top() -> None:
    text = layer("EuclideanLoss", bottom="d e", top="").replace(
        'layer { name: "it"', DATA.replace('"d"', '"e"') + 'layer { name: "it"'
    )
    plan = make_plan(spec_of(text))
    assert plan.steps[-1].layer.tops == ("(automatic)",)
    assert plan.outputs == ()


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ('param { name: "w" }', "cannot be shared as 6 4 3 3; shapes must be equal"),
        ('param { name: "w" share_mode: PERMISSIVE }', "cannot be shared as 6 4 3 3; counts must be equal"),
        ('param { name: "w" lr_mult: 3 }', "cannot be shared"),
    ],
)
def test_parameters_that_cannot_be_shared(second: str, message: str) -> None:
    convolution = "convolution_param {{ num_output: {} kernel_size: 3 bias_term: false }} "
    text = layer("Convolution", convolution.format(4) + 'param { name: "w" lr_mult: 1 }')
    text += layer("Convolution", convolution.format(6) + second, top="z").replace(DATA, "")
    assert message in refusal(text)
    same = text.replace("num_output: 6", "num_output: 4")
    if "lr_mult: 3" in second:
        assert "field 'param.lr_mult' of shared 'w' is 3, but 1 in layer 'it'" in refusal(same)
    else:
        assert [place.is_owner for place in make_plan(spec_of(same)).steps[2].blobs] == [False]


def test_the_file_is_named(tmp_path: object) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.prototxt"):
        caffe_port.load("nowhere.prototxt")
