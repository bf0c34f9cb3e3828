"""A model over HTTP: requests gathered into batches, within limits, and a web page."""
