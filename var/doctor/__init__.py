"""Whether a training is sound: `examine` looks at the folder of a run and says in words what is wrong.

`patient` opens the run, each of the other modules looks at one subject, `examination` has the table of them.
"""

from typing import TYPE_CHECKING

from var.lazy import lazy_names

if TYPE_CHECKING:
    from var.doctor.examination import examine as examine
    from var.doctor.report import Finding as Finding
    from var.doctor.report import Report as Report

__getattr__, __dir__, __all__ = lazy_names(
    __name__, {"var.doctor.examination": "examine", "var.doctor.report": "Finding Report"}
)
