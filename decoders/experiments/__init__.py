"""The paper's experiments on features, one module each."""
