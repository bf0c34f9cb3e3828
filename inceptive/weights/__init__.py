"""Published weights: the catalogue, the mapping of their names and layouts to ours, and loading."""
