"""A soak: daemons are killed, stopped and ended while they work, and a ledger tells whether anything was lost.

load.py ---- HTTP ----> fleet.py: daemons of application/ ---- effects ----> ledger.py
                            ^                                                   |
faults.py -- signals -------+              verdict.py, recovery.py <------------+
                                                       |
                                                   report.py
"""

from tests.soak.report import Plan, Report
from tests.soak.soak import soak

__all__ = ["Plan", "Report", "soak"]
