"""Procedural coronary trees: anatomy on an ovoid heart, Murray calibres, stenoses of known severity, voxels."""
