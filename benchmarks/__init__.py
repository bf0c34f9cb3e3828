"""How fast inceptive is beside its peers: interleaved rounds on one machine, as ratios."""
