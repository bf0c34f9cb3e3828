"""Millions of images: divided into parts, scored on Ray, each part written once."""
