"""Where a frame shows vessels, and where a catheter: a small network that has seen generated frames alone.

``finder.Finder`` finds.
"""
