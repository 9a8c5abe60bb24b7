"""Time: the city's clock and calendar, sets of days, holidays, and whether the machine's clock can be believed."""
