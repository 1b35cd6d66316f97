"""Coronary trees on an ovoid heart: Murray's law, stenoses of known severity, voxels: ``coronary.phantom_tree``."""
