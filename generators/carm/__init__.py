"""C-arm geometry, sparse cone-beam projector and back-projection."""
