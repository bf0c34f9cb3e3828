"""Millions of images: divided into parts, scored by processes on one machine or many, each part written
once."""

from inceptive.scale.scoring import score as score
