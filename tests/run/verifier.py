"""A journal verified by somebody who has read deploy/EVIDENCE.md and has none of our code: nothing of ours is
imported here. `python verifier.py JOURNAL` prints what is wrong.
"""

import hashlib
import json
import sqlite3
import sys
from contextlib import closing

COLUMNS = {
    "alarms": "id, utc_us, kind, subject, raised, detail",
    "bookkeeping": "id, utc_us, what, subject, first_id, last_id, rows, detail",
    "commands": "id, utc_us, device, point, watts, kind, detail",
    "events": "id, utc_us, operator, event, version_us, status, why, text",
    "samples": "id, utc_us, node, metered_w, limit_w, granted_w, worst_w",
    "setpoints": "id, utc_us, operator, event, version_us, start_us, end_us, watts",
    "usage": "id, utc_us, node, mean_w, energy_ws, measured_ms, limit_w",
}


def written(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def faults(path: str) -> list[str]:
    with closing(sqlite3.connect(path)) as db:
        return _faults(db)


def _faults(db: sqlite3.Connection) -> list[str]:
    found = []
    gone = dict(db.execute("SELECT subject, max(last_id) FROM bookkeeping WHERE what = 'pruned' GROUP BY 1"))
    last_ids: dict[str, int] = {}
    seq, previous = gone.get("seals", 0), "0" * 64 if not gone.get("seals") else None
    for number, before, first_us, last_us, told in db.execute("SELECT * FROM seals ORDER BY seq").fetchall():
        query = "SELECT name, first_id, last_id, digest FROM parts WHERE seal = ? ORDER BY name"
        parts = [list(part) for part in db.execute(query, (number,))]
        whole = ["wattshift-seal-1", number, before, first_us, last_us, parts]
        if hashlib.sha256(written(whole)).hexdigest() != told or number != seq + 1:
            found.append(f"seal {number}")
        if previous not in (None, before):
            found.append(f"seal {number} after {seq}")
        seq, previous = number, told
        for name, first_id, last_id, digest in parts:
            if (
                first_id != last_ids.get(name, first_id - 1) + 1
                or first_id > max(last_ids.get(name, 0), gone.get(name, 0)) + 1
            ):
                found.append(f"{name} from {first_id}")
            last_ids[name] = last_id
            rows = db.execute(
                f"SELECT {COLUMNS[name]} FROM {name} WHERE id BETWEEN ? AND ? ORDER BY id",  # noqa: S608 the document's own
                (first_id, last_id),
            ).fetchall()
            sealed = hashlib.sha256(b"".join(written(row) + b"\n" for row in rows)).hexdigest() == digest
            if rows if last_id <= gone.get(name, 0) else not sealed:
                found.append(f"{name} {first_id} to {last_id}")
    for name in COLUMNS:
        (strays,) = db.execute(f"SELECT count(*) FROM {name} WHERE id > ? OR id <= ?",  # noqa: S608 the document's own
            (last_ids.get(name, 0), gone.get(name, 0))).fetchone()  # fmt: skip
        found += [f"{name}: {strays} strays"] * bool(strays)
    return found


if __name__ == "__main__":
    print("\n".join(faults(sys.argv[1])))
