"""The one error of this package: a Caffe file that cannot be read, or a net refused."""


class ConversionError(ValueError):
    """A file or net is refused. One line: the file, the layer or field, what was found, what is allowed."""
