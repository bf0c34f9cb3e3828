"""Sets as tar shards, in the webdataset format: KEY.jpg with its KEY.cls, many to a file."""
