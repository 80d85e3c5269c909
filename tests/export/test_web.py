"""The page of ``decoders demo --web`` in a real browser: it gives what Python gives."""

import functools
import http.server
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import export
from caffe_port.pictures import list_images
from decoders.cards import training_card
from decoders.config import TrainConfig
from decoders.demo import PICTURES
from decoders.derive import decoder_for
from decoders.experiments import perturbations
from decoders.images import to_batch
from decoders.model import Decoder
from decoders.representations import Representation, representation
from decoders.rows import channels_last
from export.to_onnx import ExportOptions, export_decoder
from export.web.runtime import read_runtime
from export.web.site import WebModel, write_site
from tests.export.conftest import photographs
from tests.photos import draw, encode

LAYERS = ("conv3", "fc6", "fc8")
SHAPES = [(31, 8, 8), (4097,)]


def wanted(*programs: str) -> str:
    """The first of some programs that is here, or a skipped test."""
    found = next(filter(None, map(shutil.which, programs)), None)
    if found is None:
        pytest.skip(f"no {' or '.join(programs)} here (Debian: apt-get install chromium chromium-driver)")
    return found


@pytest.fixture(scope="module")
def models(small: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, WebModel]:
    """Untrained decoders of HOG and of some layers of caffenet-mini."""
    folder = tmp_path_factory.mktemp("models")
    found = [WebModel("hog", small, representation("hog"), export.load(small).card)]
    for layer in LAYERS:
        features = representation(layer, "caffenet-mini")
        spec = decoder_for(layer, channels_last(features.shape), features.image_size).scaled(0.0625)
        config = TrainConfig(representation=layer, images=("nowhere",), width=0.0625)
        card = training_card(
            config, features, spec, step=1, seconds=1.0, pictures=1, origin={}, evaluation=None
        )
        path = folder / f"{layer}.onnx"
        decoder = Decoder(spec, seed=3).eval()
        card = export_decoder(
            decoder, features, card, path, calibration=photographs(), options=ExportOptions()
        )
        found.append(WebModel(f"caffenet-mini/{layer}", path, features, card))
    return {model.name: model for model in found}


