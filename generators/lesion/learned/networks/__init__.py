"""The networks of the learned backends. The only modules of ``generators`` that import torch when they are imported."""
