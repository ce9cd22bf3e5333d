"""`ContiguousBatchSampler`, by its public name; it lives in `trainer.data.sampler`."""

from trainer.data.sampler import ContiguousBatchSampler

__all__ = ["ContiguousBatchSampler"]
