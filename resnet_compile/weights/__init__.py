"""The values of parameters: initial values, checkpoints, and binding them to a network."""
