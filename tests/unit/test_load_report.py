import csv
import io
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from msgspec.structs import replace
from rich.console import Console

from scripts.loadtest import plot
from scripts.loadtest.histogram import Histogram
from scripts.loadtest.live import open_live, view
from scripts.loadtest.page import MOST_POINTS, page
from scripts.loadtest.plot import Line
from scripts.loadtest.report import read_json, significant, table, write_csv, write_json
from scripts.loadtest.results import Judgement, Report, Sample, Second, Swarm, Verdict

HOSTILE = "<script>alert('1')</script>\"&\x1b[2J"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def times(*milliseconds: float) -> Histogram:
    histogram = Histogram()
    for one in milliseconds:
        histogram.record(one / 1e3)
    return histogram


BUSY = Second(
    connected=500,
    meant=110,
    sent=100,
    acked=99,
    delivered=4990,
    send_to_ack=times(2, 3, 12),
    send_to_deliver=times(4, 20),
)
QUIET = Second(connected=380, refused=3, closed=20)


@pytest.fixture
def report() -> Report:
    """Return a run that kept what was asked: a busy second, one in which nothing came, a busy one."""
    return Report(
        scenario="office",
        about="500 people write to each other",
        began=datetime(2030, 1, 1, 12, tzinfo=UTC),
        seconds=2.5,
        against="ws://localhost:8000/ws",
        server="echo_ws 0.1.0",
        processes=2,
        swarm=Swarm(
            users=500,
            timeline=[BUSY, QUIET, BUSY],
            latencies={"send_to_ack": times(2, 3, 12, 2, 3, 12), "resume": times(41)},
            counts={"sent": 200, "resumes": 7},
            refusals={"rate_limited": 3},
            closes={"1012": 20},
        ),
        judgements=[Judgement("send_to_ack p99 < 100 ms", "12 ms", is_kept=True)],
        samples=[
            Sample(at=0.5, loop_lag_s=0.001, cpu={"workers": 1.2}, memory_bytes={"workers": 100 << 20}),
            Sample(at=1.5, loop_lag_s=0.003, writer_queue=8, cpu={"workers": 1.4}),
        ],
    )


def failed(report: Report) -> Report:
    swarm = replace(report.swarm, verdict=Verdict(lost=3, closed=1), examples=["bot 7 has not heard message 9"])
    return replace(report, swarm=swarm, judgements=[*report.judgements, Judgement("lost = 0", "3", is_kept=False)])


def hostile(report: Report) -> Report:
    swarm = replace(failed(report).swarm, examples=[HOSTILE], refusals={HOSTILE: 1}, closes={HOSTILE: 1})
    samples = [Sample(at=1.0, cpu={HOSTILE: 1.0}, memory_bytes={HOSTILE: 1})]
    return replace(
        report,
        scenario=HOSTILE,
        about=HOSTILE,
        against=HOSTILE,
        server=HOSTILE,
        swarm=replace(swarm, counts={HOSTILE: 1}),
        samples=samples,
        warnings=[HOSTILE],
        judgements=[Judgement(HOSTILE, HOSTILE, is_kept=False)],
    )


def rows(text: str) -> dict[str, list[str]]:
    """Return the cells of each line of a table by the first one."""
    lines = (re.split(r" {2,}", line.strip()) for line in text.splitlines())
    return {name: cells for name, *cells in lines}


def parsed(html: str) -> ET.Element:
    return ET.fromstring(html.removeprefix("<!DOCTYPE html>"))


def text_of(html: str) -> str:
    return " ".join(parsed(html).itertext())


def figures(html: str) -> dict[str, ET.Element]:
    return {"".join(figure.find("figcaption/b").itertext()): figure for figure in parsed(html).iter("figure")}  # type: ignore[union-attr]


def highest(figure: ET.Element) -> str | None:
    """Return the tick that stands highest."""
    return min(figure.iterfind("svg/text"), key=lambda text: float(text.attrib["y"])).text


def ticks(axis: plot.Axis) -> list[str]:
    return [label for _, label in axis.ticks]


def line_of(*values: float | None) -> Line:
    return Line("line", list(enumerate(values)))


