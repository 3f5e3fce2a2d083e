"""onnxruntime on one thread where a test asks for no number."""

from typing import Any

from resnet_compile.runtime.backend import installed_backend


def one_thread_by_default() -> None:
    """Gives every session of this process one thread if its options leave the number open."""
    onnxruntime = installed_backend().onnxruntime
    opened = onnxruntime.InferenceSession.__init__

    def opened_on_one(self: Any, source: Any, sess_options: Any = None, *others: Any, **named: Any) -> None:
        chosen = sess_options or onnxruntime.SessionOptions()
        chosen.intra_op_num_threads = chosen.intra_op_num_threads or 1
        opened(self, source, chosen, *others, **named)

    onnxruntime.InferenceSession.__init__ = opened_on_one
