"""`claimwright products`: terms of products, versioned and never changed."""

from pathlib import Path
from typing import Annotated

import typer

from claimwright.cli.output import AsJson, Whole, print_json, print_table, results
from claimwright.cli.running import run
from claimwright.domain.money import plain
from claimwright.domain.terms import ProductTerms
from claimwright.domain.terms_text import terms_from_toml
from claimwright.domain.terms_toml import terms_to_toml
from claimwright.files.texts import read_small_text
from claimwright.operations import add_product, list_products
from claimwright.storage.products import StoredVersion, UnusableVersion

app = typer.Typer(
    name="products",
    no_args_is_help=True,
    help="Product terms: what is measured, when it pays and how much.",
)

_HASH_DIGITS = 12


@app.command("add")
def add(
    file: Annotated[Path, typer.Argument(help="The terms as TOML; see docs/reference/terms.md.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Add the terms of FILE: a product's first version, or its next.

    Terms that are stored already are left as they are. Exits with 2 when the terms may not exist,
    naming the key that is wrong.
    """
    terms = terms_from_toml(read_small_text(file))
    added = run(lambda runtime: add_product.add_product(runtime, terms))
    if as_json:
        print_json(added)
    elif added.is_new:
        results.print(f"{added.code} version {added.version} is added.")
    else:
        results.print(f"{added.code} version {added.version} has these terms already.")


@app.command("list")
def list_(*, as_json: AsJson = False) -> None:
    """List every version of every product."""
    products = run(list_products.list_products)
    if as_json:
        print_json([_document(product) for product in products])
        return
    print_table(
        "Products",
        ("product", "version", "peril", "index", "frequency", "tiers", "hash"),
        map(_row, products),
    )


def _row(product: StoredVersion | UnusableVersion) -> tuple[object, ...]:
    if isinstance(product, UnusableVersion):
        fault = f"cannot be used: {product.fault}"
        return (product.code, product.version, fault, None, None, None, None)
    return (
        product.code,
        product.version,
        product.terms.peril,
        _index_in_words(product.terms),
        Whole(product.terms.frequency.value),
        len(product.terms.schedule.tiers),
        Whole(product.terms.sha256.hex()[:_HASH_DIGITS]),
    )


@app.command("show")
def show(
    code: Annotated[str, typer.Argument(help="The product's code.")],
    *,
    version: Annotated[
        int | None, typer.Option(min=1, help="The version; default: the newest.")
    ] = None,
    as_toml: Annotated[
        bool, typer.Option("--toml", help="Print the terms as the TOML that describes them.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show a product's terms: index, thresholds and payouts, limit, hash.

    Exits with 3 when there is no such product or version.
    """
    product = run(lambda runtime: list_products.show_product(runtime, code, version))
    if as_toml:
        typer.echo(terms_to_toml(product.terms), nl=False)
    elif as_json:
        print_json(_document(product))
    else:
        _print_terms(product)


def _print_terms(product: StoredVersion) -> None:
    terms = product.terms
    bounds = (terms.index.plausible_minimum, terms.index.plausible_maximum)
    for name, value in (
        ("product", f"{terms.code} version {product.version}"),
        ("peril", terms.peril),
        ("index", _index_in_words(terms)),
        ("plausible", f"{plain(bounds[0])} to {plain(bounds[1])} {terms.index.unit}"),
        ("settles", "at the reading" if terms.is_monotone else "when the day is complete"),
        ("frequency", terms.frequency.value),
        ("aggregate limit", f"{plain(terms.aggregate_limit_percent)} % of the cover"),
        ("day boundary", terms.day_boundary.value),
        ("SHA-256", terms.sha256.hex()),
    ):
        results.print(f"{name:<16} {value}", markup=False, soft_wrap=True)
    print_table(
        "Payout schedule",
        ("tier", f"threshold ({terms.index.unit})", "cumulative payout (%)"),
        (
            (tier.level, f"{terms.comparison.value} {plain(threshold)}", tier.payout_percent)
            for tier, threshold in zip(terms.schedule.tiers, terms.thresholds, strict=True)
        ),
    )


def _index_in_words(terms: ProductTerms) -> str:
    index = terms.index
    window = f" over {index.window_hours} h" if index.window_hours else ""
    return f"{index.kind.value}{window} of {index.variable} ({index.unit})"


def _document(product: StoredVersion | UnusableVersion) -> dict[str, object]:
    if isinstance(product, UnusableVersion):
        return {"code": product.code, "version": product.version, "fault": product.fault}
    terms = product.terms
    return {"version": product.version, "sha256": terms.sha256, "terms": terms.as_mapping()}