@pytest.fixture(scope="module")
def page(models: dict[str, WebModel], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The page, opened as a file."""
    pytest.importorskip("selenium")
    chromium, driver = wanted("chromium", "google-chrome"), wanted("chromedriver")
    wanted("npm")
    from tests.export.browser import Page, start

    folder = tmp_path_factory.mktemp("page")
    assert write_site(list(models.values()), list_images([PICTURES]), read_runtime(), folder) == {}
    browser = start(chromium, driver, tmp_path_factory.mktemp("profile"))
    try:
        yield Page(browser, folder / "index.html")
    finally:
        browser.quit()


@pytest.fixture
def fresh(page: Any) -> Any:
    """The page with its controls as at first."""
    page.run("document.querySelector('button[type=reset]').click()")
    page.wait()
    return page


def features_of(picture: np.ndarray, one: Representation) -> np.ndarray:
    return one.extract(to_batch([one.framing.centre(picture)]))


def decoded(model: WebModel, features: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8, as Python makes it."""
    return export.load(model.path, device="cpu", threads=1)(features)[0]


def drop(page: Any, folder: Path, name: str, picture: np.ndarray) -> None:
    (folder / name).write_bytes(encode(picture, ".png"))
    assert name in page.drop(folder / name)


def equal_within(found: np.ndarray, expected: np.ndarray, levels: int) -> None:
    assert found.shape == expected.shape
    assert np.abs(found.astype(int) - expected).max() <= levels


def test_a_dropped_photograph_is_reconstructed_as_by_python(
    fresh: Any, models: dict[str, WebModel], tmp_path: Path
) -> None:
    square, wide = draw(21, 256, 256), draw(22, 300, 410)
    drop(fresh, tmp_path, "square.png", square)
    for name, model in models.items():
        assert "square.png" in fresh.choose(name)
        equal_within(
            fresh.canvas("reconstruction"), decoded(model, features_of(square, model.representation)), 1
        )
    drop(fresh, tmp_path, "wide.png", wide)
    for name in ("caffenet-mini/conv3", "caffenet-mini/fc6"):
        assert "wide.png" in fresh.choose(name)
        expected = decoded(models[name], features_of(wide, models[name].representation))
        equal_within(fresh.canvas("reconstruction"), expected, 1)


@pytest.mark.parametrize("size", [(300, 410), (512, 512), (777, 301), (96, 128), (256, 256)])
def test_photographs_are_cut_as_by_python(fresh: Any, tmp_path: Path, size: tuple[int, int]) -> None:
    picture = draw(5, *size)
    fresh.choose("hog")
    drop(fresh, tmp_path, f"cut-{size[0]}.png", picture)
    equal_within(fresh.canvas("original"), representation("hog").framing.centre(picture), 1)


PERTURBED: dict[str, tuple[dict[str, Any], Callable[[np.ndarray, np.ndarray], np.ndarray]]] = {
    "mixed": ({"second": "0", "share": "30"}, lambda a, b: perturbations.interpolate(a, b, 0.3)),
    "largest": (
        {"keep": "100"},
        lambda a, _: perturbations.keep_largest(a, round(np.sqrt(a[0].size))),
    ),
    "dropped": ({"drop": "50"}, lambda a, _: perturbations.drop(a, 0.5, seed=0)),
    "least": ({"drop": "25", "how": "least"}, lambda a, _: perturbations.drop_least(a, 0.25)),
    "binarised": ({"binarise": True}, lambda a, _: perturbations.binarise(a)),
    "all": (
        {"second": "0", "share": "50", "drop": "40", "binarise": True},
        lambda a, b: perturbations.binarise(
            perturbations.drop(perturbations.interpolate(a, b, 0.5), 0.4, seed=0)
        ),
    ),
}


@pytest.mark.parametrize("case", PERTURBED)
@pytest.mark.parametrize("name", ["hog", "caffenet-mini/fc8"])
def test_perturbed_features_are_decoded_as_by_python(
    fresh: Any, models: dict[str, WebModel], tmp_path: Path, name: str, case: str
) -> None:
    first = draw(8, 256, 256)
    (second, *_) = (file.read() for file in list_images([PICTURES]))
    drop(fresh, tmp_path, "first.png", first)
    fresh.choose(name)
    settings, function = PERTURBED[case]
    fresh.set(**settings)
    one = models[name].representation
    if "second" in settings:  # a JPEG may be decoded otherwise: take the browser's own pixels
        second = as_read(fresh, 0)
    expected = decoded(models[name], function(features_of(first, one), features_of(second, one)))
    equal_within(fresh.canvas("reconstruction"), expected, 1)


def as_read(page: Any, index: int) -> np.ndarray:
    """A photograph of the page as its scripts have read it."""
    page.browser.set_script_timeout(60)
    height, width, pixels = page.browser.execute_async_script(
        """const done = arguments[1];
           pictures.read(document.querySelectorAll('#photographs img')[arguments[0]])
             .then((p) => done([p.height, p.width, Array.from(p.pixels)]));""",
        index,
    )
    return np.array(pixels, np.uint8).reshape(height, width, 3)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("negative", [False, True])
def test_javascript_perturbs_as_python(page: Any, shape: tuple[int, ...], negative: bool) -> None:
    rng = np.random.default_rng(2)
    values = rng.standard_normal((2, *shape)).astype(np.float32)
    values = values if negative else np.maximum(values, 0)
    values[:, 5:9] = values[:, 5:6]  # equal ones
    first, second = values[:1], values[1:]
    count = first.size
    cases = {
        "binarise(a)": perturbations.binarise(first),
        "drop(a, 0.37, 5)": perturbations.drop(first, 0.37, seed=5),
        "drop(a, 1, 5)": perturbations.drop(first, 1, seed=5),
        "dropLeast(a, 0.5)": perturbations.drop_least(first, 0.5),
        f"keepLargest(a, {count // 7})": perturbations.keep_largest(first, count // 7),
        "interpolate(a, b, 0.3)": perturbations.interpolate(first, second, 0.3),
    }
    for call, expected in cases.items():
        found = page.run(
            "const [a, b] = Array.from(arguments).map((values) => Float32Array.from(values));"
            f"return Array.from(perturbations.{call});",
            first.ravel().tolist(),
            second.ravel().tolist(),
        )
        assert np.array_equal(np.equal(found, 0), expected.ravel() == 0), call
        np.testing.assert_allclose(found, expected.ravel(), rtol=1e-6, err_msg=call)


def test_the_keyboard_reaches_everything(fresh: Any) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    fresh.choose("hog")
    find = fresh.browser.find_element
    find(By.CSS_SELECTOR, "input[name=model]:checked").send_keys(Keys.ARROW_RIGHT)
    assert "from caffenet-mini/conv3" in fresh.wait()
    find(By.ID, "drop").send_keys(Keys.PAGE_UP, Keys.ARROW_RIGHT)
    fresh.wait()
    assert find(By.ID, "drop-value").text == "11 %"
    find(By.NAME, "binarise").send_keys(Keys.SPACE)
    before = fresh.canvas("reconstruction")
    find(By.ID, "again").send_keys(Keys.ENTER)
    fresh.wait()
    assert not np.array_equal(before, fresh.canvas("reconstruction"))
    unlabelled = fresh.run(
        """return [...document.querySelectorAll('input, select')].filter(
             (control) => !control.labels?.length && !control.getAttribute('aria-label')).map((c) => c.outerHTML)"""
    )
    assert unlabelled == []
    assert fresh.run("return [...document.images].every((image) => image.alt)")
    assert fresh.run(
        "return [...document.querySelectorAll('canvas')].every((c) => c.getAttribute('aria-label'))"
    )


def test_it_fits_a_phone_in_light_and_dark(fresh: Any) -> None:
    command = fresh.browser.execute_cdp_cmd
    size = {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True}
    command("Emulation.setDeviceMetricsOverride", size)
    papers = []
    for scheme in ("light", "dark"):
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        command("Emulation.setEmulatedMedia", {"features": features})
        papers.append(fresh.run("return getComputedStyle(document.body).backgroundColor"))
    width = fresh.run("return document.documentElement.scrollWidth")
    command("Emulation.clearDeviceMetricsOverride", {})
    command("Emulation.setEmulatedMedia", {"features": []})
    assert width == 360
    assert papers == ["rgb(252, 252, 250)", "rgb(23, 23, 26)"]


def test_what_is_no_picture_is_named(fresh: Any, tmp_path: Path) -> None:
    (tmp_path / "notes.png").write_text("no picture")
    assert fresh.drop(tmp_path / "notes.png") == "notes.png is not a picture that this browser reads."


def test_it_can_be_served_and_loads_nothing_else(page: Any) -> None:
    handler = functools.partial(QuietHandler, directory=str(page.index.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        place = f"http://127.0.0.1:{server.server_port}/"
        page.browser.get(place)
        assert "astronaut from hog" in page.wait()
        addresses = page.run("return performance.getEntriesByType('resource').map((entry) => entry.name)")
        page.browser.get(page.index.as_uri())
        page.wait()
        server.shutdown()
    assert f"{place}data/hog-decoder.js" in addresses
    assert [a for a in addresses if not a.startswith((place, "data:", f"blob:{place}"))] == []


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    """Serves files and logs nothing."""

    def log_message(self, format: str, *args: Any) -> None:
        """See `http.server`."""
