"""Scoring millions of images: split into parts, scored on one machine or many, each part written
once."""

from inceptive.scale.scoring import score as score
