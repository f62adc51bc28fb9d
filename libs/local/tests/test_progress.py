"""What takes long shows how far it is, also where there is no terminal."""

import pytest

from crm_local import progress


def test_a_log_gets_a_line_now_and_then(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    with progress.progress_bar() as bar:
        task = bar.add_task("filling", total=None)
        bar.update(task, completed=1_500)
        bar.update(task, completed=2_000, total=1_000_000)
        bar.advance(task, 500)
    told = capsys.readouterr().err.splitlines()
    assert told[0] == "  filling: 1,500 so far"
    assert told[1].startswith("  filling: 2,000 of 1,000,000")
    assert told[2].startswith("  filling: 2,500 of 1,000,000")


def test_what_is_soon_done_says_nothing_of_the_way(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.progress_bar() as bar:
        bar.advance(bar.add_task("filling", total=1), 1)
    assert capsys.readouterr().err == ""
