"""What Schemathesis is told about this API: who asks, which ids are real, and what no schema can say.

The `schemathesis` command loads it; SCHEMATHESIS_FACTS names a JSON file with `token`, `sessions` and `ids`.
"""

import itertools
import json
import os
import re
import zlib
from pathlib import Path
from typing import Any

import schemathesis
from hypothesis import strategies as st

FACTS: dict[str, Any] = json.loads(Path(os.environ["SCHEMATHESIS_FACTS"]).read_text())
ENDING = {"auth.logout", "auth.refresh"}
"""What ends the caller's session: each case has one of its own."""
INSTALLED = {
    "voice_id": "tone",
    "avatar_id": "avatar_female_01",
    "template_id": "customer_support",
    "model_id": "server/default",
}
"""What this server has: any other is refused."""
SECRETS = ("password", "new_password")
LISTS = {"allowed_ips": "203.0.113.0/24", "allowed_origins": "https://www.example.com"}
_sessions = itertools.cycle(FACTS["sessions"])

schemathesis.openapi.format("email", st.from_regex(r"[a-z]{1,20}@[a-z]{3,20}\.(com|de|fr)", fullmatch=True))


@schemathesis.auth(refresh_interval=None)
class Caller:
    """A member who owns an organisation."""

    def get(self, case: Any, _context: Any) -> str:
        ending = case.operation.definition.raw["operationId"] in ENDING
        return str(next(_sessions) if ending else FACTS["token"])

    def set(self, case: Any, data: str, _context: Any) -> None:
        case.headers = {**(case.headers or {}), "Authorization": f"Bearer {data}"}


@schemathesis.hook
def before_call(_context: Any, case: Any, _kwargs: Any) -> None:
    """Half of the ids that could be one are, what must be installed is, and no password is a common one. A whole number
    is written as one: to JSON Schema, 1.0 is an integer."""
    for values in (case.path_parameters, case.body):
        if isinstance(values, dict):
            values.update({name: _real(name, value) for name, value in values.items()})


def _real(name: str, value: Any) -> Any:
    if name == "all_sessions" and value is True:
        return False
    if name in LISTS and isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        return [LISTS[name]]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if not isinstance(value, str) or not value:
        return value
    if name in SECRETS and len(value) > 6:
        return "q7#Zk!" + value[6:]
    if name in INSTALLED and re.fullmatch("[A-Za-z0-9_-]{1,128}", value):
        return INSTALLED[name]
    known = FACTS["ids"].get(name)
    return known if known and zlib.crc32(value.encode("utf-8", "replace")) % 2 == 0 else value
