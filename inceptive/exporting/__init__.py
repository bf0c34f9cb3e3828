"""A model as a file that runs without torch: written, checked against torch, and run."""
