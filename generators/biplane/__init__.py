"""Bi-plane projection of coronary trees, the data side of XRA-Diff: ``generator.Biplane`` on ``carm``."""
