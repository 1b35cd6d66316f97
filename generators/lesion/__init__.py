"""Plaques and tumours put into CT: geometry, tissue, compositing and re-measurement."""
