"""The README's Python runs as it stands; every command in README and docs is one that there is, with its options."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from caffe_port.cli import cli as caffe_port
from decoders.cli import main as decoders

ROOT = Path(__file__).parent.parent
BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
PROGRAMS = {"caffe_port": caffe_port, "decoders": decoders}
PAGES = ("README.md", "docs/training.md")


def commands(page: str) -> list[list[str]]:
    """The words of each command of our programs in a page's shell blocks, from the program's name on."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found = []
    for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            for part in line.split("&&"):
                words = shlex.split(part, comments=True)
                starts = [number for number, word in enumerate(words) if word in PROGRAMS]
                if starts:
                    found.append(words[starts[0] :])
    return found


@pytest.mark.parametrize("block", range(len(BLOCKS)))
def test_readme_example_runs(block: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", BLOCKS[block]], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_readme_has_examples() -> None:
    assert BLOCKS


@pytest.mark.parametrize("page", PAGES)
def test_commands_in_pages_have_the_options_they_name(page: str) -> None:
    found = commands(page)
    assert len(found) >= 3
    for program, name, *words in found:
        command = PROGRAMS[program].commands[name]
        context = click.Context(command, info_name=name)
        command.make_parser(context).parse_args(list(words))


def test_a_command_with_an_unknown_option_would_be_found() -> None:
    command = decoders.commands["train"]
    with pytest.raises(click.NoSuchOption, match="--epoch"):
        command.make_parser(click.Context(command)).parse_args(["fc6", "--epochen", "3"])
