"""How the tests run: hypothesis alike on every machine where nobody looks into a new example, one thread a worker."""

import os

from hypothesis import settings

settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")

if "PYTEST_XDIST_WORKER" in os.environ:
    # Threads of several workers wait for each other in busy loops: with them the suite takes half as long again.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from support.threads import one_thread_by_default

    one_thread_by_default()
