"""Which tree a frame shows, and from where."""
