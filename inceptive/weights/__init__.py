"""Published weights: what there is, how its names and layouts map to ours, and loading it."""
