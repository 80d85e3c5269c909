"""Decode features that were computed elsewhere, e.g. predicted from brain activity in MATLAB.

    python examples/decode_features.py fc6.onnx predicted.mat --name fc6 --out pictures/

Reads an .npy, .npz or .mat file of (N, C) or (N, C, H, W) real numbers, never unpickling, and writes one PNG a row.
The features must be those that the decoder was trained on: ``python -m export check fc6.onnx`` says which.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

import export
from caffe_port.array_files import read_array
from decoders.images import save_image


def main() -> int:
    """Decode the file; return the exit status."""
    parser = argparse.ArgumentParser(description="Decode features from a file to pictures.")
    parser.add_argument("decoder", type=Path, help="an .onnx file of decoders export")
    parser.add_argument("features", type=Path, help="an .npy, .npz or .mat file")
    parser.add_argument("--name", default="", help="of the array, where the file holds several")
    parser.add_argument("--out", type=Path, required=True, help="folder for the pictures")
    asked = parser.parse_args()
    try:
        decoder = export.load(asked.decoder)
        features = read_array(asked.features, asked.name)  # (N, *decoder.card["feature_shape"])
        asked.out.mkdir(parents=True, exist_ok=True)
        images = decoder.map(np.asarray(row, np.float32) for row in features)
        for number, image in enumerate(images):  # (H, W, 3) uint8, RGB; a batch at a time
            save_image(asked.out / f"{number:06}.png", image)
    except (ValueError, TypeError, OSError) as error:
        print(f"decode_features: {error}", file=sys.stderr)
        return 2
    print(f"{len(features)} pictures are in {asked.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
