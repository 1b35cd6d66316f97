"""Angiogram frames of procedural trees: chest, contrast, detector. API: ``frame.phantom_angiogram``."""
