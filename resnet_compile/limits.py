"""Limits on specs from untrusted sources and on options, checked before anything is allocated."""

MAX_DEPTH = 65_536
MAX_STRIDE = 16
MAX_RATE = 64
MAX_REPEAT = 4_096
MAX_UNITS = 10_000
MAX_SIDE = 16_384
MAX_BATCH = 65_536
MAX_CLASSES = 10_000_000
MAX_PARAMETERS = 20_000_000_000
MAX_SEED = 2**64 - 1
MAX_THREADS = 4_096
