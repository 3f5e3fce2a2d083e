"""Where parameter values come from: initial values, checkpoint files, and the binding of either to a network."""
