"""What tasks that tell whole frames apart have in common: their inputs, networks, training and means."""
