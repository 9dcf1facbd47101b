"""The expressions that the calculator is checked with."""

from itertools import product

# What other schedulers get wrong.
TRICKY = (
    "0 0 * * *",
    "0 0 1 * *",
    "0 0 * * mon",
    "30 2 * * *",
    "30 1 * * *",
    "0 9 * * 0",
    "0 9 * * 1-5",
    "0 9 * * 7",
    "@daily",
    "0 0 13 * fri",
    "0 9 * * mon-fri/2",
    "* * * * *",
    "0 0 29 2 *",
    "0 0 31 * *",
    "0 0 31 2 mon",  # the days alone can never be, the Mondays can
)

# Where a `*` at the start of a field changes what it means.
STARS = (
    "@hourly",
    "@weekly",
    "@monthly",
    "@yearly",
    "@annually",
    "@midnight",
    "0 0 */2 * mon",
    "0 0 1-31/2 * mon",
    "0 0 13 * */5",
    "0 0 * * */7",
    "0 0 13 * *,5",
    "30 *,2 * * *",
    "30 2,* * * *",
    "*/30 2 * * *",
    "0-59/30 2 * * *",
    "30 */2 * * *",
    "30 0-23/2 * * *",
    "*,30 0-3 * * *",
    "*/90 * * * *",
    "59 23 28-31 * *",
    "0 0 1,15 feb,mar,apr,sep,oct,nov sun",
    "15 1-3 * MAR-APR Sun-Tue",
    "0 12 * * sat,7",
    "0 12 * * 5-7",
    "0 12 * * 0-7/3",
    "45 23 31 dec *",
    "0 0 1 1 */100",
)

_MINUTES = ("0", "30", "*/15", "0-59/15", "5,35", "*", "59")
_HOURS = ("*", "0", "1", "2", "3", "0-3", "*/2", "1,2,3", "23", "22-23", "0-23")
_DAYS = ("* * *", "* * sun", "*/2 * *", "25-31 3,10 *", "1 4,11 *", "8-14 * 0", "28-31 * sat-sat")

GRID = tuple(" ".join(parts) for parts in product(_MINUTES, _HOURS, _DAYS))

SECONDS = (
    "* * * * * *",
    "*/10 * * * * *",
    "0 */20 * * * *",
    "30 30 2 * * *",
    "*/20 0 2 * * *",
    "15,45 0-59/20 0-3 * * *",
    "59 59 23 * * *",
    "0 0 0 * * *",
    "7 */30 1 * * *",
)

MINUTELY = tuple(dict.fromkeys((*TRICKY, *STARS, *GRID)))
CORPUS = (*MINUTELY, *SECONDS)

# Every shape that a clock change takes: at night, at midnight, over midnight, of half an hour, two, three and 24 hours.
ZONES = (
    "America/New_York",
    "Europe/Berlin",
    "Europe/London",
    "Australia/Lord_Howe",
    "America/Santiago",
    "Asia/Beirut",
    "Africa/Cairo",
    "America/Havana",
    "America/Nuuk",
    "America/Scoresbysund",
    "Africa/Casablanca",
    "Antarctica/Troll",
    "Antarctica/Casey",
    "Pacific/Chatham",
    "Asia/Gaza",
)
