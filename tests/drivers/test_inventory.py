"""The inventory: what a scan may change in a file that a person has worked on, and what it tells of it."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.asic.config import Family, MinerGroupConfig, expand
from drivers.asic.discovery import Absent, Finding, Unknown
from drivers.asic.facts import Facts
from drivers.asic.groups import ranges, site_tables
from drivers.asic.inventory import Change, InventoryError, Kind, entries, updated
from drivers.asic.recognise import Machine

HERE, THERE = "10.0.0.5", "10.0.0.6"
MAC, OTHER_MAC = "02:00:00:00:00:AB", "02:00:00:00:00:CD"


def machine(address: str = HERE, family: Family | None = "luxos", **told: Any) -> Machine:
    known: dict[str, Any] = {
        "mac": MAC,
        "model": "Antminer S19",
        "firmware": "LuxOS 1",
        "rated_ths": 95.0,
        "rated_w": 3250,
    }
    return Machine(address=address, backend="LUXMiner", family=family, facts=Facts(**(known | told)))


def absent(address: str = HERE) -> Absent:
    return Absent(address=address, why="no answer")


def inventory(*findings: Finding) -> str:
    return updated("", findings)[0]


def tables(text: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = tomllib.loads(text)["machines"]
    return found


def kinds(changes: tuple[Change, ...]) -> list[tuple[Kind, str]]:
    return [(change.kind, change.address) for change in changes]


# -- a new one ------------------------------------------------------------------------------------------


def test_a_new_inventory_leaves_to_the_person_where_a_machine_is_fed() -> None:
    assert tables(inventory(machine(), absent(THERE))) == [
        {
            "address": HERE,
            "mac": MAC,
            "family": "luxos",
            "model": "Antminer S19",
            "firmware": "LuxOS 1",
            "rated_ths": 95.0,
            "rated_w": 3250,
            "node": "",
            "zone": "",
        }
    ]


def test_what_a_machine_did_not_tell_is_no_number_in_the_inventory() -> None:
    text = inventory(machine(family=None, mac=None, rated_ths=None, rated_w=None))

    (entry,) = entries(text)
    assert (entry.mac, entry.family, entry.rated_ths, entry.rated_w) == ("", "", None, None)
    assert "# rated_w =\n" in text


# -- an update ------------------------------------------------------------------------------------------

WRITTEN = f"""\
# Hall 1, walked on Monday.
site = "hall-1"

[[machines]]  # top shelf
address = "{HERE}"
mac = "{MAC.lower()}"
family = "luxos"
model = 'Antminer S19'   # the label says S19j
firmware = "LuxOS 1"     # do not update
rated_w = 3100           # throttled by us
rated_ths = 95
node = "pdu-1"
rack = {{ row = 3, place = "b" }}

