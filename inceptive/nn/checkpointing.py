"""Activation checkpointing: the backward pass gets what convolutions give, and computes all else again.

Chen et al., arXiv:1604.06174. Normalisation, ReLU, pooling and concatenation cost little beside the
convolutions, but their outputs take as much memory as those.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import (
    CheckpointPolicy,
    checkpoint,
    create_selective_checkpoint_contexts,
)

aten = torch.ops.aten
PRODUCTS = {aten.convolution.default, aten.addmm.default, aten.mm.default}
"""Operations whose outputs are kept."""
_thread = threading.local()


def computing_again() -> bool:
    """Whether this is the second time, for the backward pass: running statistics have moved already.

    The operations have to be the same ones then, in the same order.
    """
    return getattr(_thread, "again", False)


def checkpointed(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """function(x), of whose intermediate results only the PRODUCTS are kept."""
    y: Tensor = checkpoint(  # type: ignore[no-untyped-call]
        function, x, use_reentrant=False, context_fn=_contexts
    )
    return y


def _contexts() -> tuple[Any, Any]:
    # A ReLU that works in place changes what is kept, and applied once more changes nothing.
    first, second = create_selective_checkpoint_contexts(  # type: ignore[no-untyped-call]
        _policy, allow_cache_entry_mutation=True
    )
    return first, _second(second)


def _policy(context: Any, operation: Any, *args: Any, **options: Any) -> CheckpointPolicy:
    if operation in PRODUCTS:
        return CheckpointPolicy.MUST_SAVE
    return CheckpointPolicy.PREFER_RECOMPUTE


@contextlib.contextmanager
def _second(saved: Any) -> Iterator[None]:
    before, _thread.again = computing_again(), True
    try:
        with saved:
            yield
    finally:
        _thread.again = before
