"""A fuzz target for both readers, for atheris: `pip install atheris; python tests/fuzz/fuzz_readers.py DIR`.

The first byte picks the reader. Without atheris it reads the files named on the command line once, which
repeats a crash that was found.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

try:
    import atheris
except ImportError:
    atheris = None

import contextlib
import warnings

from caffe_port.errors import ConversionError
from tests.fuzz.mutations import read_binary_case, read_text_case

READERS = (read_text_case, read_binary_case)


def test_one_input(data: bytes) -> None:
    """Read one file; anything but an answer or a ConversionError is a finding."""
    if data:
        with contextlib.suppress(ConversionError):
            READERS[data[0] % len(READERS)](data[1:])


def main() -> None:
    warnings.simplefilter("ignore")
    if atheris is None:
        for name in sys.argv[1:]:
            test_one_input(Path(name).read_bytes())
        return
    atheris.instrument_all()
    atheris.Setup(sys.argv, test_one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
