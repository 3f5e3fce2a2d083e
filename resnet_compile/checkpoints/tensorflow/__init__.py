"""TensorFlow checkpoints of both formats."""
