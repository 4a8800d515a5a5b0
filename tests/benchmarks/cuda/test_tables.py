import pytest

from benchmarks.cuda.tables import Report


def test_failed_row_prints_reason_and_continues(capsys: pytest.CaptureFixture[str]) -> None:
    def broken() -> list[str]:
        raise MemoryError("CUDA out of memory.\nTried to allocate 2 GiB")

    report = Report(60)
    report.table("Rates", "model", "images/s")
    report.row("dice", measure=broken)
    report.row("other", measure=lambda: ["42"])
    assert report.close() == 1
    assert capsys.readouterr().out == (
        "\n### Rates\n\n| model | images/s |\n|---|---|\n"
        "| dice | failed: MemoryError: CUDA out of memory. Tried to allocate 2 GiB |\n| other | 42 |\n\ndice failed.\n"
    )
