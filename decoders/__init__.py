"""Networks that predict an image from its features. A "decoder" here inverts a representation."""
