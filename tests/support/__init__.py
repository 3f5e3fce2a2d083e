"""What several tests need: tolerances, golden data, running a model."""