# bottom shelf is empty
"""


def test_an_update_changes_the_firmware_and_nothing_that_a_person_wrote() -> None:
    text, changes = updated(WRITTEN, [machine(firmware='LuxOS "2" \\1')])

    assert text == WRITTEN.replace('"LuxOS 1" ', '"LuxOS \\"2\\" \\\\1" ')
    assert kinds(changes) == [(Kind.FIRMWARE, HERE)]


def test_line_ends_of_a_person_stay() -> None:
    crlf = WRITTEN.replace("\n", "\r\n")

    text, _ = updated(crlf, [machine(firmware="LuxOS 2")])

    assert text == crlf.replace("LuxOS 1", "LuxOS 2")


def test_finding_the_same_again_changes_nothing() -> None:
    text = inventory(machine(), machine(THERE, mac=OTHER_MAC, rated_w=None))

    assert updated(text, [machine(), machine(THERE, mac=OTHER_MAC, rated_w=None)]) == (text, ())


def test_what_a_machine_does_not_tell_today_stays_as_it_was() -> None:
    assert updated(WRITTEN, [machine(mac=None, model=None, firmware=None)]) == (WRITTEN, ())


def test_a_machine_that_moved_takes_its_node_with_it() -> None:
    text, changes = updated(WRITTEN, [absent(), machine(THERE)])

    assert text == WRITTEN.replace(HERE, THERE)
    assert kinds(changes) == [(Kind.MOVED, THERE)]


def test_another_machine_at_an_address_does_not_inherit_its_node() -> None:
    text, changes = updated(WRITTEN, [machine(mac=OTHER_MAC)])

    old, new = entries(text)
    assert (old.mac, old.node, old.gone) == (MAC, "pdu-1", True)
    assert (new.mac, new.node, new.gone) == (OTHER_MAC, "", False)
    assert kinds(changes) == [(Kind.ANOTHER, HERE), (Kind.NEW, HERE)]


def test_two_machines_that_swapped_addresses_keep_their_nodes() -> None:
    before = inventory(machine(), machine(THERE, mac=OTHER_MAC)).replace('node = ""', 'node = "pdu-1"', 1)

    text, changes = updated(before, [machine(mac=OTHER_MAC), machine(THERE)])

    assert [(e.mac, e.address, e.node) for e in entries(text)] == [
        (MAC, THERE, "pdu-1"),
        (OTHER_MAC, HERE, ""),
    ]
    assert {kind for kind, _ in kinds(changes)} == {Kind.MOVED}


def test_two_machines_with_one_mac_are_both_there_and_stay_two() -> None:
    twins = [machine(), machine(THERE)]

    text = inventory(*twins)

    assert [entry.address for entry in entries(text)] == [HERE, THERE]
    assert updated(text, reversed(twins)) == (text, ())


def test_a_second_machine_with_a_known_mac_is_new_and_moves_nobody() -> None:
    text, changes = updated(inventory(machine()), [machine(), machine(THERE)])

    assert [entry.address for entry in entries(text)] == [HERE, THERE]
    assert kinds(changes) == [(Kind.NEW, THERE)]


def test_a_machine_that_is_gone_is_marked_once_and_welcomed_back() -> None:
    gone, left = updated(WRITTEN, [absent()])
    still, nothing = updated(gone, [absent()])
    back, returned = updated(still, [machine()])

    assert [entry.gone for entry in entries(gone)] == [True]
    assert (kinds(left), kinds(nothing), kinds(returned)) == ([(Kind.GONE, HERE)], [], [(Kind.BACK, HERE)])
    assert back == WRITTEN


@pytest.mark.parametrize(
    "findings", [[], [absent(THERE)], [Unknown(address=HERE, ports=(80,), why="too busy to say")]]
)
def test_a_machine_that_was_not_looked_for_or_not_recognised_is_not_gone(findings: list[Finding]) -> None:
    assert updated(WRITTEN, findings) == (WRITTEN, ())


def test_a_rating_is_filled_in_only_where_nobody_wrote_one() -> None:
    before = inventory(machine(rated_w=None), machine(THERE, mac=OTHER_MAC, rated_w=3000))

    text, changes = updated(before, [machine(), machine(THERE, mac=OTHER_MAC)])

    assert [entry.rated_w for entry in entries(text)] == [3250, 3000]
    assert "# rated_w" not in text
    assert kinds(changes) == [(Kind.CHANGED, HERE)]


def test_a_machine_with_new_firmware_of_no_family_is_not_driven_any_more() -> None:
    text, changes = updated(WRITTEN, [machine(family=None, firmware="BOS+ 26.03")])

    assert entries(text)[0].family == ""
    assert {kind for kind, _ in kinds(changes)} == {Kind.FIRMWARE, Kind.CHANGED}


@pytest.mark.parametrize(
    "text",
    [
        f'machines = [{{ address = "{HERE}", mac = "{MAC}", firmware = "LuxOS 0" }}]\n',
        f'[[machines]]\naddress = "{HERE}"\nmac = "{MAC}"\nfirmware = """\nLuxOS 0"""\n',
        f'[[machines]]\naddress = "{HERE}"\nmac = "{MAC}"\n"firmware" = "LuxOS 0"\n',
    ],
)
def test_a_form_that_cannot_be_updated_is_refused_and_not_mangled(text: str) -> None:
    with pytest.raises(InventoryError, match="cannot be updated"):
        updated(text, [machine()])


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[[machines]\n", "not TOML"),
        (f'[[machines]]\naddress = "{HERE}"\nfamily = "luxus"\n', "luxus"),
        (f'[[machines]]\naddress = "{HERE}"\nrated_w = -5\n', "rated_w"),
        ('[[machines]]\nmac = "x"\n', "address"),
        ('[[machines]]\naddress = "rig-7"\n', "rig-7"),
        ("machines = 3\n", "machines"),
    ],
)
def test_an_inventory_that_makes_no_sense_is_refused_by_name(text: str, named: str) -> None:
    with pytest.raises(InventoryError, match=named):
        entries(text)


ADDRESSES = st.sampled_from([f"10.0.0.{last}" for last in range(1, 7)])
MACS = st.sampled_from([None, *(f"02:00:00:00:00:0{last}" for last in range(1, 5))])
MACHINES = st.builds(
    machine,
    ADDRESSES,
    st.sampled_from(["luxos", "antminer", None]),
    mac=MACS,
    firmware=st.sampled_from([None, "1", "2"]),
    rated_w=st.sampled_from([None, 3000]),
)
SCANS = st.lists(
    st.one_of(MACHINES, ADDRESSES.map(absent)), max_size=6, unique_by=lambda finding: finding.address
)


@given(first=SCANS, second=SCANS)
def test_no_scan_ever_touches_what_is_not_its_own(first: list[Finding], second: list[Finding]) -> None:
    before = inventory(*first)
    for number in range(before.count('node = ""')):
        before = before.replace('node = ""', f'node = "pdu-{number}"  # mine\nrack = {number}', 1)

    after, _ = updated(before, second)

    own = {"node", "rack", "zone"}
    untouched = [{key: table[key] for key in own} for table in _machines(before)]
    assert [{k: t[k] for k in own & set(t)} for t in _machines(after)[: len(untouched)]] == untouched
    assert after.count("# mine") == len(untouched)


@given(first=SCANS, second=SCANS)
def test_the_same_scan_twice_says_nothing_new(first: list[Finding], second: list[Finding]) -> None:
    after, _ = updated(inventory(*first), second)

    assert updated(after, second) == (after, ())


@given(first=SCANS, second=SCANS)
def test_every_machine_found_is_in_the_inventory_exactly_once(
    first: list[Finding], second: list[Finding]
) -> None:
    after, _ = updated(inventory(*first), second)

    looked_at = {finding.address for finding in second}
    there = sorted(e.address for e in entries(after) if not e.gone and e.address in looked_at)
    assert there == sorted(finding.address for finding in second if isinstance(finding, Machine))


def _machines(text: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = tomllib.loads(text).get("machines", [])
    return found


# -- groups for the site file ---------------------------------------------------------------------------


@given(st.sets(st.integers(0x0A000000, 0x0A000000 + 600), min_size=1))
def test_ranges_are_the_same_addresses_in_fewer_words(numbers: set[int]) -> None:
    addresses = {f"10.0.{number >> 8 & 0xFF}.{number & 0xFF}" for number in numbers}

    spans = ranges(addresses)

    listed = [address for span in spans for address in expand(span)]
    assert sorted(listed) == sorted(addresses)
    assert len(spans) <= len(addresses)


def test_consecutive_hosts_are_one_range_within_their_last_number() -> None:
    assert ranges(["10.0.0.254", "10.0.0.255", "10.0.1.0", "10.0.1.1", "10.0.1.9"]) == (
        "10.0.0.254-255",
        "10.0.1.0-1",
        "10.0.1.9",
    )


def test_equal_machines_are_one_group_that_a_site_file_takes() -> None:
    found = [machine(f"10.0.0.{last}", mac=f"02:00:00:00:00:{last}") for last in range(10, 20)]
    text = inventory(*found).replace('node = ""', 'node = "pdu-1"')

    (group,) = tomllib.loads(site_tables(entries(text)))["miners"]

    config = MinerGroupConfig.model_validate(group)
    assert (config.id, config.hosts, config.node) == ("luxos-s19", ("10.0.0.10-19",), "pdu-1")
    assert (config.rated_w, config.rated_ths) == (3250, 95.0)


def test_machines_of_another_rating_node_or_family_are_groups_of_their_own() -> None:
    found = [
        machine("10.0.0.1", mac=None),
        machine("10.0.0.2", mac=None, rated_ths=90.0),
        machine("10.0.0.3", mac=None, family="antminer"),
        machine("10.0.0.4", mac=None),
    ]
    text = inventory(*found)
    at = text.rindex('node = ""')
    text = text[:at] + 'node = "pdu-2"' + text[at + len('node = ""') :]

    groups = tomllib.loads(site_tables(entries(text)))["miners"]

    assert sorted(group["hosts"][0] for group in groups) == [f"10.0.0.{last}" for last in range(1, 5)]
    assert len({group["id"] for group in groups}) == 4


def test_machines_that_are_gone_or_that_nobody_drives_are_in_no_group() -> None:
    text, _ = updated(inventory(machine(), machine(THERE, family=None, mac=OTHER_MAC)), [absent()])

    assert site_tables(entries(text)) == ""


def test_a_rating_that_nobody_knows_is_asked_for_and_not_made_up() -> None:
    tables_text = site_tables(entries(inventory(machine(rated_w=None))))

    assert "rated_w" not in tomllib.loads(tables_text)["miners"][0]
    assert "# rated_w =" in tables_text
