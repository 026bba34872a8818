"""One case of the benchmark: a batch size and a type, measured for all contenders."""

import contextlib
import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from benchmarking.measuring import clock, fastest, watch

from generation_benchmark.agreement import parting
from generation_benchmark.models import Models
from var import VARPipeline
from var.generation.draws import PerImageDraws
from var.generation.logits import candidates
from var.generation.sampling_settings import SamplingSettings

GUIDANCE, TOP_K, TOP_P = 2.5, 900, 0.96  # the official code's cfg 1.5

CONTENDERS = ("engine", "compiled", "official")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What is measured."""

    batch: int
    dtype: torch.dtype
    device: str
    repeats: int
    contenders: tuple[str, ...] = CONTENDERS

    @property
    def labels(self) -> torch.Tensor:
        """A class for every image."""
        return torch.arange(self.batch, device=self.device) * 37 % 1000


def measure(models: Models, case: Case) -> dict[str, Any]:
    """All figures of a case, fit for JSON; seconds per call unless named otherwise."""
    pipeline = models.pipeline if case.dtype == torch.float32 else copy.deepcopy(models.pipeline).to(case.dtype)
    packed = VARPipeline(pipeline.vqvae, pipeline.transformer).compile()
    calls: dict[str, Callable[[], Any]] = {
        "engine": lambda: _ours(pipeline, case),
        "compiled": lambda: _ours(packed, case),
    }
    if models.official is not None:
        calls["official"] = lambda: _official(models, case)
    calls = {name: call for name, call in calls.items() if name in case.contenders}
    for call in calls.values():
        call()  # warm-up: weights are prepared, kernels chosen
    watched = {name: watch(call, case.device) for name, call in calls.items()}
    result = {
        "batch": case.batch,
        "dtype": str(case.dtype).removeprefix("torch."),
        **_agreement(models, pipeline, case),
        "seconds": fastest(calls, case.repeats, case.device),
        "decoder_seconds": fastest(_decoders(models, pipeline, case), case.repeats, case.device),
        "sampling_seconds": fastest(_samplers(models, case), max(case.repeats, 3), case.device),
        "noticing_seconds": _noticing({"engine": pipeline, "compiled": packed}, case),
        "milliseconds_by_scale": _by_scale(pipeline, case),
        "operators": {name: count for name, (count, _) in watched.items()},
        "memory_mib": {name: memory for name, (_, memory) in watched.items()},
    }
    del packed
    return result


def _ours(pipeline: VARPipeline, case: Case, **settings: Any) -> Any:
    given: dict[str, Any] = {"top_k": TOP_K, "top_p": TOP_P, "seeds": range(case.batch), "output_type": "pt"}
    labels = case.labels.tolist()
    return pipeline(labels, guidance_scale=GUIDANCE, progress=False, **{**given, **settings})


def _official(models: Models, case: Case, top_k: int = TOP_K, top_p: float = TOP_P) -> list[torch.Tensor]:
    """Token maps of the official generator, under autocast where the case is in low precision."""
    assert models.official is not None
    vqvae, model = models.official
    tokens: list[torch.Tensor] = []
    hook = vqvae.quantize.embedding.register_forward_hook(lambda module, args, output: tokens.append(args[0]))
    try:
        with _autocast(case):
            model.autoregressive_infer_cfg(
                case.batch, case.labels, g_seed=0, cfg=GUIDANCE - 1, top_k=top_k, top_p=top_p, more_smooth=False
            )
    finally:
        hook.remove()
    return tokens


def _autocast(case: Case) -> contextlib.AbstractContextManager[Any]:
    return torch.autocast(case.device.partition(":")[0], torch.bfloat16, enabled=case.dtype != torch.float32)


def _agreement(models: Models, pipeline: VARPipeline, case: Case) -> dict[str, Any]:
    """Whether the engine's tokens are those of the official code, if it is there; where greedy ones part."""
    found, parted = {}, None
    scales = SamplingSettings(guidance_scale=GUIDANCE).guidance_scales(len(pipeline.transformer.scales))
    for name, top_k, top_p in (("greedy", 1, 0.0), ("official stream", TOP_K, TOP_P)) if models.official else ():
        stream = torch.Generator(case.device).manual_seed(0)
        ours = _ours(
            pipeline, case, top_k=top_k, top_p=top_p, seeds=None, generator=stream, official_stream=True
        ).tokens
        theirs = _official(models, case, top_k, top_p)
        pairs = zip(ours, theirs, strict=True)
        found[name] = all(torch.equal(mine.flatten(), other.flatten()) for mine, other in pairs)
        if name == "greedy":
            parted = parting(models.pipeline, case.labels, scales, ours, theirs)
    return {"same_tokens": found, "parting": parted}


def _decoders(models: Models, pipeline: VARPipeline, case: Case) -> dict[str, Callable[[], Any]]:
    generator = torch.Generator(case.device).manual_seed(0)
    shape = (case.batch, pipeline.vqvae.config.width, 16, 16)
    latents = torch.randn(shape, generator=generator, device=case.device)
    decode = pipeline._prepare()[1]
    decoders: dict[str, Callable[[], Any]] = {"engine": lambda: decode(latents)}
    if models.official is not None:
        vqvae = models.official[0]

        def official() -> None:
            with torch.no_grad(), _autocast(case):
                vqvae.fhat_to_img(latents)

        decoders["official"] = official
    return decoders


def _noticing(pipelines: dict[str, VARPipeline], case: Case) -> dict[str, float]:
    """Seconds in which a call makes sure that no weight has changed since the last one."""
    looks = {name: pipeline._prepare for name, pipeline in pipelines.items() if name in case.contenders}
    return fastest(looks, max(case.repeats, 3), case.device)


def _samplers(models: Models, case: Case) -> dict[str, Callable[[], Any]]:
    """One sampling step of the last scale."""
    generator = torch.Generator(case.device).manual_seed(0)
    logits = 3 * torch.randn((case.batch, 256, 4096), generator=generator, device=case.device)
    streams = [torch.Generator(case.device).manual_seed(seed) for seed in range(case.batch)]
    sampling = SamplingSettings(top_k=TOP_K, top_p=TOP_P).at(0, 1)
    samplers: dict[str, Callable[[], Any]] = {
        "engine": lambda: PerImageDraws(streams).codes(candidates(logits, sampling))
    }
    if models.official is not None:
        import importlib

        sample = importlib.import_module("models.helpers").sample_with_top_k_top_p_
        samplers["official"] = lambda: sample(logits.clone(), rng=generator, top_k=TOP_K, top_p=TOP_P)
    return samplers


def _by_scale(pipeline: VARPipeline, case: Case) -> list[float]:
    """Milliseconds of every scale of the engine, the least of the repeats."""
    best = [float("inf")] * len(pipeline.transformer.scales)
    for _ in range(case.repeats):
        times = [clock(case.device)]
        _ours(pipeline, case, callback_on_step_end=lambda *_, times=times: times.append(clock(case.device)))
        best = [min(old, 1e3 * (b - a)) for old, a, b in zip(best, times, times[1:], strict=False)]
    return best
