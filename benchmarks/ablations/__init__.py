"""What one setting does to the loss of a small model."""
