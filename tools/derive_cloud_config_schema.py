#!/usr/bin/env python3
# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#      http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

"""Write tests/unit/guest/cloud_config_schema.json from cloud-init's schema.

    tools/derive_cloud_config_schema.py <schema-cloud-config-v1.json>

What is kept are the rules for the keys that our cloud-config has; a key that
it gets has to be added to ``KEYS`` first. The same source always gives the
same bytes.
"""

import json
import pathlib
import sys
from typing import Any

TARGET = (
    pathlib.Path(__file__).resolve().parent.parent
    / 'tests/unit/guest/cloud_config_schema.json'
)
KEYS = ('merge_how', 'runcmd', 'write_files')
COMMENT = (
    "Derived by tools/derive_cloud_config_schema.py from the JSON schema of "
    "cloud-init (https://github.com/canonical/cloud-init), which can be had "
    "under the GNU General Public License, version 3, or the Apache License, "
    "Version 2.0, and is used under the latter."
)
#: What is for people, and of no effect on what is valid.
_PROSE = ('description', 'default', 'deprecated', 'deprecated_version')


def derive(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the rules for ``KEYS``, with all that they refer to.

    :raises KeyError: there are none for one of them
    """
    definitions = schema['$defs']
    rules: dict[str, Any] = {}
    for reference in schema['allOf']:
        found = definitions[_name(reference)].get('properties', {})
        rules |= {key: found[key] for key in KEYS if key in found}
    derived: dict[str, Any] = {
        '$schema': schema['$schema'],
        '$comment': COMMENT,
        'type': 'object',
        'additionalProperties': schema['additionalProperties'],
        'properties': {key: _plain(rules[key]) for key in KEYS},
        '$defs': {},
    }
    wanted = _references(derived['properties'])
    while wanted:
        name = wanted.pop()
        if name not in derived['$defs']:
            derived['$defs'][name] = _plain(definitions[name])
            wanted |= _references(derived['$defs'][name])
    return derived


def _name(reference: dict[str, str]) -> str:
    return reference['$ref'].removeprefix('#/$defs/')


def _plain(rule: Any) -> Any:
    if isinstance(rule, list):
        return [_plain(item) for item in rule]
    if not isinstance(rule, dict):
        return rule
    return {
        key: _plain(value) for key, value in rule.items() if key not in _PROSE
    }


def _references(rule: Any) -> set[str]:
    if isinstance(rule, dict):
        own = {_name(rule)} if isinstance(rule.get('$ref'), str) else set()
        return own.union(*map(_references, rule.values()))
    if isinstance(rule, list):
        return set().union(*map(_references, rule))
    return set()


def main(argv: list[str]) -> int:
    if len(argv) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    schema = json.loads(pathlib.Path(argv[0]).read_text())
    text = json.dumps(derive(schema), indent=1, sort_keys=True)
    TARGET.write_text(f'{text}\n')
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
