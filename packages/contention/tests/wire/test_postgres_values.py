import struct
from collections.abc import AsyncIterator

import asyncpg
import pytest

from contention.wire.postgres_requests import PostgresReply, PostgresRequest
from contention.wire.postgres_values import SHOWN_CHARACTERS, readable

from .wire_servers import PostgresServer, Pump, pumping


@pytest.fixture(scope="module")
async def pump(postgres: PostgresServer) -> AsyncIterator[Pump]:
    async with pumping(postgres) as one:
        yield one


@pytest.fixture(scope="module")
async def connection(pump: Pump) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    opened = await asyncpg.connect(
        host="127.0.0.1", port=pump.port, user="postgres", database="postgres", ssl=False
    )
    yield opened
    await opened.close()


def last(pump: Pump) -> tuple[PostgresRequest, PostgresReply]:
    gate = pump.gates[0]
    request = gate.requests[-1]
    reply = gate.replies[request.number]
    assert isinstance(request, PostgresRequest)
    assert isinstance(reply, PostgresReply)
    return request, reply


@pytest.mark.parametrize(
    ("expression", "shown"),
    [
        ("true", "true"),
        ("false", "false"),
        ("32767::int2", "32767"),
        ("(-2147483648)::int4", "-2147483648"),
        ("9223372036854775807::int8", "9223372036854775807"),
        ("4294967295::oid", "4294967295"),
        ("0.1::float4", "0.1"),
        ("16777217::float4", "16777216"),
        ("0.1::float8", "0.1"),
        ("'it''s'::text", "'it''s'"),
        ("'x'::varchar(5)", "'x'"),
        ("'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid", "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'"),
        ("'2025-01-15'::date", "'2025-01-15'"),
        ("'1999-12-31'::date", "'1999-12-31'"),
        ("'infinity'::date", "'infinity'"),
        ("'2025-01-15 10:30:00.000001'::timestamp", "'2025-01-15 10:30:00.000001'"),
        ("'-infinity'::timestamp", "'-infinity'"),
        ("'2025-01-15 10:30:00+02'::timestamptz", "'2025-01-15 08:30:00+00'"),
        ("0::numeric", "0"),
        ("0.00::numeric", "0.00"),
        ("1::numeric", "1"),
        ("-1.50::numeric", "-1.50"),
        ("0.0001::numeric", "0.0001"),
        ("-0.00012345678::numeric", "-0.00012345678"),
        ("10000::numeric", "10000"),
        ("100000000.5::numeric", "100000000.5"),
        ("12345678901234567890.123456789::numeric", "12345678901234567890.123456789"),
        ("1e20::numeric", "100000000000000000000"),
        ("'NaN'::numeric", "'NaN'"),
        ("'-Infinity'::numeric", "'-Infinity'"),
        ("'{\"a\": 1}'::json", "'{\"a\": 1}'"),
        ("'{\"a\": 1}'::jsonb", "'{\"a\": 1}'"),
        ("ARRAY[1, NULL, 3]", "ARRAY[1, NULL, 3]"),
        ("ARRAY[[1, 2], [3, 4]]", "ARRAY[[1, 2], [3, 4]]"),
        ("ARRAY['a', 'it''s']", "ARRAY['a', 'it''s']"),
        ("ARRAY[1.50, 2]::numeric[]", "ARRAY[1.50, 2]"),
        ("'{}'::int[]", "ARRAY[]"),
        ("ARRAY[true]", "ARRAY[true]"),
        ("ARRAY['2025-01-15'::date]", "ARRAY['2025-01-15']"),
        ("'\\xdeadbeef'::bytea", "'\\xdeadbeef'"),
        ("NULL::int", "NULL"),
    ],
)
async def test_a_value_is_shown_as_the_server_means_it(
    pump: Pump, connection: "asyncpg.Connection[asyncpg.Record]", expression: str, shown: str
) -> None:
    """The driver asks for binary; the literal that is shown has to be the value to the server."""
    await connection.fetch(f"SELECT {expression}")
    assert last(pump)[1].results[0].rows() == ((shown,),)
    type_name = await connection.fetchval(f"SELECT pg_typeof({expression})::text")
    assert await connection.fetchval(
        f"SELECT (({shown})::{type_name})::text IS NOT DISTINCT FROM ({expression})::text"
    )


async def test_parameters_are_shown_with_the_types_that_the_server_told(
    pump: Pump, connection: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    await connection.fetch("SELECT $1::int + 1, $2::text[], $3::bool", 41, ["x", None], True)  # noqa: FBT003 - a value
    assert last(pump)[0].executions[0].parameters() == ("41", "ARRAY['x', NULL]", "true")


def shown_binary(value: bytes, type_oid: int) -> str:
    return readable(value, type_oid, is_binary=True, encoding="utf-8")


def test_what_cannot_be_read_is_shown_in_hexadecimal() -> None:
    assert shown_binary(b"\x01\x02\x03", 23) == r"'\x010203'"
    assert shown_binary(b"\x01\x02", 600) == r"'\x0102'"
    assert shown_binary(struct.pack(">q", 2**62), 1114).startswith(r"'\x40")
    assert shown_binary(struct.pack(">i", 2_000_000_000), 1082) == r"'\x77359400'"
    assert shown_binary(struct.pack(">iiI", 99, 0, 23), 1007).startswith(r"'\x")
    assert shown_binary(b"\x02{}", 3802) == r"'\x027b7d'"


def test_long_values_are_cut() -> None:
    assert len(shown_binary(b"x" * 10_000, 25)) == SHOWN_CHARACTERS
    assert len(shown_binary(b"x" * 10_000, 17)) == SHOWN_CHARACTERS
    assert len(readable(b"9" * 10_000, 1700, is_binary=False, encoding="utf-8")) == SHOWN_CHARACTERS
    assert shown_binary("é".encode() * 10_000, 25).endswith("é…")
