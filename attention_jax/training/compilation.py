"""How often a jitted function was compiled, and how long that took."""

from typing import Self

import jax

_PREFIX = "/jax/core/compile/"
_COMPILED = _PREFIX + "backend_compile_duration"


class CompilationCounter:
    """Counts, while it is entered, the compilations of the jitted function called `name`.

    Attributes:
      count: compilations, one for each new batch shape.
      seconds: they took, tracing and lowering included.
    """

    def __init__(self, name: str, *, count: int = 0, seconds: float = 0.0):
        self.count = count
        self.seconds = seconds
        self._names = (name, f"jit({name})")

    def __enter__(self) -> Self:
        jax.monitoring.register_event_duration_secs_listener(self._listen)
        return self

    def __exit__(self, *exception: object) -> None:
        jax.monitoring.unregister_event_duration_listener(self._listen)

    def _listen(self, event: str, duration_secs: float, **kwargs: str | int) -> None:
        if event.startswith(_PREFIX) and kwargs.get("fun_name") in self._names:
            self.seconds += duration_secs
            self.count += event == _COMPILED
