"""Data structures: boxes, masks and the padded tensors that flow through a model."""
