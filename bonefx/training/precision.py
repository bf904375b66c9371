"""Where training may compute in bfloat16: half the time a step on what computes with it natively."""

from __future__ import annotations

import torch


def computes_in_bfloat16(device: str) -> bool:
    """Whether `cpu` or `cuda` does so natively; a processor that does not emulates it, ten times slower."""
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    found = torch.cpu.get_capabilities()
    return any(found.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))
