"""The Inception Score: Salimans et al., arXiv:1606.03498, section 4."""

import numpy as np

from inceptive.fidelity.kernel import Spread


def inception_score(logits: np.ndarray, splits: int, seed: int) -> Spread:
    """exp(mean KL(p(y|x) ‖ p(y))) of logits (N, K), over `splits` parts of the shuffled pictures.

    In float64. The authors' code leaves out the last layer's bias, and so do torch-fidelity and this
    one's callers; the order is torch-fidelity's for `seed`.
    """
    order = np.random.RandomState(seed).permutation(len(logits))
    z = logits[order].astype(np.float64)
    z -= z.max(axis=1, keepdims=True)
    log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    scores = []
    for k in range(splits):
        part = log_p[k * len(z) // splits : (k + 1) * len(z) // splits]
        p = np.exp(part)
        scores.append(np.exp((p * (part - np.log(p.mean(axis=0)))).sum(axis=1).mean()))
    return Spread(float(np.mean(scores)), float(np.std(scores)))
