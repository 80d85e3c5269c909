"""Progress on a terminal, and only there."""

from typing import Any

from tqdm import tqdm


def counting(unit: str, quiet: bool) -> Any:
    """Make a function that wraps an iterable in a bar which counts `unit`s."""
    return lambda items: tqdm(items, unit=unit, leave=False, disable=True if quiet else None)


class DownloadBar:
    """Progress of downloads on a terminal, one bar a file."""

    def __init__(self) -> None:
        self.name = ""
        self.bar: Any = None

    def __call__(self, name: str, done: int, total: int) -> None:
        if name != self.name:
            self.name = name
            self.bar = tqdm(desc=name, total=total, unit="B", unit_scale=True)
        self.bar.n = done
        self.bar.refresh()
        if done >= total:
            self.bar.close()
