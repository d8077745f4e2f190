"""Inference: a Pydantic model, as source text, from the records of a file."""

from assay.inference.infer import SAMPLE, Inferred, infer_model

__all__ = ["SAMPLE", "Inferred", "infer_model"]
