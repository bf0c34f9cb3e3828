"""The mathematics of every word, forward and backward, in NumPy: `layers`, and whole nets: `net`.

Slow and literal on purpose. It shares no code with `model`, so that each is the other's witness.
"""
