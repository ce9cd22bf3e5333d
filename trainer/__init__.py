"""A dataset in, a trained Transformer-XL out. Never imports the pipeline."""
