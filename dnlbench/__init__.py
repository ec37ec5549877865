"""dnlbench: run depth sweeps of PyTorch networks, save the results as profiles and compare them.

The functions are in `dnlbench.api`, which is imported when the first of them is used.
"""

__version__ = "0.7.0"
__all__ = ["Comparison", "DnlbenchError", "Profile", "__version__", "compare", "load", "run"]

TYPE_CHECKING = False  # as in typing, whose import takes time
if TYPE_CHECKING:
    from dnlbench.api import Comparison, Profile, compare, load, run
    from dnlbench.errors import DnlbenchError
else:

    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        return getattr(import_module(f"{__name__}.{'errors' if name == 'DnlbenchError' else 'api'}"), name)

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
