"""A reference box through a run, as annotators let a tracker carry it; scored on runs whose boxes are known."""
