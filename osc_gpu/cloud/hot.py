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

"""What Heat's templates are written in: sections, calls, YAML."""

from collections.abc import Mapping
from typing import Any

from osc_lib import exceptions
import yaml

from osc_gpu.i18n import _

#: Versions are dates; this one has all that is used here, and clouds have had
#: it since Rocky.
VERSION = '2018-08-31'

#: Breaks lines in YAML too, which PyYAML forgets when it writes Unicode.
_BREAKS = frozenset('\x85\u2028\u2029')

Snippet = dict[str, Any]


def template(
    description: str,
    parameters: Snippet,
    resources: Snippet,
    outputs: Snippet,
) -> Snippet:
    """Join a template's sections, each by name."""
    return {
        'heat_template_version': VERSION,
        'description': description,
        'parameters': parameters,
        'resources': resources,
        'outputs': outputs,
    }


def text(
    description: str, default: str | None = None, constraint: str = ''
) -> Snippet:
    """Describe a parameter.

    :param default: without one, it has to be given
    :param constraint: what Heat checks it by, such as ``nova.flavor``
    """
    found: Snippet = {'type': 'string', 'description': description}
    if default is not None:
        found['default'] = default
    if constraint:
        found['constraints'] = [{'custom_constraint': constraint}]
    return found


def number(
    description: str, default: int | None = None, least: int = 1
) -> Snippet:
    """Describe a parameter that is a number, from ``least`` on."""
    found: Snippet = {'type': 'number', 'description': description}
    if default is not None:
        found['default'] = default
    found['constraints'] = [{'range': {'min': least}}]
    return found


def mapping(description: str, default: Mapping[str, str]) -> Snippet:
    """Describe a parameter that maps names to text."""
    return {
        'type': 'json',
        'description': description,
        'default': dict(default),
    }


def made(kind: str, **properties: Any) -> Snippet:
    """Describe a resource."""
    return {'type': kind, 'properties': properties}


def output(description: str, value: Snippet) -> Snippet:
    """Describe what a stack tells."""
    return {'description': description, 'value': value}


def parameter(name: str) -> Snippet:
    """Stand for a parameter's value."""
    return {'get_param': name}


def resource(name: str) -> Snippet:
    """Stand for a resource's ID."""
    return {'get_resource': name}


def attribute(*path: str | int) -> Snippet:
    """Stand for something within an attribute of a resource."""
    return {'get_attr': list(path)}


class _Dumper(yaml.SafeDumper):
    """Writes as people do: scripts as they are, calls in one line."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        raise exceptions.CommandError(
            _("%s is not UTF-8, and a template is") % ascii(text)
        ) from exc
    style = '|' if '\n' in text else None
    if _BREAKS.intersection(text):
        style = '"'
    return dumper.represent_scalar('tag:yaml.org,2002:str', text, style=style)


def _represent_mapping(dumper: _Dumper, found: Snippet) -> yaml.MappingNode:
    is_call = len(found) == 1 and next(iter(found)).startswith('get_')
    return dumper.represent_mapping(
        'tag:yaml.org,2002:map', found, flow_style=is_call
    )


_Dumper.add_representer(str, _represent_text)
_Dumper.add_representer(dict, _represent_mapping)


def dump(snippet: Snippet) -> str:
    """Return a template as YAML; text of many lines is a block if it can.

    :raises osc_lib.exceptions.CommandError: something is no text
    """
    found: str = yaml.dump(
        snippet, Dumper=_Dumper, sort_keys=False, allow_unicode=True
    )
    return found
