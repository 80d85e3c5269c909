"""Reconstruct every photograph of a folder: a service's batch job, without torch.

    python examples/reconstruct_folder.py pipeline.onnx photos/ reconstructed/

Takes a file of ``decoders export RUN -o pipeline.onnx --pipeline``. Works on one picture a processor, and goes on where
it was stopped: a picture is written whole or not at all, and those that are there are left alone. Exit status 1 if one
of the pictures cannot be read.
"""

import argparse
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import export
from caffe_port.pictures import BadImage, ImageFile, list_images
from decoders.images import centre_crop, save_image


def main() -> int:
    """Run over the folder; return the exit status."""
    parser = argparse.ArgumentParser(description="Reconstruct every photograph of a folder.")
    parser.add_argument("pipeline", type=Path, help="an .onnx file of decoders export --pipeline")
    parser.add_argument("photographs", type=Path, help="a folder, searched recursively")
    parser.add_argument("out", type=Path, help="the folder of the reconstructions")
    asked = parser.parse_args()

    decoder = export.load(asked.pipeline, threads=1)  # one session serves all threads
    sides = decoder.card["photograph_size"] if decoder.card["photograph_multiple"] > 1 else None

    def reconstruct(file: ImageFile) -> str:
        """Do one picture; what went wrong, or nothing."""
        target = asked.out / f"{file.name}.png"
        if target.exists():
            return ""
        try:
            photograph = file.read()  # (H, W, 3) uint8, RGB
        except BadImage as error:
            return str(error)
        if sides is not None:  # nets stretch photographs inside the graph; HOG and LBP want their own size
            photograph = centre_crop(photograph, (sides[0], sides[1]))
        target.parent.mkdir(parents=True, exist_ok=True)
        save_image(target, decoder(photograph[None])[0])
        return ""

    files = list_images([asked.photographs])
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        wrong = [line for line in threads.map(reconstruct, files) if line]
    print(*wrong, f"{len(files) - len(wrong)} of {len(files)} pictures are in {asked.out}", sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
