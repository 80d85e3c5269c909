"""The report as a user has it: files, verdicts, repeated without work; and the page in a browser."""

import json
import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import scipy.io
from click.testing import CliRunner

from decoders import cli
from decoders.experiments.rivals import RivalsSettings
from decoders.report import making
from decoders.report.parts import kept
from tests.photos import fill

PHONE = 390


def type_in(*words: object) -> Any:
    return CliRunner().invoke(cli.main, [str(word) for word in words])


@pytest.fixture(scope="module")
def made(
    run: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[list[object], dict[str, Any], Path]]:
    """The command, what it printed, and its folder; of one small model and two pictures."""
    pictures = fill(tmp_path_factory.mktemp("pictures"), 2)
    out = tmp_path_factory.mktemp("report")
    patch = pytest.MonkeyPatch()
    patch.setattr(cli, "shipped_models", list)
    tiny = RivalsSettings(schedule_share=0.01, atoms=8, iterations=2)
    patch.setattr(making, "QUICK_RIVALS", tiny)
    words = ["report", run, "--images", pictures, "--out", out, "--quick", "--json", "--quiet"]
    result = type_in(*words)
    assert result.exit_code == 0, result.output
    yield words, json.loads(result.stdout), out
    patch.undo()


class Elements(HTMLParser):
    """Attributes of a page's elements by tag."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: dict[str, list[dict[str, str | None]]] = {}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.setdefault(tag, []).append(dict(attrs))


def test_page_needs_nothing_else_and_says_what_is_seen(made: Any) -> None:
    text = (made[2] / "index.html").read_text(encoding="utf-8")
    found = Elements(text).found
    assert all(image["alt"] and str(image["src"]).startswith("data:image/webp") for image in found["img"])
    assert all(svg["aria-label"] for svg in found["svg"])
    assert not {"script", "iframe"} & found.keys()
    assert {link["href"] for link in found["link"]} == {"data:,"}
    addresses = set(re.findall(r"https?://[^\"'<> ]+", text))
    assert all(address.startswith(("http://www.w3.org/", "https://matplotlib.org/")) for address in addresses)
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    for fragment in set(re.findall(r'(?:href="|url\()#([^")]+)', text)):
        assert fragment in ids


def test_figures_are_beside_the_page(made: Any) -> None:
    figures = json.loads((made[2] / "report.json").read_text())
    assert [one["verdict"] for one in made[1]["relations"]] == [
        one["verdict"] for one in figures["relations"]
    ]
    assert len(figures["relations"]) == 7
    assert figures["relations"][1]["checks"], "the rivals were compared"
    methods = {row["method"] for row in figures["experiments"]["rivals"]}
    assert methods == {"decoder", "HOG^-1 (Mahendran & Vedaldi)", "HOGgles"}
    assert figures["pictures"] == 2
    lines = (made[2] / "report.csv").read_text().splitlines()
    assert len(lines) == 1 + sum(len(rows) for rows in figures["experiments"].values())
    text = (made[2] / "index.html").read_text()
    assert "0.24" in text, "the paper's error of HOG"
    assert "decoders train fc6 --net caffenet-mini" in text, "what is missing"


def test_a_second_report_makes_nothing_again(made: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    words, printed, out = made
    before = {path: path.stat().st_mtime_ns for path in (out / "parts").iterdir()}
    page = (out / "index.html").read_bytes()
    monkeypatch.setattr(making, "of_files", None)  # through which pictures are read and features computed
    result = type_in(*words)
    assert json.loads(result.stdout) == printed
    assert {path: path.stat().st_mtime_ns for path in (out / "parts").iterdir()} == before
    assert (out / "index.html").read_bytes() == page


def test_commands_of_figures_are_commands(made: Any) -> None:
    text = (made[2] / "index.html").read_text()
    commands = re.findall(r"<code>decoders (experiment [^<]*)</code>", text)
    assert len(commands) >= 6
    command = next(words for words in commands if words.startswith("experiment errors")).split()
    result = type_in(*command[:-2], "--json")
    figures = json.loads((made[2] / "report.json").read_text())
    assert json.loads(result.stdout)["rows"] == figures["experiments"]["errors"]


def test_parts_are_made_once_and_damage_is_named(tmp_path: Path) -> None:
    calls = []

    def make() -> str:
        calls.append(1)
        return "no part in it"

    first = kept(tmp_path, {"a": 1}, make)
    again = kept(tmp_path, {"a": 1}, make)
    assert (again.reason, again.key) == ("no part in it", first.key)
    assert len(calls) == 1
    assert kept(tmp_path, {"a": 2}, make).key != first.key
    (tmp_path / f"{first.key}.json").write_text("{}")
    with pytest.raises(ValueError, match=r"delete it to have it made again"):
        kept(tmp_path, {"a": 1}, make)


def test_experiment_command_writes_and_refuses(run: Path, photos: Path, tmp_path: Path) -> None:
    result = type_in(
        "experiment", "interpolate", run, photos, "--limit", 2, "--steps", 3, "--out", tmp_path / "x"
    )
    assert result.exit_code == 0, result.output
    assert sorted(path.suffix for path in (tmp_path / "x").iterdir()) == [".csv", ".json", ".png", ".webp"]
    result = type_in("experiment", "color", run, photos, "--limit", 2)
    assert result.exit_code == 2
    assert "none of the models has a part in it" in result.stderr
    result = type_in("experiment", "sample", run, photos, "--features", tmp_path / "f.npy")
    assert result.exit_code == 2
    assert "both pictures and --features" in result.stderr
    assert type_in("experiment", "units", run, photos, "--limit", 1, "--unit", 99).exit_code == 2
    assert type_in("experiment", "nothing").exit_code == 2


def test_features_from_a_file_are_decoded(run: Path, tmp_path: Path) -> None:
    features = np.random.default_rng(0).random((3, 31, 32, 32)) / 3
    scipy.io.savemat(tmp_path / "f.mat", {"brain": features.reshape(3, -1)})
    words = ("--features", tmp_path / "f.mat", "--array", "brain", "--json")
    result = type_in("experiment", "sample", run, *words, "--count", 2, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["settings"]["count"] == 2
    norms = np.linalg.norm(features.reshape(3, -1), axis=1)
    assert [row["real_norm"] for row in found["rows"]] == pytest.approx([norms.mean()] * 2)
    (picture,) = (tmp_path / "out").glob("*.png")
    assert cv2.imread(str(picture)).shape == (2 * 256 + 4, 2 * 256 + 4, 3)
    result = type_in("experiment", "errors", run, *words)
    assert "features came without" in result.stderr


@pytest.fixture(scope="module")
def browser(made: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    pytest.importorskip("selenium")
    programs = [shutil.which(name) for name in ("chromium", "chromedriver")]
    if None in programs:
        pytest.skip("no chromium or chromedriver here (Debian: apt-get install chromium chromium-driver)")
    from tests.export.browser import start

    opened = start(*map(str, programs), tmp_path_factory.mktemp("profile"))
    try:
        opened.get((made[2] / "index.html").as_uri())
        yield opened
    finally:
        opened.quit()


def test_page_in_a_browser(browser: Any) -> None:
    assert browser.title == "Inverting visual representations: the paper with our numbers"
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": PHONE, "height": 844, "deviceScaleFactor": 2, "mobile": True},
    )
    assert browser.execute_script("return document.documentElement.scrollWidth") == PHONE
    sizes = browser.execute_script("return [...document.images].map(i => i.complete && i.naturalWidth)")
    assert len(sizes) > 20
    assert all(sizes)
    asked = browser.execute_script("return performance.getEntriesByType('resource').map(e => e.name)")
    assert [name for name in asked if not name.startswith("data:")] == []
    assert browser.get_log("browser") == []
    grounds = {}
    for scheme in ("light", "dark"):
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        script = """const style = getComputedStyle(document.body), label = document.querySelector('svg text');
                    return [style.backgroundColor, style.color, getComputedStyle(label).fill]"""
        ground, ink, label = (
            [int(number) for number in re.findall(r"\d+", colour)[:3]]
            for colour in browser.execute_script(script)
        )
        grounds[scheme] = sum(ground)
        assert abs(sum(ink) - sum(ground)) > 500
        assert label == ink, "curves are labelled in the colour of the text"
    assert grounds["light"] > 700 > 100 > grounds["dark"]
