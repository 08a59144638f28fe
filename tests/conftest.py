"""For all tests: figures that a test puts on record are shown at the end of the run."""


def pytest_terminal_summary(terminalreporter):
    figures = [
        f"{name}: {value}"
        for report in terminalreporter.getreports("passed")
        for name, value in report.user_properties
        if report.when == "call"
    ]
    if figures:
        terminalreporter.section("figures")
        for figure in figures:
            terminalreporter.write_line(figure)
