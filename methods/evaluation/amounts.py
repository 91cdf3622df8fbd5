"""Write amounts as people read them: durations, numbers, memory, money."""

from __future__ import annotations

UNITS = ((3600, "h"), (60, "min"), (1, "s"))


def format_duration(seconds: float | None) -> str:
    """Return a duration in seconds, minutes or hours, with two digits or more."""
    if seconds is None:
        return "unknown"
    length, unit = next(((n, u) for n, u in UNITS if seconds >= 1.95 * n), UNITS[-1])
    number = seconds / length
    return f"{number:.0f} {unit}" if number >= 9.95 else f"{number:.1f} {unit}"


def format_number(number: float | None, *, exact: bool = True) -> str:
    """Return a whole number; `~` marks one that is extrapolated from a sample."""
    if number is None:
        return "unknown"
    return f"{'' if exact else '~'}{number:,.0f}"


def format_bytes(number: float) -> str:
    """Return a number of bytes in MiB, or in GiB."""
    return f"{number / 2**20:,.1f} MiB" if number < 2**30 else f"{number / 2**30:,.1f} GiB"


def format_money(seconds: float | None, price_per_hour: float) -> str:
    """Return what so many seconds cost at a price."""
    if seconds is None:
        return f"unknown, at {price_per_hour:g} an hour"
    return f"{seconds / 3600 * price_per_hour:,.2f} at {price_per_hour:g} an hour"
