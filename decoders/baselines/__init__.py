"""The paper's rivals: other ways from features back to an image, one file each."""
