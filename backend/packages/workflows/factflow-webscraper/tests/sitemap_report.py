"""Print how every case of the sitemap corpus fares: `python sitemap_report.py`. Reads only."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from corpus_cases import DEVIATIONS, corpus_folder, judge, load_cases


def main() -> int:
    """Print one line per case and the count; return 1 when a case fails or none is there."""
    cases = load_cases()
    failed = 0
    for case in cases:
        wrong = judge(case)
        failed += bool(wrong)
        note = "; ".join(wrong) or DEVIATIONS.get(case.id, "")
        verdict = "FAILED" if wrong else "passed"
        print(f"{verdict}  {case.kind:<14} {case.id:<45.45} {note}".rstrip())  # noqa: T201 - its purpose
    print(f"{len(cases) - failed} of {len(cases)} passed ({corpus_folder()})")  # noqa: T201 - its purpose
    return 1 if failed or not cases else 0


if __name__ == "__main__":
    raise SystemExit(main())
