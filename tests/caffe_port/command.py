"""The command `caffe_port`, run inside the tests' process."""

import sys

import pytest

from caffe_port.cli import main


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """Run the command; returns its exit status."""
    monkeypatch.setattr(sys, "argv", ["caffe_port", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        main()
    return int(stop.value.code or 0)