def paths(figure: str) -> list[str]:
    """Return what is drawn for the only line: what is joined, then single dots."""
    return re.findall(r'<path class="(?:line|dots) c0" d="([^"]*)"', figure.partition("</figcaption>")[2])


def test_the_table_shows_latencies_in_milliseconds(report: Report) -> None:
    lines = rows(table(report))

    assert ["6", "5.67", "3.04", "12", "12", "12", "12"] == lines["send→ack"]
    assert ["1", "41", "41", "41", "41", "41", "41"] == lines["resume"]
    assert "connect" not in lines  # nothing measured


def test_the_table_shows_messages_a_second_on_the_whole_and_at_best(report: Report) -> None:
    lines = rows(table(report))

    assert ["200", "80", "100"] == lines["sent"]
    assert ["9,980", "3,992", "4,990"] == lines["delivered"]


def test_the_table_sums_up_what_is_known_of_the_server(report: Report) -> None:
    lines = rows(table(report))

    assert ["2", "3"] == lines["loop lag, ms"]
    assert ["1.30", "1.40"] == lines["CPU workers, cores"]
    assert ["100", "100"] == lines["memory workers, MiB"]
    assert ["8", "8"] == lines["writer queue"]
    assert "redis queue" not in lines


def test_the_table_of_a_run_that_kept_everything_ends_with_passed(report: Report) -> None:
    text = table(report)

    assert "passed" == text.splitlines()[-1]
    assert ["send_to_ack p99 < 100 ms", "12 ms"] == rows(text)["kept"]
    assert "examples" not in text


def test_the_table_of_a_run_that_failed_ends_with_what_was_not_kept(report: Report) -> None:
    text = table(failed(report))

    assert "FAILED: lost = 0" == text.splitlines()[-1]
    assert ["lost = 0", "3"] == rows(text)["NOT KEPT"]
    assert (["3"], ["0"], ["1"]) == tuple(rows(text)[name] for name in ("lost", "doubled", "unexpectedly closed"))
    assert "\nexamples\n  bot 7 has not heard message 9\n" in text


def test_the_table_counts_refusals_and_closes_by_code(report: Report) -> None:
    lines = rows(table(report))

    assert (["3"], ["20"], ["7"]) == (lines["rate_limited"], lines["1012"], lines["resumes"])


def test_no_name_moves_the_terminals_cursor(report: Report) -> None:
    assert "\x1b" not in table(hostile(report))


def test_a_run_in_which_nothing_happened_has_a_table_and_a_page(report: Report) -> None:
    empty = replace(report, seconds=0.0, swarm=Swarm(), samples=[], judgements=[])

    assert "passed" == table(empty).splitlines()[-1]
    assert "passed" in text_of(page(empty))


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.0, "0"), (0.4567, "0.46"), (3.0, "3"), (3.14159, "3.14"), (31.4159, "31.4"), (31415.9, "31,416")],
)
def test_figures_have_three_digits_or_all_of_a_large_number(value: float, shown: str) -> None:
    assert shown == significant(value)


def test_json_gives_the_same_report_back(report: Report, tmp_path: Path) -> None:
    changed = replace(hostile(report), about='{  "1":  2  } and {  1: 2  } are no histograms')
    for number, one in enumerate((report, changed)):
        path = tmp_path / f"{number}.json"

        write_json(one, path)

        assert one == read_json(path)


def test_json_is_indented_with_a_histogram_to_a_line(report: Report, tmp_path: Path) -> None:
    path = tmp_path / "run.json"

    write_json(report, path)

    text = path.read_text()
    assert '\n  "scenario": "office",\n' in text
    assert re.search(r'"counts": \{ "\d+": 2, "\d+": 2, "\d+": 2 \},\n', text)


def test_csv_has_a_line_a_second_and_nothing_where_nothing_was_measured(report: Report, tmp_path: Path) -> None:
    path = tmp_path / "run.csv"

    write_csv(report, path)

    busy, quiet, _ = csv.DictReader(path.read_text().splitlines())
    assert ("0", "500", "110", "100", "99", "4990") == tuple(busy.values())[:6]
    assert ("3.041", "12.000") == (busy["send_to_ack_p50_ms"], busy["send_to_ack_p99_ms"])
    assert "20.000" == busy["send_to_deliver_p99_ms"]
    assert ["1", "380", "0", "0", "0", "0", "3", "20", "", "", "", ""] == list(quiet.values())


