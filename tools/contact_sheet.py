"""Draws the README's picture: Fashion-MNIST's test pictures with what a model folder answers.

    python tools/contact_sheet.py runs/fashion-mnist docs/fashion_mnist.png

First row: the first eight test pictures. Second row: the eight it is most sure of and wrong about.
"""

import sys

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from inceptive.data.open import open_data
from inceptive.engines.classifier import Classifier
from inceptive.evaluation.evaluate import probabilities

CELL, TEXT, GAP, COUNT = 112, 44, 12, 8


def main(model: str, out: str) -> None:
    classifier, samples = Classifier.load(model), open_data("fashion-mnist").split("test")
    probs = probabilities(classifier, samples)[1]
    answers = probs.argmax(axis=1)
    wrong = np.flatnonzero(answers != samples.labels)
    surest = wrong[np.argsort(-probs[wrong].max(axis=1))][:COUNT]
    width, height = COUNT * (CELL + GAP) + GAP, 2 * (CELL + TEXT + GAP) + GAP
    sheet = Image.new("RGB", (width, height), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for row, chosen in enumerate((range(COUNT), surest)):
        for column, i in enumerate(chosen):
            left, top = GAP + column * (CELL + GAP), GAP + row * (CELL + TEXT + GAP)
            picture = Image.fromarray(255 - samples.source(i))
            sheet.paste(picture.resize((CELL, CELL), Image.Resampling.BICUBIC), (left, top))
            right = answers[i] == samples.labels[i]
            told = f"{classifier.labels[answers[i]]} {probs[i].max():.0%}"
            draw.text((left, top + CELL + 4), told, "#0a6b3a" if right else "#b3261e", font)
            if not right:
                true = f"labelled {classifier.labels[samples.labels[i]]}"
                draw.text((left, top + CELL + 22), true, "#555555", font)
    sheet.save(out, optimize=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
