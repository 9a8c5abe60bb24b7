"""When things happen: weights by hour of the day, for each kind of day."""

from __future__ import annotations

from datetime import date
from typing import Literal

DayKind = Literal["weekday", "saturday", "sunday"]


def day_kind(day: date) -> DayKind:
    match day.isoweekday():
        case 6:
            return "saturday"
        case 7:
            return "sunday"
        case _:
            return "weekday"


# One digit-pair per hour, from midnight on.
FINES: dict[DayKind, tuple[int, ...]] = {
    "weekday": (8, 6, 5, 3, 3, 4, 8, 22, 55, 90, 99, 92, 48, 40, 72, 88, 92, 84, 66, 44, 30, 22, 18, 12),
    "saturday": (16, 14, 12, 8, 5, 4, 6, 12, 30, 62, 80, 84, 60, 44, 58, 70, 78, 76, 64, 50, 40, 34, 30, 24),
    "sunday": (20, 18, 14, 10, 6, 4, 4, 6, 14, 30, 42, 48, 40, 28, 34, 44, 48, 46, 40, 34, 28, 22, 16, 10),
}
TOWS: dict[DayKind, tuple[int, ...]] = {
    "weekday": (6, 5, 4, 4, 6, 20, 48, 84, 96, 99, 90, 74, 40, 46, 70, 78, 70, 60, 44, 32, 24, 18, 12, 8),
    "saturday": (10, 8, 6, 5, 8, 24, 44, 60, 66, 70, 66, 58, 40, 38, 48, 52, 50, 46, 40, 36, 32, 28, 22, 16),
    "sunday": (14, 12, 8, 6, 8, 20, 30, 34, 36, 40, 42, 40, 30, 26, 30, 34, 36, 34, 32, 30, 28, 24, 18, 12),
}
CROWDS: dict[DayKind, tuple[int, ...]] = {
    "weekday": (8, 4, 3, 2, 2, 4, 12, 34, 52, 46, 48, 60, 82, 74, 60, 62, 72, 90, 99, 80, 56, 40, 28, 16),
    "saturday": (22, 16, 10, 6, 4, 4, 6, 14, 30, 52, 72, 84, 82, 76, 84, 94, 99, 98, 92, 78, 64, 56, 50, 36),
    "sunday": (26, 18, 12, 8, 4, 4, 6, 10, 22, 44, 66, 74, 66, 60, 70, 84, 88, 82, 66, 48, 34, 24, 16, 10),
}
RESIDENTS: dict[DayKind, tuple[int, ...]] = {
    "weekday": (99, 99, 99, 99, 99, 98, 92, 78, 62, 55, 52, 51, 55, 53, 51, 52, 57, 66, 76, 84, 90, 94, 97, 98),
    "saturday": (97, 98, 99, 99, 99, 99, 97, 93, 87, 79, 72, 69, 72, 71, 67, 64, 63, 66, 73, 79, 83, 87, 91, 94),
    "sunday": (95, 97, 99, 99, 99, 99, 98, 96, 92, 86, 80, 78, 82, 80, 74, 70, 70, 75, 83, 90, 94, 97, 98, 99),
}
WORKERS: dict[DayKind, tuple[int, ...]] = {
    "weekday": (4, 3, 3, 3, 4, 9, 24, 55, 86, 97, 99, 96, 78, 85, 97, 96, 89, 66, 40, 24, 15, 10, 7, 5),
    "saturday": (4, 3, 3, 3, 4, 6, 12, 20, 30, 36, 39, 38, 33, 33, 37, 38, 36, 31, 23, 16, 12, 9, 7, 5),
    "sunday": (4, 3, 3, 3, 3, 4, 7, 10, 14, 17, 18, 18, 16, 15, 16, 17, 16, 14, 11, 9, 8, 6, 5, 4),
}
VISITORS = CROWDS