def test_the_page_shows_the_outcome_the_figures_and_the_plots(report: Report) -> None:
    html = page(failed(report))

    text = text_of(html)
    for shown in ("failed", "NOT KEPT", "3 lost, 1 unexpectedly closed", "bot 7 has not heard message 9", "3,992 /s"):
        assert shown in text
    assert [
        "Messages a second",
        "Deliveries a second",
        "Latency over time, ms",
        "Latency by percentile, ms",
        "Connections",
        "Refusals and ended connections a second",
        "Server: CPU, cores in use",
        "Server: memory, MiB",
        "Server: lateness of the event loop, ms",
        "Server: queues, entries",
    ] == list(figures(html))


def test_the_page_of_a_clean_run_says_so(report: Report) -> None:
    html = page(report)

    assert "Nothing lost, doubled, out of order" in text_of(html)
    assert "NOT KEPT" not in text_of(html)


def test_the_page_needs_nothing_else(report: Report) -> None:
    elements = list(parsed(page(report)).iter())

    assert not {"script", "link", "img", "iframe", "object"} & {element.tag for element in elements}
    assert not {"src", "href"} & {name for element in elements for name in element.attrib}
    assert "url(" not in page(report)


def test_a_hostile_name_is_shown_as_it_is(report: Report) -> None:
    html = page(hostile(report))

    assert not list(parsed(html).iter("script"))
    shown = HOSTILE.replace("\x1b", "�")
    assert 12 <= text_of(html).count(shown)
    assert f"CPU {shown}, cores" in text_of(html)


def test_a_long_run_is_plotted_with_several_seconds_to_a_point(report: Report) -> None:
    """A rate is the mean of its seconds, a connection count the lowest: a dip stays visible."""
    long = replace(report, swarm=Swarm(timeline=[QUIET, BUSY] * MOST_POINTS))

    drawn = figures(page(long))

    lines = [path.attrib["d"] for path in drawn["Messages a second (a point is 2 s)"].iterfind("svg/path[@class]")]
    assert 3 == [len(re.findall("[ML]", line)) for line in lines].count(MOST_POINTS)
    assert "2.5k" == highest(drawn["Deliveries a second (a point is 2 s)"])
    assert "400" == highest(drawn["Connections"])


def test_a_linear_axis_has_round_ticks_up_to_what_nothing_exceeds() -> None:
    assert ["0", "20", "40", "60", "80", "100"] == ticks(plot.linear([line_of(7, 93)]))
    assert ["0", "0.1", "0.2", "0.3"] == ticks(plot.linear([line_of(0.3)]))
    assert ["0", "500", "1k", "1.5k", "2k"] == ticks(plot.linear([line_of(None, 1900)]))
    assert ["0", "0.2", "0.4", "0.6", "0.8", "1"] == ticks(plot.linear([line_of(0, 0)]))


def test_a_logarithmic_axis_has_round_ticks_and_only_decades_if_it_is_long() -> None:
    assert ["2", "5", "10", "20", "50"] == ticks(plot.logarithmic([line_of(2.1, 0, 43)]))
    assert ["0.01", "0.1", "1", "10", "100", "1k"] == ticks(plot.logarithmic([line_of(0.01, 980)]))
    assert ["5", "10"] == ticks(plot.logarithmic([line_of(5)]))


def test_an_axis_is_logarithmic_if_one_value_would_press_the_others_flat() -> None:
    assert not plot.fitting([line_of(3, 4, 20)]).is_log
    assert plot.fitting([line_of(3, 4, 2000)]).is_log
    assert not plot.fitting([line_of(None)]).is_log


@pytest.mark.parametrize(
    ("seconds", "labels"),
    [
        (4.2, ["0 s", "1 s", "2 s", "3 s", "4 s"]),
        (62, ["0 s", "15 s", "30 s", "45 s", "60 s"]),
        (600, ["0 min", "2 min", "4 min", "6 min", "8 min", "10 min"]),
        (86400, ["0 h", "4 h", "8 h", "12 h", "16 h", "20 h", "24 h"]),
    ],
)
def test_an_axis_of_time_has_the_unit_of_its_ticks(seconds: float, labels: list[str]) -> None:
    assert labels == ticks(plot.time(seconds))


