"""What tests of reports share: one study, measured once."""

from __future__ import annotations

import pytest
from example_study import study_report

from runtime.report.study_report import StudyReport


@pytest.fixture(scope="session")
def report() -> StudyReport:
    return study_report()
