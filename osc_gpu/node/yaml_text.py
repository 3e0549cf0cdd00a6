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

"""YAML that means the same to every reader of it.

Ansible and Heat read YAML with Python, Puppet with Ruby: the product id 1e30
is text for one and a number for the other, so whatever does not begin with a
letter stands in quotes.
"""

from typing import Any


def dump(content: Any, remarks: str = '') -> str:
    """Return YAML text of lists, mappings and plain values.

    :param remarks: lines to put before it, as comments
    """
    import yaml

    class Dumper(yaml.SafeDumper):
        """Indents lists, and quotes what could be taken for a number."""

        def increase_indent(
            self, flow: bool = False, indentless: bool = False
        ) -> None:
            super().increase_indent(flow, False)

    def represent(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
        style = None
        if '\n' in value:
            style = '|'
        elif not value[:1].isalpha():
            style = "'"
        return dumper.represent_scalar('tag:yaml.org,2002:str', value, style)

    Dumper.add_representer(str, represent)
    lines = (f'# {line}'.rstrip() for line in remarks.splitlines())
    return ''.join(f'{line}\n' for line in lines) + yaml.dump(
        content, Dumper=Dumper, sort_keys=False, width=1000
    )
