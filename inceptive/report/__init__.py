"""`report.html`: what a model is worth, on one page that needs no network."""
