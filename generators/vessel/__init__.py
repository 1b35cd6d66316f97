"""Quantitative coronary analysis: centrelines, diameters and percent diameter stenosis, measured on a frame.

Inside this package positions are (x, y) = (column, row) pixel indices: the centre of the first pixel is (0, 0).
"""
