"""Procedural anatomy: coronary trees (``tree``), and angiograms (``angiogram``) and CT (``ct``) that show them."""
