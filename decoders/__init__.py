"""Networks that predict an image from its features. A "decoder" here inverts a representation."""

import caffe_port  # noqa: F401  (first of all: it bounds what OpenCV, once imported, will decode)
