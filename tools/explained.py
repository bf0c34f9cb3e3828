"""The pictures of docs/explain.md: what a really trained net sees in two photographs.

    python tools/explained.py

The net is `inception_v3.nsfwjs` (docs/weights.md), the photographs are scikit-learn's.
"""

import io
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_images

from inceptive.engines.classifier import Classifier
from inceptive.explaining import dream
from inceptive.explaining.explain import explain
from inceptive.io.progress import Lines

OUT = Path(__file__).parents[1] / "docs/explain"
NET = "inception_v3.nsfwjs"
LOOKED_FOR = (
    ("mixed_5b", 40),
    ("mixed_5d", 20),
    ("mixed_6b", 11),
    ("mixed_6c", 100),
    ("mixed_6e", 7),
)
WIDEST = 900


def main() -> None:
    classifier = Classifier.load(NET)
    china, flower = (Image.fromarray(one) for one in load_sample_images().images)
    OUT.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        files = {"china": Path(folder, "china.png"), "flower": Path(folder, "flower.png")}
        china.save(files["china"])
        flower.save(files["flower"])
        for method, photo, layer in (
            ("gradcam", "flower", ""),
            ("occlusion", "flower", ""),
            ("branches", "flower", ""),
            ("features", "china", "mixed_5d"),
            ("deepdream", "china", "mixed_6c"),
        ):
            options = {"count": 16} if method == "features" else {}
            explanation = explain(
                classifier, files[photo], method, layer=layer, progress=Lines(), **options
            )
            for name, content in explanation.pictures.items():
                keep(Image.open(io.BytesIO(content)).convert("RGB"), name.replace(".png", ".jpg"))
    found = [dream.visualise(classifier, dream.Target(*one), side=224) for one in LOOKED_FOR]
    keep(Image.fromarray(np.concatenate(found, axis=1)), "visualise.jpg")


def keep(image: Image.Image, name: str) -> None:
    image.thumbnail((WIDEST, WIDEST), Image.Resampling.LANCZOS)
    image.save(OUT / name, quality=82, optimize=True)


if __name__ == "__main__":
    main()
