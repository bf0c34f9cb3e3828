"""How close generated pictures are to real ones: FID, KID, Inception Score, precision and recall."""
