"""What the how-to page shows is what happens."""

from pathlib import Path

from contention.isolation.matrix import run_matrix
from contention.isolation.matrix_formats import matrix_as_markdown
from contention.isolation.parsing import parse_spec
from contention.isolation.suite import SpecFile, run_file

PAGE = Path(__file__).parents[4].joinpath("docs/how-to/isolation-specs.md").read_text()


def test_the_spec_on_the_page_prints_what_the_page_says(database: str) -> None:
    spec, _, transcript = PAGE.split("\n```\n")[2:5]
    outcome = run_file(
        SpecFile(Path("transfer.spec"), parse_spec(spec.encode())), database=database, write=len
    )
    assert outcome.output.decode() == transcript + "\n"


def test_the_matrix_on_the_page_is_the_servers(server_url: str) -> None:
    assert matrix_as_markdown(run_matrix(server_url)) in PAGE
