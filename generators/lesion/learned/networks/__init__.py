"""The networks of the learned backends, to the published parameter. These modules import torch."""
