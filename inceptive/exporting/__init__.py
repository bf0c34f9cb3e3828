"""A model as a file that runs without torch: written, checked beside torch, and run."""
