"""What the reference pages of mappings and terms say is what is read."""

import re
from pathlib import Path

from claimwright.files.conversions import NAMED_CONVERSIONS
from claimwright.files.mapping_text import mapping_from_toml
from claimwright.operations.import_policies import COLUMNS, OPTIONAL_COLUMNS

ROOT = Path(__file__).parents[4]


def test_the_mapping_of_the_reference_page_is_a_mapping() -> None:
    page = (ROOT / "docs" / "reference" / "readings-mapping.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    (variable,) = mapping_from_toml(example).variables
    named = NAMED_CONVERSIONS["fahrenheit_to_celsius"]
    assert variable.conversion.multiply == named.multiply
    assert variable.conversion.decimals == 2


def test_every_key_that_a_mapping_has_stands_on_its_page() -> None:
    page = (ROOT / "docs" / "reference" / "readings-mapping.md").read_text(encoding="utf-8")
    source = (ROOT / "packages/claimwright/src/claimwright/files/mapping_text.py").read_text(
        encoding="utf-8"
    )
    keys = set(re.findall(r'(?:keys|file|root)\.[a-z_]+\("([a-z_]+)"', source))
    assert len(keys) > 20
    assert {key for key in keys if f"`{key}`" not in page and f"`[{key}]`" not in page} == {
        "variables"
    }


def test_the_header_of_the_example_policies_is_what_is_read() -> None:
    header = (ROOT / "examples" / "policies.csv").read_text(encoding="utf-8").splitlines()[0]
    assert sorted(header.split(",")) == sorted((*COLUMNS, *OPTIONAL_COLUMNS))
