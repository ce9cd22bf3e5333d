"""Seconds, tokens per second and memory."""
