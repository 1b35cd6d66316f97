"""When the vessels of a run are full of contrast."""