def test_an_axis_of_percentiles_gives_each_nine_the_same_room() -> None:
    axis = plot.percentiles(1000)

    assert ["0", "50", "90", "99", "99.9"] == ticks(axis)
    assert [0.0, 1 / 3, 2 / 3, 1.0] == pytest.approx([axis.place(one_in) for one_in in (1, 10, 100, 1000)])


def test_a_line_has_gaps_where_nothing_was_measured_and_dots_between_two_of_them() -> None:
    line = line_of(1, 1, None, 1, None, 1, 1, 1)

    joined, dots = paths(plot.figure("plot", [line], plot.time(7), plot.linear([line])))

    assert (2, 3, 1) == (joined.count("M"), joined.count("L"), dots.count("M"))


def test_a_logarithmic_plot_leaves_out_what_is_not_above_zero() -> None:
    line = line_of(1, 10, 0, 100, 10)

    joined, _ = paths(plot.figure("plot", [line], plot.time(4), plot.logarithmic([line])))

    assert (2, 2) == (joined.count("M"), joined.count("L"))


def test_what_is_largest_stands_highest() -> None:
    line = line_of(0, 100)

    joined, _ = paths(plot.figure("plot", [line], plot.time(1), plot.linear([line])))

    assert "M52.0 182.0L464.0 10.0" == joined


def shown_live(stream: io.StringIO, seconds: Iterable[int], swarm: Swarm) -> str:
    live = open_live(stream)
    for second in seconds:
        live.show(second, 120.0, swarm)
    live.close()
    return stream.getvalue()


def test_where_nobody_watches_a_second_is_one_line() -> None:
    swarm = Swarm(timeline=[BUSY, QUIET, Second()])

    first, second = shown_live(io.StringIO(), (1, 2), swarm).splitlines()

    assert (
        "  1 s  500 connected  100 sent/s  4,990 delivered/s  send→ack p99 12 ms  send→deliver p99 20 ms  clean"
        == first
    )
    assert "  2 s  380 connected  0 sent/s  0 delivered/s  clean" == second


def test_a_line_names_the_anomalies_and_refusals_so_far() -> None:
    swarm = Swarm(timeline=[QUIET], verdict=Verdict(doubled=2), refusals={"rate_limited": 3})

    text = shown_live(io.StringIO(), [1], swarm)

    assert text.endswith("refused: rate_limited 3  2 doubled\n")


def test_before_anything_was_recorded_a_line_shows_nothing() -> None:
    assert "  5 s  0 connected  0 sent/s  0 delivered/s  clean\n" == shown_live(io.StringIO(), [5], Swarm())


def test_the_view_shows_the_last_second_and_the_latencies_of_the_last_few() -> None:
    console = Console(record=True, width=80, file=io.StringIO())

    console.print(view(2, 120.0, Swarm(timeline=[BUSY, QUIET, BUSY], refusals={"[red]": 3})))

    lines = rows(console.export_text())
    assert ["380"] == lines["connected"]
    assert ["0 meant, 0 sent, 0 acked"] == lines["last second"]
    assert ["p50 3.04 ms, p99 12 ms"] == lines["send→ack"]
    assert ["clean"] == lines["so far"]
    assert ["[red] 3"] == lines["refused"]


def test_the_view_shows_anomalies_in_red() -> None:
    console = Console(record=True, width=80, file=io.StringIO(), force_terminal=True)

    console.print(view(1, 120.0, Swarm(timeline=[QUIET], verdict=Verdict(lost=2))))

    assert "\x1b[1;31m2 lost" in console.export_text(styles=True)


def test_on_a_terminal_the_view_takes_the_place_of_the_one_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")

    text = shown_live(Terminal(), (1, 2), Swarm(timeline=[BUSY, QUIET]))

    assert ("1 of 120 s" in text, "2 of 120 s" in text) == (True, True)
    assert "\x1b[1A\x1b[2K" in text  # up, and the line erased
    assert text.rpartition("\x1b[?25l")[2].count("\x1b[?25h")  # the cursor is shown again


def test_a_terminal_that_can_only_write_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")

    assert "  1 s  500 connected" in shown_live(Terminal(), [1], Swarm(timeline=[BUSY]))
